"""What a sweep's own MLflow run tells after a launch."""

import json
import shutil
from pathlib import Path

import pytest
from small_sweeps import finish, load

from xling.sweep.launching.record_sweep import record_sweep
from xling.sweep.outcome.gather import gather
from xling.track.mlflow import CellTracker, SweepTracker
from xling.track.store import connect, default_store


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, empty_store):
    """A sweep recorded before any cell was done, then with all but the last, then with all; a way to do it again."""
    loaded, study, root = load(tmp_path_factory.mktemp("record"))
    uri, artifacts = default_store(root.url)
    Path(root.url).mkdir()
    shutil.copy(empty_store, uri.removeprefix("sqlite:///"))
    _launched(root, loaded, study, uri, artifacts)
    for job in study.baselines:
        finish(root, job, mono=0.3, cross=0.1, distance=90)
    for number, job in enumerate(study.cells):
        if number == len(study.cells) - 1:
            _launched(root, loaded, study, uri, artifacts)
        finish(root, job, mono=0.7 + number / 50, cross=0.6 - number / 20, distance=10 + number)
    child = CellTracker(
        uri, "mine", "small", "id", Path(root.url) / "cell-spool", name="mini/a1", artifact_root=artifacts
    )
    with child:
        child.set_tags({"xling.kind": "cell", "xling.state": "done"})
    parent = _launched(root, loaded, study, uri, artifacts)
    client = connect(uri)
    return client.get_run(parent), client, child.run_id, lambda: _launched(root, loaded, study, uri, artifacts)


def _launched(root, loaded, study, uri, artifacts):
    tracker = SweepTracker(uri, "mine", artifacts, Path(root.url) / "spool")
    parent = tracker.open("small")
    record_sweep(tracker.run, gather(root, loaded, study))
    assert tracker.finish()
    assert tracker.run.problems == ()
    return parent


def test_the_headline_of_every_size_and_alpha_at_the_number_of_cells_done(recorded):
    run, client, *_ = recorded
    assert run.data.metrics["eval/parallel-jsonl/mAP/Mo/tiny/a0.5"] == pytest.approx(0.72)
    assert run.data.metrics["eval/parallel-jsonl/mAP/Cr/mini/start"] == pytest.approx(0.1)
    history = client.get_metric_history(run.info.run_id, "eval/parallel-jsonl/rank_distance/tiny/a0")
    assert [(point.step, point.value) for point in history][:2] == [(5, 10.0), (6, 10.0)]  # none without scores
    last, *_ = client.get_metric_history(run.info.run_id, "eval/parallel-jsonl/rank_distance/mini/a1")
    assert (last.step, last.value) == (6, 15.0)


def test_the_best_on_dev_and_its_figures(recorded):
    run, client, *_ = recorded
    assert run.data.tags["xling.best_on_dev"] == "mini/a1"
    assert run.data.tags["xling.done"] == "6"
    best = client.get_metric_history(run.info.run_id, "best/parallel-jsonl/mAP/Mo")
    assert [point.value for point in best][:2] == pytest.approx([0.78, 0.80])
    assert run.data.metrics["best/dev"] == pytest.approx(0.80)


def test_where_none_can_be_chosen_none_is_named_any_more(recorded, monkeypatch):
    run, client, _, launch = recorded
    with monkeypatch.context() as patch:
        patch.setattr("xling.sweep.launching.record_sweep.chosen_on_dev", lambda rows: None)  # of several dev sets
        launch()
    assert client.get_run(run.info.run_id).data.tags["xling.best_on_dev"] == ""
    launch()
    assert client.get_run(run.info.run_id).data.tags["xling.best_on_dev"] == "mini/a1"


def test_tables_and_a_description_with_ways_to_the_cells(recorded, tmp_path):
    run, client, child, _ = recorded
    file = client.download_artifacts(run.info.run_id, "tables/parallel-jsonl.json", str(tmp_path))
    table = json.loads(Path(file).read_text())
    assert table["columns"][:3] == ["size", "alpha", "Mo."]
    assert [row[:2] for row in table["data"]][3:6] == [["tiny", "1"], ["mini", "start"], ["mini", "0"]]
    told = run.data.tags["mlflow.note.content"]
    assert "| mini | start | .300 |" in told
    assert "Best on dev: mini/a1 (alpha 1), dev 0.8000." in told
    assert f"(#/compare-runs?runs=%5B%22{child}%22%5D&experiments=%5B%22{run.info.experiment_id}%22%5D)" in told


def test_launched_again_a_long_description_is_told_without_its_tables(recorded, monkeypatch):
    run, client, _, launch = recorded
    monkeypatch.setattr("xling.sweep.launching.record_sweep._LONGEST_TAG", 900)
    assert launch() == run.info.run_id
    told = client.get_run(run.info.run_id).data.tags["mlflow.note.content"]
    assert "| tiny |" not in told
    assert "### parallel-jsonl" in told
    assert len(told) <= 900
    assert client.get_run(run.info.run_id).data.metrics.keys() == run.data.metrics.keys()
