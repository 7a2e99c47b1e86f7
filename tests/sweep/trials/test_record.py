"""What a cell's MLflow run tells of its mix."""

import json
import shutil
from pathlib import Path

import pytest
from small_models import tiny_model
from small_sweeps import cell_folder, finish, load

from xling.batching.plan import plan_for
from xling.model.source import save_folder
from xling.sweep.settings import TrialSettings
from xling.sweep.trials.record import CellRecord
from xling.track.store import connect, default_store
from xling.train.metrics import write_segment


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, empty_store):
    """A finished cell of a scheduled mix, recorded twice; its job, its composition, its run and the run's artifacts."""
    folder = tmp_path_factory.mktemp("record")
    grid = "grid=[{mix.monolingual: [{linear: {start: 1, end: 0}}]}]"
    _, study, root = load(folder, grid, "model.preset=tiny")
    (job,) = study.cells
    finish(root, job)
    cell = cell_folder(root, job)
    training = study.trainings[job.training]
    plan = plan_for(training, job.config.mix, batch_size=8, total_steps=12, seed=job.config.seed)
    composition = plan.composition(0, 12)
    cell.storage.write_json("composition.json", composition.as_json())
    write_segment(
        cell.storage, [{"step": step, "time_ms": 1_700_000_000_000 + step, "loss": 1.0} for step in range(12)], 1
    )
    uri, artifacts = default_store(root.url)
    shutil.copy(empty_store, uri.removeprefix("sqlite:///"))
    settings = TrialSettings(root.url, "small", 0, uri, "small", artifacts, "", 0.0)
    for attempt in (1, 2):
        with CellRecord(job, settings, cell, attempt) as record:
            record.close()
    client = connect(uri)
    experiment = client.get_experiment_by_name("small").experiment_id
    (run,) = client.search_runs([experiment], "tags.`xling.kind` = 'cell'")
    return job, composition, run, client


def test_the_kinds_realised_are_metrics_logged_once(recorded):
    _, composition, run, client = recorded
    for kind, batches in composition.kinds.items():
        (point,) = client.get_metric_history(run.info.run_id, f"mix/{kind}")
        assert point.value == pytest.approx(batches / 12)
        assert (point.step, point.timestamp) == (11, 1_700_000_000_011)


def test_the_language_pairs_are_a_table_beside_what_was_asked(recorded, tmp_path):
    _, composition, run, client = recorded
    table = json.loads(
        Path(client.download_artifacts(run.info.run_id, "tables/mix-pairs.json", str(tmp_path))).read_text()
    )
    found = {row[0]: row[1:] for row in table["data"]}
    assert table["columns"] == ["pair", "examples", "share", "asked"]
    assert found.keys() == composition.pairs.keys()
    for pair, counts in composition.pairs.items():
        assert found[pair] == pytest.approx([counts.examples, counts.examples / 96, counts.asked / 96])
    assert sum(row[0] for row in found.values()) == 96


def test_alpha_is_the_mean_and_the_schedule_stands_beside_it(recorded):
    job, _, run, _ = recorded
    assert run.data.params["alpha"] == "0.5"
    assert run.data.params["alpha_schedule"] == job.schedule == "1to0"
    assert run.data.params["mix.monolingual.linear.start"] == "1.0"
    assert "mix.cross_lingual" not in run.data.params


def test_runs_can_be_filtered_by_size_alpha_seed_and_state(recorded):
    job, _, run, client = recorded
    tags = {name: run.data.tags[f"xling.{name}"] for name in ("size", "alpha", "seed", "state", "kind")}
    assert tags == {"size": "tiny", "alpha": job.schedule, "seed": "0", "state": "done", "kind": "cell"}
    query = "tags.`xling.size` = 'tiny' and tags.`xling.alpha` = '1to0' and tags.`xling.state` = 'done'"
    assert [one.info.run_id for one in client.search_runs([run.info.experiment_id], query)] == [run.info.run_id]


def test_nothing_watches_the_machine_unless_it_is_asked_to(recorded):
    *_, run, _ = recorded
    assert not [name for name in run.data.metrics if name.startswith("system/")]


@pytest.mark.parametrize(
    ("which", "parameters", "is_kept"),
    [("small", 16_000_000, True), ("small", 16_000_001, False), ("all", 10**9, True), ("none", 7, False)],
)
def test_which_models_mlflow_keeps(tmp_path, which, parameters, is_kept):
    """Told by what is spooled for it; tests/track/test_served.py has MLflow load one."""
    _, study, root = load(tmp_path, "grid=[]", "model.preset=tiny")
    (job,) = study.cells
    finish(root, job)
    cell = cell_folder(root, job)
    save_folder(tmp_path / "encoder", tiny_model(tmp_path))
    cell.storage.upload(tmp_path / "encoder", "model")
    cell.storage.write_json(
        "model/trained.json", {"step": 12, "total_steps": 12, "dev": None, "parameters": parameters}
    )
    uri = "http://127.0.0.1:9"  # nobody listens there: all stays in the spool
    record = CellRecord(
        job, TrialSettings(root.url, "small", 0, uri, "small", None, "", 0.0, log_models=which), cell, 1
    )
    record.close()
    spooled = [Path(cell.storage.url, "track", op["file"]) for op in operations(cell) if op["op"] == "artifact"]
    assert [file for file in spooled if (file / "MLmodel").is_file()] == spooled
    assert len(spooled) == is_kept
    assert record.problems == ()


def operations(cell) -> list[dict]:
    if not cell.storage.exists("track/spool.jsonl"):
        return []
    return [json.loads(line) for line in cell.storage.read("track/spool.jsonl").splitlines()]
