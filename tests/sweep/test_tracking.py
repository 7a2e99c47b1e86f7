"""Which runs in MLflow are a sweep's own, and what MLflow has not got of them."""

import io
import shutil
import threading
from pathlib import Path

import pytest
from rich.console import Console
from small_sweeps import cell_folder, finish, load

from xling.errors import ConfigError, TrackingError
from xling.storage import Storage
from xling.sweep.launching.launch import launch
from xling.sweep.lease import Lease, held
from xling.sweep.remembered import remember
from xling.sweep.settings import TrialSettings
from xling.sweep.tracking import known_id, own_id, send_rest, sync_tracking
from xling.sweep.trials.record import CellRecord
from xling.sweep.upkeep.pull import pull
from xling.track.mlflow import CellTracker, SweepTracker
from xling.track.store import connect
from xling.track.stored import spool_at, stored_unsent


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)


def said(console):
    return console.file.getvalue()


def no_display(jobs):
    raise AssertionError("it shows something")


def test_nothing_to_send_to_mlflow(tmp_path, console):
    with pytest.raises(TrackingError, match="holds no tracking spool"):
        sync_tracking(str(tmp_path), console)
    with pytest.raises(TrackingError, match=r"there is no storage at .*nope: give with --storage the folder or URL"):
        sync_tracking(str(tmp_path / "nope"), console)
    assert sync_tracking("memory://somewhere", console) == 0
    assert said(console) == "No run has anything left to send.\n"


def test_what_a_killed_trial_left_is_sent(tmp_path, console):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = CellTracker(
        store, "small", "small", "id", name="tiny/a0", spool=tmp_path / "cell/track", artifact_root=str(tmp_path / "a")
    )
    tracker.open({"xling.kind": "cell"})
    tracker.finish("FINISHED")
    assert sync_tracking(str(tmp_path), console) == 0
    assert said(console) == "1 of 1 runs are complete in MLflow.\n"


@pytest.fixture
def missed(any_storage, tmp_path, away, monkeypatch):
    """A done cell and its sweep's run, of which MLflow, being away, has got nothing; the storage, the cell's job."""
    monkeypatch.setattr("xling.track.run.RunTracker.flush", lambda self, timeout=0: False)  # nobody waits
    root = any_storage
    _, study, _ = load(tmp_path, f"storage={root.url}", f"tracking.uri={away.uri}")
    job = study.cells[0]
    finish(root, job)
    cell = cell_folder(root, job)
    sweep = SweepTracker(away.uri, "small", None, spool_at(root, "small/track"))
    sweep.open("small")
    with CellRecord(job, TrialSettings(root.url, "small", 0, away.uri, "small", None, "", 0.0), cell, 1) as record:
        for evaluation in job.evaluations:
            record.scored(evaluation)
        record.close()
    sweep.finish()
    monkeypatch.undo()
    for thread in threading.enumerate():
        if thread.name.startswith("mlflow "):
            thread.join(timeout=60)  # on a busy machine it may still be about to let go of the spool
    return root, job


def assert_whole(away, job, tmp_path):
    """The cell's run in MLflow has ended, with its figures and files."""
    runs, (evaluation,) = away.runs("small"), job.evaluations
    run, client = runs[job.label], connect(away.uri)
    assert {one.info.status for one in runs.values()} == {"FINISHED"}
    assert run.data.tags["mlflow.parentRunId"] == runs["small"].info.run_id
    assert run.data.metrics[f"eval/{evaluation.dataset}/mAP/Mo"] == 0.8
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"eval", "plots", "tables"}
    values = f"eval/{evaluation.dataset}/per_query.parquet"
    found = client.download_artifacts(run.info.run_id, values, str(tmp_path))
    assert Path(found).stat().st_size > 0


def test_what_mlflow_missed_is_sent_by_track_sync(missed, away, tmp_path, console, object_store):
    root, job = missed
    assert sync_tracking(root.url, console) == 1
    assert f"{job.label}: " in said(console)
    assert said(console).endswith("0 of 2 runs are complete in MLflow.\n")
    away.come()
    assert sync_tracking(root.url, console) == 0
    assert said(console).endswith("2 of 2 runs are complete in MLflow.\n")
    assert_whole(away, job, tmp_path)


