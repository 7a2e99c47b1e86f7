"""Runs in a SQLite store: nesting, re-opening, params, inputs, artifacts, refusals."""

import json
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from matplotlib.figure import Figure

from xling.errors import TrackingError
from xling.languages import LangPair
from xling.track.links import sweep_links
from xling.track.mlflow import CellTracker, MetricPoint, SweepTracker, flatten, metric_name
from xling.track.server import addresses, ui_command
from xling.track.spool import Spool
from xling.track.store import connect, default_store, resolve_uri
from xling.track.sync import sync
from xling.track.system import SystemMetrics

NOW = 1_700_000_000_000


class Desk:
    """A store in a folder, and trackers on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri, self.artifacts = default_store(str(folder))

    def sweep(self, **values):
        tracker = SweepTracker(self.uri, "demo", self.artifacts, self.folder / "spool-sweep")
        return tracker, tracker.open("demo", **values)

    def cell(self, cell="c1", spool=None):
        return CellTracker(
            self.uri, "demo", "demo", cell, spool or self.folder / f"spool-{cell}", artifact_root=self.artifacts
        )

    @property
    def client(self):
        return connect(self.uri)

    def history(self, run_id, key):
        return [(point.step, point.value, point.timestamp) for point in self.client.get_metric_history(run_id, key)]


@pytest.fixture
def desk(new_store):
    return Desk(new_store().parent)


def points(steps, key="train/loss", at=NOW):
    return [MetricPoint(key, 10.0 - step, step, at + step) for step in steps]


def test_cells_are_nested_under_their_sweep_and_reopened_with_the_same_id(desk):
    sweep, parent = desk.sweep(description="What it is for.", params={"grid": {"size": ["tiny"]}}, tags={"who": "me"})
    with desk.cell("c1") as first:
        first.log_params({"mix": {"monolingual": 1.0}})
    with desk.cell("c2"):
        pass
    again = desk.cell("c1", spool=desk.folder / "another-host")
    again.open(tags={"xling.resume": "xling resume demo"})
    assert again.flush()
    running = desk.client.get_run(again.run_id)
    assert again.finish("FAILED")
    assert sweep.finish()

    run = desk.client.get_run(first.run_id)
    assert again.run_id == first.run_id
    assert running.info.status == "RUNNING"
    assert run.info.status == "FAILED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["xling.resume"] == "xling resume demo"
    assert run.data.params == {"mix.monolingual": "1.0"}
    above = desk.client.get_run(parent)
    assert (above.info.status, above.info.run_name) == ("FINISHED", "demo")
    assert above.data.tags["mlflow.note.content"] == "What it is for."
    assert above.data.params == {"grid.size": '["tiny"]'}
    assert len(desk.client.search_runs([run.info.experiment_id])) == 3
    assert desk.sweep()[1] == parent


def test_equal_cell_ids_of_two_sweeps_are_two_runs(desk):
    runs = []
    for sweep in ("one", "two"):
        tracker = CellTracker(desk.uri, "demo", sweep, "c1", desk.folder / sweep)
        with tracker:
            pass
        runs.append(tracker.run_id)
    assert runs[0] != runs[1]


def of_storage(desk, folder, sweep_id):
    """A sweep named demo with a cell, as a storage's launch tracks them; the runs' ids."""
    sweep = SweepTracker(desk.uri, "demo", desk.artifacts, desk.folder / folder / "sweep", sweep_id)
    parent = sweep.open("demo")
    with CellTracker(desk.uri, "demo", "demo", "c1", desk.folder / folder / "cell", sweep_id=sweep_id) as cell:
        cell.set_tags({"of": folder})
    sweep.finish()
    return parent, cell.run_id


def test_sweeps_of_one_name_in_two_storages_are_told_apart_and_each_finds_its_own(desk):
    old, mine, theirs = (of_storage(desk, name, sweep_id) for name, sweep_id in (("o", ""), ("m", "m1"), ("t", "t1")))
    assert len({*old, *mine, *theirs}) == 6
    for folder, sweep_id, runs in (("o2", "", old), ("m2", "m1", mine), ("t2", "t1", theirs)):  # resumed elsewhere
        assert of_storage(desk, folder, sweep_id) == runs
        assert sweep_links(desk.uri, "demo", sweep_id=sweep_id).parent.endswith(runs[0])
    assert desk.client.get_run(mine[1]).data.tags["of"] == "m2"
    assert sweep_links(desk.uri, "demo").parent.endswith(theirs[0])
    desk.client.delete_run(theirs[0])
    assert of_storage(desk, "m3", "m1") == mine


def test_what_an_older_spool_holds_goes_to_the_run_without_an_id(desk):
    _, old = of_storage(desk, "o", "")
    of_storage(desk, "m", "m1")
    spool = Spool(desk.folder / "o/cell")
    spool.identify({key: value for key, value in spool.identity().items() if key != "sweep_id"})
    spool.append("tags", tags={"late": "yes"})
    assert [(one.left, one.problem) for one in sync(desk.folder / "o/cell")] == [(0, "")]
    assert desk.client.get_run(old).data.tags["late"] == "yes"


def test_a_changed_param_is_reported_tagged_and_never_stops_anything(desk):
    with desk.cell() as tracker:
        tracker.log_params({"retries": 2, "seed": 0})
    again = desk.cell()
    with again:
        again.log_params({"retries": 5, "seed": 0, "new": True})
        again.log_points(points([1]))
    run = desk.client.get_run(again.run_id)
    assert run.data.params == {"retries": "2", "seed": "0", "new": "true"}
    assert run.data.tags["xling.changed.retries"] == "2 -> 5"
    assert run.data.metrics == {"train/loss": 9.0}
    assert any("retries: 2 -> 5" in problem for problem in again.problems)


def test_inputs_artifacts_figures_and_tables_arrive(desk):
    model = desk.folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    figure = Figure()
    figure.subplots().plot([1, 2])
    with desk.cell() as tracker:
        tracker.log_inputs("xquad-r", "ab" * 16, context="evaluation")
        tracker.log_artifact(model)
        tracker.log_artifact(model / "config.json", "configs")
        tracker.log_figure(figure, "line.png")
        tracker.log_table(["pair", "mAP"], [["ar-de", 0.5]], "pairs.json")
    run = desk.client.get_run(tracker.run_id)
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("xquad-r", "ab" * 16)
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    assert root.is_relative_to(desk.artifacts)
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == {"model/config.json", "configs/config.json", "plots/line.png", "tables/pairs.json"}
    assert json.loads((root / "tables/pairs.json").read_text()) == {
        "columns": ["pair", "mAP"],
        "data": [["ar-de", 0.5]],
    }
    assert not any((desk.folder / "spool-c1" / "files").iterdir())


def test_no_step_is_recorded_twice_when_a_trial_goes_back_to_its_checkpoint(desk):
    with desk.cell() as tracker:
        tracker.log_points(points(range(0, 50, 10)))
    with desk.cell() as again:  # from the checkpoint at step 20, on the same host, at another time
        again.log_points(points(range(30, 80, 10), at=NOW + 10**6))
        again.log_points(points([30, 70], key="dev/mAP", at=NOW + 10**6))
    history = desk.history(again.run_id, "train/loss")
    assert [step for step, *_ in history] == [0, 10, 20, 30, 40, 50, 60, 70]
    assert [stamp for *_, stamp in history][4:6] == [NOW + 40, NOW + 10**6 + 50]
    assert [step for step, *_ in desk.history(again.run_id, "dev/mAP")] == [30, 70]


def test_on_another_host_without_the_spool_the_server_is_asked(desk):
    with desk.cell() as tracker:
        tracker.log_points(points(range(0, 50, 10)) + points([40], key="dev/mAP"))
    with desk.cell(spool=desk.folder / "other-host") as again:
        again.log_points(points(range(30, 80, 10), at=NOW + 10**6) + points([40, 60], key="dev/mAP", at=NOW + 10**6))
    assert [step for step, *_ in desk.history(again.run_id, "train/loss")] == [0, 10, 20, 30, 40, 50, 60, 70]
    assert desk.history(again.run_id, "dev/mAP")[0][2] == NOW + 40


def test_once_the_server_was_asked_no_step_below_its_last_one_is_taken(desk):
    with desk.cell() as tracker:
        tracker.log_points(points([10, 20]))
    with desk.cell(spool=desk.folder / "other-host") as again:
        assert again.flush()
        again.log_points(points([15, 20, 25], at=NOW + 10**6))  # reports every 5 steps now
    assert [step for step, *_ in desk.history(again.run_id, "train/loss")] == [10, 20, 25]


def test_an_artifact_that_is_not_there_is_reported_and_stops_nothing(desk):
    with desk.cell() as tracker:
        tracker.log_artifact(desk.folder / "missing.txt")
        tracker.log_points(points([1]))
    assert any("missing.txt" in problem for problem in tracker.problems)
    assert len(desk.history(tracker.run_id, "train/loss")) == 1


def test_points_left_on_a_lost_host_fill_their_gap_later(desk):
    lost = desk.cell(spool=desk.folder / "host-a")
    with lost:
        lost.log_points(points([10]))
    lost.spool.append_points(points([20, 30]))  # spooled, never sent
    with desk.cell(spool=desk.folder / "host-b") as other:
        other.log_points(points([40, 50]))
    (result,) = sync(desk.folder / "host-a")
    assert (result.left, result.problem) == (0, "")
    assert sorted(step for step, *_ in desk.history(other.run_id, "train/loss")) == [10, 20, 30, 40, 50]
    assert sync(desk.folder / "host-a")[0].sent == 0


def test_another_store_gets_the_whole_run(desk, new_store):
    with desk.cell() as tracker:
        tracker.log_params({"seed": 0})
        tracker.log_points(points([1, 2]))
    uri = f"sqlite:///{new_store()}"
    moved = CellTracker(uri, "demo", "demo", "c1", tracker.spool.folder)
    with moved:
        moved.log_points(points([2, 3]))
    client = connect(uri)
    assert [point.step for point in client.get_metric_history(moved.run_id, "train/loss")] == [1, 2, 3]
    assert client.get_run(moved.run_id).data.params == {"seed": "0"}


def test_what_mlflow_refuses_is_reported_and_the_rest_goes_on(desk):
    with desk.cell() as tracker:
        tracker.log_points([MetricPoint("R@10", 1.0, 1, NOW), *points([1]), MetricPoint("x", float("nan"), 1, NOW)])
        tracker.set_tags({"": "a tag without a name"})
        tracker.log_points(points([2]))
    assert any("'R@10'" in problem for problem in tracker.problems)
    assert any("tags" in problem for problem in tracker.problems)
    assert [step for step, *_ in desk.history(tracker.run_id, "train/loss")] == [1, 2]


def test_a_deleted_experiment_stops_a_sweep_with_the_way_to_restore_it(desk):
    sweep, _ = desk.sweep()
    sweep.finish()
    found = desk.client.get_experiment_by_name("demo")
    desk.client.delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match=f"experiments restore --experiment-id {found.experiment_id}"):
        desk.sweep()
    tracker = desk.cell()
    tracker.open()
    assert not tracker.flush(timeout=1.5)
    assert any("experiment 'demo' was deleted" in problem for problem in tracker.problems)
    desk.client.restore_experiment(found.experiment_id)  # while the trial runs: nothing was lost
    assert tracker.finish(timeout=20)


def test_a_run_deleted_while_its_trial_runs_is_named_and_gets_everything_once_restored(desk):
    tracker = desk.cell()
    tracker.open()
    tracker.log_points(points([1]))
    assert tracker.flush()
    desk.client.delete_run(tracker.run_id)
    tracker.log_points(points([2]))
    assert not tracker.flush(timeout=1.5)
    assert any(f"runs restore --run-id {tracker.run_id}" in problem for problem in tracker.problems)
    desk.client.restore_run(tracker.run_id)
    assert tracker.finish(timeout=20)
    assert [step for step, *_ in desk.history(tracker.run_id, "train/loss")] == [1, 2]


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "htp://host", "http://", "mlflow.db"])
def test_a_uri_that_is_none_of_mlflows_is_refused_with_an_example(uri, tmp_path):
    with pytest.raises(TrackingError, match="sqlite:////absolute"):
        SweepTracker(uri, "demo", None, tmp_path)


def test_a_missing_driver_is_named_and_no_password_is_shown(tmp_path):
    with pytest.raises(TrackingError, match=r"pip install \w+") as caught:
        SweepTracker("mysql://me:secret@127.0.0.1/x", "demo", None, tmp_path).open("demo")
    assert "secret" not in str(caught.value)


def test_an_unreachable_server_is_a_warning_and_everything_is_spooled(tmp_path, caplog):
    uri = "http://127.0.0.1:9"
    sweep = SweepTracker(uri, "demo", None, tmp_path / "sweep")
    assert sweep.open("demo", params={"a": 1}) is None
    assert "spooled and sent later" in caplog.text
    tracker = CellTracker(uri, "demo", "demo", "c1", tmp_path / "cell")
    tracker.open()
    tracker.log_points(points(range(1000)))
    assert not tracker.finish(timeout=0.5)
    assert any("xling track sync" in problem for problem in tracker.problems)
    assert tracker.run_id is None
    assert not sweep.finish(timeout=0.1)
    assert {result.left > 0 for result in sync(tmp_path)} == {True}


def test_sync_names_a_folder_without_a_spool(tmp_path):
    with pytest.raises(TrackingError, match="no tracking spool"):
        sync(tmp_path)


@pytest.mark.slow
def test_a_fresh_store_can_be_opened_by_several_processes_at_once(tmp_path):
    script = "import sys; from xling.track.store import connect; connect(sys.argv[1]).search_experiments()"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    started = [subprocess.Popen([sys.executable, "-c", script, uri], stderr=subprocess.PIPE) for _ in range(3)]
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0, 0, 0], ended


def test_two_writers_at_once_lose_nothing(desk):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from xling.track.mlflow import CellTracker, MetricPoint
        uri, cell, folder = sys.argv[1:]
        with CellTracker(uri, "demo", "demo", cell, Path(folder)) as tracker:
            for step in range(60):
                tracker.log_points([MetricPoint(key, step, step, 1000 + step) for key in ("a", "b", "c")])
                if step % 10 == 0:
                    assert tracker.flush(timeout=120)
    """)
    desk.sweep()[0].finish()
    with ThreadPoolExecutor() as pool:
        ended = list(
            pool.map(
                lambda cell: subprocess.run(
                    [sys.executable, "-c", script, desk.uri, cell, str(desk.folder / cell)], capture_output=True
                ),
                ("x", "y"),
            )
        )
    assert [process.returncode for process in ended] == [0, 0], ended
    experiment = desk.client.get_experiment_by_name("demo").experiment_id
    runs = desk.client.search_runs([experiment], "tags.`xling.cell` != ''")
    assert len(runs) == 2
    for run in runs:
        assert run.info.status == "FINISHED"
        for key in "abc":
            assert [step for step, *_ in desk.history(run.info.run_id, key)] == list(range(60))


