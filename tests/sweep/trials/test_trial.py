"""What a driver makes of its workers' words, of leases and of a storage that answers late; nothing is trained here."""

import json
import time
from dataclasses import asdict, replace
from threading import Timer

import pytest
from small_sweeps import cell_folder, end_as, load

from xling.errors import StorageAway
from xling.storage import Storage
from xling.sweep import lease
from xling.sweep.cells import Outcome
from xling.sweep.lease import Holder
from xling.sweep.settings import TrialSettings
from xling.sweep.trials import scoring, trial, watch
from xling.sweep.trials.failures import CodeFailure, InfraFailure
from xling.sweep.trials.heard import Heard
from xling.sweep.trials.scoring import Following, Progress
from xling.sweep.trials.trial import Trial

FINISHED = {"event": "ended", "rank": 0, "finished": True}
LEFT = {"event": "ended", "rank": 0, "finished": False}


class Workers:
    """A pool and its group at once; each attempt is a function of a way to tell the driver, and of one to ask it."""

    def __init__(self, *attempts):
        self.attempts = list(attempts)

    def run(self, spec, tell, should_leave):
        self.attempts.pop(0)(tell, should_leave)
        return True

    def take(self, resources, closed):
        return self

    def where(self, resources):
        return {}

    def keep(self):
        """As a pool does."""

    rest = close = keep


@pytest.fixture
def warm(tmp_path, monkeypatch):
    """A warm start's job, which needs neither MLflow nor scores, and the root of its storage."""
    monkeypatch.setattr(trial, "BACKOFF_S", 0.0)
    _, study, root = load(tmp_path)
    return replace(study.cells[0], kind="warm", evaluations=()), root


def run(root, job, monkeypatch, *attempts, retries=0, min_free=0):
    """All that is told of a job, and how its attempts ended."""
    monkeypatch.setattr(trial, "_pool", Workers(*attempts))
    settings = TrialSettings(root.url, "small", retries, "", "small", None, "", time.time() - 1, min_free=min_free)
    told = []
    Trial(job, None, settings, told.append).run()
    ends = [attempt["end"] and attempt["end"]["outcome"] for attempt in cell_folder(root, job).attempts()]
    return told, ends


def publish(root, job, after=0.0):
    """The model's marker, on storage after so many seconds."""
    write = Timer(after, root.write_json, (f"{job.folder('small')}/model/trained.json", {"step": 12}))
    write.start()
    if not after:
        write.join()


def test_a_model_that_is_seen_late_is_no_interruption(warm, monkeypatch):
    job, root = warm

    def attempt(tell, _):
        publish(root, job, after=1.2)
        tell(FINISHED)

    told, ends = run(root, job, monkeypatch, attempt)
    assert told[-1]["phase"] == "done"
    assert ends == [Outcome.DONE]


def test_a_model_that_does_not_come_is_a_death_and_not_a_stop(warm, monkeypatch):
    job, root = warm
    monkeypatch.setattr(watch, "UNSEEN_S", 0.3)

    def again(tell, _):
        publish(root, job)
        tell(FINISHED)

    told, ends = run(root, job, monkeypatch, lambda tell, _: tell(FINISHED), again)
    assert any("not to be seen on the storage" in one.get("note", "") for one in told)
    assert told[-1]["phase"] == "done"
    assert ends == [Outcome.FAILED, Outcome.DONE]


@pytest.mark.parametrize("last", [LEFT, FINISHED])
def test_workers_that_lacked_room_are_not_waited_for(warm, monkeypatch, last):
    job, root = warm
    began = time.monotonic()

    def attempt(tell, _):
        tell({"event": "no room", "reason": "make room"})
        tell(last)

    told, ends = run(root, job, monkeypatch, attempt)
    assert (told[-2]["phase"], told[-2]["note"]) == ("interrupted", "make room")
    assert ends == [Outcome.INTERRUPTED]
    assert time.monotonic() - began < 10