def test_what_mlflow_missed_is_sent_at_a_launchs_end(missed, away, tmp_path, object_store):
    root, job = missed
    told = []
    with held(root, "small"):
        send_rest(root, "small", told.append)
        assert told == [
            f"MLflow: 2 runs are not complete yet; send the rest with: xling track sync --storage {root.url}"
        ]
        away.come()
        send_rest(root, "small", told.append)
    assert len(told) == 1
    assert_whole(away, job, tmp_path)


def test_a_run_that_is_written_is_left_to_its_writer(s3_url, console):
    root = Storage(s3_url)
    stored = spool_at(root, "small/cells/id/track", 1)
    tracker = CellTracker("http://127.0.0.1:9", "small", "small", "id", stored, name="tiny/a0")
    tracker.open()
    tracker.save()
    with Lease(root.child("small/cells/id"), "cell tiny/a0"):
        assert sync_tracking(s3_url, console) == 1
    assert "tiny/a0: 1 left in s3://" in said(console)
    assert "is held by process" in said(console)
    assert len(stored_unsent(root, "small")) == 1
    tracker.finish(timeout=0.1)


def launched(root, loaded):
    """As a launch does it; the id."""
    with held(root, "small"):
        found = own_id(root, "small")
        remember(root, loaded)
    return found


def test_each_storages_sweep_has_an_id_of_its_own_that_stays(any_storage, tmp_path):
    loaded, *_ = load(tmp_path, f"storage={any_storage.url}")
    assert known_id(any_storage, "small") is None
    first = launched(any_storage, loaded)
    assert len(first) == 32
    assert launched(any_storage, loaded) == first == known_id(any_storage, "small")
    assert launched(Storage(str(tmp_path / "other")), loaded) != first


def test_a_sweep_launched_before_there_were_ids_has_none(any_storage, tmp_path):
    loaded, *_ = load(tmp_path, f"storage={any_storage.url}")
    launched(any_storage, loaded)
    any_storage.delete("small/tracking.json")
    assert launched(any_storage, loaded) == ""
    assert launched(any_storage, loaded) == ""


def test_a_copy_that_goes_on_by_itself_is_another_sweep(any_storage, tmp_path):
    loaded, *_ = load(tmp_path, f"storage={any_storage.url}")
    first = launched(any_storage, loaded)
    any_storage.write_json("small/unsent/id.json", {})
    pull(any_storage, "small", tmp_path / "copy", "all", lambda done, total: None)
    copy = Storage(str(tmp_path / "copy"))
    assert known_id(copy, "small") is None
    assert copy.exists("small/launch.json")
    assert not copy.exists("small/unsent")
    copy.delete("small/pulled.jsonl")
    assert launched(copy, loaded) not in ("", first)


@pytest.mark.parametrize("name", ["runs?", "runs%41", "a?b/runs"])
def test_a_storage_whose_path_is_no_part_of_a_uri_is_refused_before_anything_is_written(tmp_path, name):
    loaded, _, root = load(tmp_path, f"storage='{tmp_path}/{name}'")
    with pytest.raises(ConfigError, match=r"storage is '.*', must be without .* rename the folder, or set tracking"):
        launch(loaded, no_display)
    assert not Path(root.url).exists()


def test_a_name_with_another_odd_character_is_none_of_mlflows_business(tmp_path, empty_store):
    from xling.track.store import default_store

    for name in ("a#b", "50% x", "ü ñ", "100%", "a&b=c;d"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        uri, artifacts = default_store(str(folder))
        with CellTracker(uri, "demo", "demo", "c1", folder / "spool", artifact_root=artifacts) as tracker:
            tracker.log_text("figures", "table.txt")
        assert tracker.problems == ()
        assert {path.name for path in folder.iterdir()} >= {"mlflow.db", "mlartifacts"}
        assert next((folder / "mlartifacts").rglob("table.txt")).read_text() == "figures"
