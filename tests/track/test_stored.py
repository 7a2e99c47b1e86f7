"""Runs whose results lie in an object store: nothing that MLflow missed is lost with the machine it was logged on."""

from pathlib import Path

import pytest

from xling.storage import Storage
from xling.track.mlflow import CellTracker, MetricPoint, SweepTracker
from xling.track.spool import Spool
from xling.track.store import connect
from xling.track.stored import spool_at, stored_unsent
from xling.track.sync import sync_stored

TRACK = "demo/cells/c1/track"


@pytest.fixture
def root(s3_url):
    return Storage(s3_url)


def cell(away, root, attempt=1):
    return CellTracker(away.uri, "demo", "demo", "c1", spool_at(root, TRACK, attempt), sweep_id="an-id")


def points(steps, at=0):
    return [MetricPoint("loss", float(step), step, 1000 + at + step) for step in steps]


def send_all(root):
    """What is left of the sweep's runs, by their names, after another try."""
    done = [sync_stored(run) for run in stored_unsent(root, "demo")]
    return {run.name: (run.left, run.problem) for run in done}


def test_what_mlflow_missed_is_sent_later_from_another_machine_artifacts_too(root, away, tmp_path):
    sweep = SweepTracker(away.uri, "demo", None, spool_at(root, "demo/track"), "an-id")
    assert sweep.open("demo", params={"a": 1}) is None
    tracker = cell(away, root)
    tracker.open()
    tracker.log_points(points(range(10)))
    tracker.log_text("figures", "table.txt")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("large")
    tracker.log_artifact(tmp_path / "model")
    assert not tracker.finish(timeout=0.5)
    assert not sweep.finish(timeout=0.5)
    assert f"xling track sync --storage {root.url}" in tracker.problems[-1]
    assert not tracker.spool.folder.exists()

    assert {left > 0 for left, _ in send_all(root).values()} == {True}
    away.come()
    assert send_all(root) == {"c1": (0, ""), "demo": (0, "")}
    runs = away.runs("demo")
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["c1"].data.tags["mlflow.parentRunId"] == runs["demo"].info.run_id
    assert (runs["demo"].data.params, runs["demo"].data.tags["xling.sweep_id"]) == ({"a": "1"}, "an-id")
    client, run_id = connect(away.uri), runs["c1"].info.run_id
    assert [point.step for point in client.get_metric_history(run_id, "loss")] == list(range(10))
    assert sorted(file.path for file in client.list_artifacts(run_id)) == ["model", "table.txt"]
    assert Path(client.download_artifacts(run_id, "model/weights", str(tmp_path))).read_text() == "large"
    assert (stored_unsent(root, "demo"), root.list(f"{TRACK}/files")) == ([], [])
    assert send_all(root) == {}


def test_a_run_that_mlflow_has_whole_owes_nothing(root, away):
    away.come()
    with cell(away, root) as tracker:
        tracker.log_text("figures", "table.txt")
        assert [run.track for run in stored_unsent(root, "demo")] == [TRACK]  # should it be killed now
    assert stored_unsent(root, "demo") == []
    assert [name for name in root.list(TRACK) if not name.endswith(".jsonl")] == []


def test_the_next_attempt_sends_what_an_earlier_one_could_not(root, away):
    first = cell(away, root)
    first.open()
    first.log_points(points([1, 2]))
    first.log_text("figures", "table.txt")
    assert not first.finish("FAILED", timeout=0.5)
    away.come()
    with cell(away, root, attempt=2) as second:
        second.log_points(points([2, 3], at=50))
    client, run = connect(away.uri), away.runs("demo")["c1"]
    assert run.info.status == "FINISHED"
    assert [(point.step, point.timestamp) for point in client.get_metric_history(run.info.run_id, "loss")] == [
        (1, 1001),
        (2, 1002),
        (3, 1053),
    ]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["table.txt"]
    assert (stored_unsent(root, "demo"), root.list(f"{TRACK}/files")) == ([], [])


def opened_by_one_who_is_killed(away, root):
    """What a driver has that never comes to send anything: its spool, and where that is kept."""
    stored = spool_at(root, TRACK, 1)
    spool = Spool(stored.folder)
    stored.open(spool, cell(away, root).key)
    return stored, spool


def test_of_a_killed_driver_what_its_checkpoints_kept_is_sent(root, away):
    stored, spool = opened_by_one_who_is_killed(away, root)
    spool.append_points(points([1, 2]))
    stored.save(spool)
    spool.append_points(points([3]))
    away.come()
    assert send_all(root) == {"c1": (0, "")}
    history = connect(away.uri).get_metric_history(away.runs("demo")["c1"].info.run_id, "loss")
    assert [point.step for point in history] == [1, 2]


def test_a_run_whose_spool_was_removed_is_forgotten(root, away):
    stored, spool = opened_by_one_who_is_killed(away, root)
    spool.append_points(points([1]))
    stored.save(spool)
    root.delete(TRACK)
    assert send_all(root) == {"c1": (0, "")}
    assert stored_unsent(root, "demo") == []


def test_attempts_without_a_number_are_counted(root, away):
    away.come()
    for _ in range(2):
        sweep = SweepTracker(away.uri, "demo", None, spool_at(root, "demo/track"))
        sweep.open("demo")
        sweep.finish()
    assert [name[:6] for name in root.list("demo/track")] == ["000001", "000002"]


def test_beside_local_results_a_spool_stays(tmp_path):
    root = Storage(str(tmp_path))
    assert spool_at(root, TRACK, 1) == tmp_path / TRACK