def let_go(root, job, since=0.0):
    """Another driver had the lease, and has no more."""
    held = replace(Holder.me(), host="another-host", since=time.time() + since, released=True)
    root.write(f"{job.folder('small')}/lease/000001.json", json.dumps(asdict(held)).encode())


def test_a_warm_start_that_another_driver_trained_just_now_is_not_trained_again(warm, monkeypatch):
    job, root = warm
    let_go(root, job)
    publish(root, job, after=1.2)
    told, ends = run(root, job, monkeypatch)
    assert told[-1]["phase"] == "done"
    assert ends == []


@pytest.mark.parametrize("what", ["interrupted", "an earlier launch"])
def test_a_warm_start_that_another_driver_left_undone_is_trained_at_once(warm, monkeypatch, what):
    job, root = warm
    let_go(root, job, since=-3600 if what == "an earlier launch" else 0)
    if what == "interrupted":
        end_as(root, job, Outcome.INTERRUPTED)
    began = time.monotonic()

    def attempt(tell, _):
        publish(root, job)
        tell(FINISHED)

    told, ends = run(root, job, monkeypatch, attempt)
    assert told[-1]["phase"] == "done"
    assert ends[-1] == Outcome.DONE
    assert time.monotonic() - began < 10


def test_a_moment_without_the_storage_ends_nothing_that_goes_on_without_it(warm, monkeypatch):
    job, root = warm
    exists, read = Storage.exists, Storage.read
    away, ended = [], []

    def missing_at_times(self, path):
        if path.endswith("stop.json") or (path.endswith("trained.json") and ended):
            away.append(path)
            if len(away) % 5:
                raise StorageAway("no answer")
        return exists(self, path)

    def unread_at_times(self, path):
        if path.endswith("stop.json"):
            raise StorageAway("no answer")
        return read(self, path)

    monkeypatch.setattr(Storage, "exists", missing_at_times)
    monkeypatch.setattr(Storage, "read", unread_at_times)
    monkeypatch.setattr(watch, "WAIT_S", 0.01)

    def attempt(tell, should_leave):
        for _ in range(3):
            time.sleep(0.02)
            assert not should_leave()
        publish(root, job)
        ended.append(True)
        tell(FINISHED)

    told, ends = run(root, job, monkeypatch, attempt)
    assert {path.rpartition("/")[2] for path in away} == {"stop.json", "trained.json"}
    assert told[-1]["phase"] == "done"
    assert ends == [Outcome.DONE]


def test_a_spool_that_cannot_be_saved_with_a_checkpoint_is_saved_with_the_next(warm):
    job, _ = warm
    tries = []

    class Record:
        def save_spool(self):
            tries.append(True)
            if len(tries) == 1:
                raise StorageAway("no answer")

    heard = Heard(job, lambda values: None, lambda resources: {})
    heard.record = Record()
    heard.message({"event": "checkpoint", "step": 3})
    heard.message({"event": "checkpoint", "step": 6})
    assert len(tries) == 2


def fails_at(step, error=None):
    def attempt(tell, _):
        tell({"event": "started", "step": max(0, step - 3), "total": 12})
        tell({"event": "steps", "records": [{"step": step - 1, "loss": 1.0, "pairs_per_s": 1.0}], "total": 12})
        raise error or CodeFailure("the network blinked", "", by_user=False)

    return attempt


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        ([3, 6, 9, 12], "done"),  # each further than any before
        ([3, 3], "failed"),
        ([6, 3], "failed"),
        ([3, 6, 6], "failed"),
    ],
)
def test_a_job_that_gets_further_has_all_its_retries_again(warm, monkeypatch, steps, outcome):
    job, root = warm

    def last(tell, _):
        publish(root, job)
        tell(FINISHED)

    told, ends = run(root, job, monkeypatch, *map(fails_at, steps), last, retries=1)
    assert told[-1]["phase"] == outcome
    assert ends == [Outcome.FAILED] * len(steps) + [Outcome.DONE] * (outcome == "done")