def test_names():
    assert metric_name("xquad-r", "mAP", LangPair("ar", "de")) == "eval/xquad-r/mAP/pair/ar-de"
    assert metric_name("geo", "R@10", "Mo") == "eval/geo/R_at_10/Mo"
    assert metric_name("xquad-r", "rank_distance") == "eval/xquad-r/rank_distance"
    with pytest.raises(TrackingError, match="ar>de"):
        metric_name("ar>de", "mAP")


def test_flatten_numbers_sections_and_keeps_lists_of_values():
    config = {
        "data": {"evaluate": [{"dataset": "xquad-r", "languages": None}, {"dataset": "geo"}]},
        "train": {"betas": (0.9, 0.98), "lr": 3e-5, "mask": True},
        "name": "demo",
    }
    assert flatten(config) == {
        "data.evaluate.0.dataset": "xquad-r",
        "data.evaluate.0.languages": "null",
        "data.evaluate.1.dataset": "geo",
        "train.betas": "[0.9, 0.98]",
        "train.lr": "3e-05",
        "train.mask": "true",
        "name": "demo",
    }


def test_default_store_is_local_and_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_store("runs") == (f"sqlite:///{tmp_path}/runs/mlflow.db", f"{tmp_path}/runs/mlartifacts")
    assert resolve_uri("sqlite:///here.db") == f"sqlite:///{tmp_path}/here.db"
    with pytest.raises(TrackingError, match=r"set tracking\.uri"):
        default_store("memory://bucket/runs")


