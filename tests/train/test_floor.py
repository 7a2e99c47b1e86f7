"""A disk that fills up while a job trains: nothing is written below the floor, and the rest is as if it never had."""

import re
import shutil
from types import SimpleNamespace

from small_jobs import attempt, config, prepare
from test_worker import assert_same

from xling.train import worker
from xling.train.attempts import CheckpointName

FLOOR = 2**30


class Disk:
    """Stands for the disk below a storage; a job's own messages fill it."""

    def __init__(self, monkeypatch, full_at):
        self.free = 2 * FLOOR
        self._full_at = full_at
        self.told = []
        monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=self.free))

    def send(self, message):
        self.told.append(message)
        if message["event"] == "steps" and message["records"][-1]["step"] >= self._full_at:
            self.free = FLOOR - 1

    def reasons(self):
        return [message["reason"] for message in self.told if message["event"] == "no room"]


def steps_kept(root):
    return [CheckpointName.parse(name).step for name in root.list("cut/checkpoints")]


def test_a_job_without_room_stops_and_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "STOP_POLL_S", 0.0)  # it looks after every step, else once a second
    cell = config()
    root = prepare(tmp_path, cell)
    assert attempt(root, "whole", cell)
    disk = Disk(monkeypatch, full_at=5)
    assert not attempt(root, "cut", cell, send=disk.send, min_free=FLOOR)
    assert not root.exists("cut/model/trained.json")
    assert steps_kept(root) == [4]
    (reason,) = disk.reasons()
    assert "has 1 GiB free, and " in reason
    assert reason.endswith("1 GiB must stay free (min_free_space): make room there, then resume the sweep")

    disk.free = 2 * FLOOR
    assert attempt(root, "cut", cell, min_free=FLOOR)
    assert_same(root, "whole", "cut")


def test_what_is_written_is_counted_before_and_nothing_is_published_without_room(tmp_path, monkeypatch):
    cell = config()
    root = prepare(tmp_path, cell)
    disk = Disk(monkeypatch, full_at=100)
    disk.free = FLOOR + 2**16  # a checkpoint of this job has more
    assert attempt(root, "cut", cell, send=disk.send, min_free=FLOOR)  # the budget is spent before anybody looks
    assert steps_kept(root) == []
    assert not root.exists("cut/model")
    assert re.search(r", and [\d,.]+ [KM]iB are to be written; 1 GiB must stay free", disk.reasons()[0])