def test_three_deaths_without_a_new_step_are_given_up(warm, monkeypatch):
    job, root = warm
    died = InfraFailure("its node died")
    attempts = [fails_at(step, died) for step in (3, 3, 6, 6, 6)]
    told, ends = run(root, job, monkeypatch, *attempts)
    assert told[-1]["phase"] == "failed"
    assert ends == [Outcome.FAILED] * 6
    last = cell_folder(root, job).attempts()[-1]["end"]
    assert last["message"] == "its processes died 3 times in a row without a new step; the last time: its node died"


class Clock:
    """Time that only sleeping passes; ``at`` is called whenever it has."""

    def __init__(self, at=lambda seconds: None):
        self.seconds, self.at = 0.0, at

    def time(self):
        return 1e9 + self.seconds

    def monotonic(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds
        self.at(self.seconds)


def test_a_cell_of_a_driver_that_was_cut_off_is_waited_for_until_its_lease_has_run_out(tmp_path, monkeypatch):
    _, study, root = load(tmp_path)
    job = study.cells[0]

    def beats(seconds):
        if seconds <= 180:  # then Ray on the lost node ends
            there = replace(Holder.me(), host="lab-7", heartbeat=1e9 + seconds)
            root.write(f"{job.folder('small')}/lease/000001.json", json.dumps(asdict(there)).encode())

    clock = Clock(beats)
    beats(0.0)
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(lease, "time", clock)
    told, ends = run(root, job, monkeypatch, min_free=1 << 60)  # it would begin, but has no room
    notes = [one["note"] for one in told if "note" in one]
    assert notes[0].startswith("waiting for lab-7")
    assert "make room" in notes[1]
    assert len(notes) == 2
    assert told[-1]["phase"] == "interrupted"
    assert 180 < clock.seconds < 300
    assert ends == []


def test_a_cell_whose_holder_lives_is_given_up_in_the_end(tmp_path, monkeypatch):
    _, study, root = load(tmp_path)
    job = study.cells[0]
    clock = Clock()
    forever = replace(Holder.me(), host="lab-7", heartbeat=2e9)
    root.write(f"{job.folder('small')}/lease/000001.json", json.dumps(asdict(forever)).encode())
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(lease, "time", clock)
    told, _ = run(root, job, monkeypatch)
    assert told[-1]["phase"] == "failed"
    assert "on host lab-7" in told[-1]["note"]


def test_whoever_waits_for_a_cells_lease_leaves_when_the_sweep_is_asked_to_stop(tmp_path, monkeypatch):
    _, study, root = load(tmp_path)
    job = study.cells[0]
    clock = Clock(lambda seconds: root.write_json("small/stop.json", {}) if seconds > 5 else None)
    forever = replace(Holder.me(), host="lab-7", heartbeat=2e9)
    root.write(f"{job.folder('small')}/lease/000001.json", json.dumps(asdict(forever)).encode())
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(lease, "time", clock)
    told, ends = run(root, job, monkeypatch)
    assert told[-1]["phase"] == "interrupted"
    assert clock.seconds < 10
    assert ends == []


def test_an_evaluation_without_a_result_says_once_that_it_waits_and_leaves_when_asked_to(monkeypatch):
    clock, told, asked = Clock(), [], []

    class Left(Exception):
        pass

    def leave():
        if asked:
            raise Left

    monkeypatch.setattr(scoring, "time", clock)
    following = Following("xquad-r", lambda **values: told.append(values), leave)
    clock.sleep(2)
    following.progress(Progress("encode", 3, 12, 5.0))
    assert told.pop()["evaluation"] == {"dataset": "xquad-r", "stage": "encode", "done": 3, "total": 12, "left": 5.0}
    for _ in range(59):
        clock.sleep(1)
        following.idle()
    assert told == []
    for _ in range(60):
        clock.sleep(1)
        following.idle()
    (waits,) = told
    assert waits["note"].startswith("waits for room to score")
    assert waits["evaluation"]["done"] == 3, "it stays on display"
    asked.append(True)
    with pytest.raises(Left):
        following.idle()
    clock.sleep(1)
    with pytest.raises(Left):
        following.progress(Progress("encode", 4, 12, 5.0))