def test_the_ui_is_bound_to_this_host(desk):
    command = ui_command(desk.uri, port=5001)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--artifacts-destination") + 1] == desk.artifacts


def test_a_sweeps_pages_are_found_by_its_name(desk):
    sweep, parent = desk.sweep()
    ids = {}
    for name, kind, state in (
        ("c2", "cell", "done"),
        ("c1", "cell", "done"),
        ("c3", "cell", "failed"),
        ("b", "baseline", "done"),
    ):
        with desk.cell(name) as cell:
            cell.set_tags({"xling.kind": kind, "xling.state": state})
        ids[name] = cell.run_id
    sweep.finish()
    links = sweep_links(desk.uri, "demo")
    assert links == sweep_links(desk.uri, "demo", "demo")
    assert links.nested == "/#/experiments/1/runs?workflowType=machine_learning"
    assert links.parent == f"/#/experiments/1/runs/{parent}"
    asked = parse_qs(links.cells.partition("?")[2])
    assert asked["searchFilter"] == [f'tags.`mlflow.parentRunId` = "{parent}"']
    assert asked["orderByKey"] == ["tags.`mlflow.runName`"]
    assert links.charts == f"{links.cells}&compareRunsMode=CHART"
    compared = parse_qs(links.compare.partition("?")[2])
    assert [json.loads(of) for (of,) in compared.values()] == [[ids["c1"], ids["c2"]], ["1"]]
    for name, experiment in (("other", None), ("demo", "other")):
        with pytest.raises(TrackingError, match=f"sweep '{name}' is not in sqlite"):
            sweep_links(desk.uri, name, experiment)


