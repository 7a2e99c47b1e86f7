"""A disk that fills up while a job trains: nothing is written below the floor, and the rest is as if it never had."""

import shutil
from types import SimpleNamespace

import pytest
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


@pytest.mark.parametrize("poll_s", [0.0, 60.0], ids=["noticed between checkpoints", "noticed at a checkpoint"])
def test_a_job_without_room_stops_and_goes_on_to_the_same_weights(tmp_path, monkeypatch, poll_s):
    monkeypatch.setattr(worker, "STOP_POLL_S", poll_s)
    cell = config()
    root = prepare(tmp_path, cell)
    assert attempt(root, "whole", cell)
    disk = Disk(monkeypatch, full_at=5)
    finished = attempt(root, "cut", cell, send=disk.send, min_free=FLOOR)
    assert finished == (poll_s > 1)  # the budget is spent before anybody looks, but nothing can be published
    assert not root.exists("cut/model/trained.json")
    assert steps_kept(root) == [4]
    assert "(min_free_space): make room there, then resume the sweep" in disk.reasons()[0]
    assert "1,024 MiB free" in disk.reasons()[0]

    disk.free = 2 * FLOOR
    assert attempt(root, "cut", cell, min_free=FLOOR)
    assert_same(root, "whole", "cut")


def test_what_a_checkpoint_takes_is_counted_before_it_is_written(tmp_path, monkeypatch):
    cell = config()
    root = prepare(tmp_path, cell)
    disk = Disk(monkeypatch, full_at=100)
    disk.free = FLOOR + 2**16  # a checkpoint of this job has more
    attempt(root, "cut", cell, send=disk.send, min_free=FLOOR)
    assert steps_kept(root) == []
    assert "MiB are to be written" in disk.reasons()[0]


def test_without_a_floor_nobody_asks(tmp_path, monkeypatch):
    cell = config()
    root = prepare(tmp_path, cell)
    disk = Disk(monkeypatch, full_at=0)
    assert attempt(root, "cut", cell, send=disk.send)
    assert disk.reasons() == []