def test_too_many_cells_are_not_put_into_one_address(desk, monkeypatch):
    monkeypatch.setattr("xling.track.links.COMPARED_AT_MOST", 1)
    sweep, _ = desk.sweep()
    for name in ("c1", "c2"):
        with desk.cell(name) as cell:
            cell.set_tags({"xling.kind": "cell", "xling.state": "done"})
    sweep.finish()
    links = sweep_links(desk.uri, "demo")
    assert links.compare is None
    assert addresses("http://h", links)[-1] == f"Compare: http://h{links.charts}"


def test_the_machines_load_is_logged_under_mlflows_names_and_goes_on_counting(desk):
    for _ in range(2):
        with desk.cell() as cell, SystemMetrics(cell, interval_s=0.05):
            time.sleep(0.12)
    cpu = desk.history(cell.run_id, "system/cpu_utilization_percentage")
    memory = desk.history(cell.run_id, "system/system_memory_usage_megabytes")
    assert [step for step, *_ in cpu] == [step for step, *_ in memory] == list(range(len(cpu)))
    assert len(cpu) >= 2  # at least one of each attempt
    assert all(0 <= value <= 100 for _, value, _ in cpu)
    assert all(value > 0 for _, value, _ in memory)


def test_a_probe_that_fails_fails_nothing_else(desk, monkeypatch, caplog):
    def broken():
        raise OSError("no /proc")

    monkeypatch.setattr("xling.track.system._probes", broken)
    with desk.cell() as cell, SystemMetrics(cell, interval_s=0.05):
        cell.log_points(points([0]))
    assert desk.client.get_run(cell.run_id).info.status == "FINISHED"
    assert "is not tracked any more" in caplog.text
