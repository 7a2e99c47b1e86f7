"""Cells side by side log to an MLflow server on PostgreSQL and S3; server and database die, and nothing is lost."""

from pathlib import Path

import pytest
from chaos_processes import Processes, TrackingServer
from commands import Command, in_training

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.study import build_study
from xling.track.mlflow import connect
from xling.train.metrics import stored_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS = 200
SWEEP = f"""
name: small
storage: {{storage}}
tracking: {{{{uri: "{{server}}"}}}}
data:
  train: {{{{dataset: geo, languages: [de, en]}}}}
  evaluate: [{{{{dataset: geo, languages: [de, en]}}}}]
model: {{{{preset: tiny, max_query_tokens: 48, max_passage_tokens: 48}}}}
train: {{{{batch_size: 32, budget: {{{{steps: {STEPS}}}}}, checkpoint_every: 50, report_every: 2, lr: 4e-3}}}}
retries: 0
grid:
  - mix.monolingual: [0, 1]
"""


def test_a_database_and_a_server_that_die_under_concurrent_cells_lose_nothing(tmp_path, postgres, object_store):
    object_store.make_bucket("mlflow")
    with Processes() as processes:
        server = TrackingServer(processes, tmp_path / "mlflow", postgres.uri, "s3://mlflow/artifacts")
        server.wait()
        file = tmp_path / "small.yaml"
        file.write_text(SWEEP.format(storage=tmp_path / "runs", server=server.uri))
        loaded = load_sweep(file)
        study, root = build_study(loaded.cells), Storage(loaded.config.storage)

        sweep = Command("sweep", str(file), "--json")
        waiting = {job.id for job in study.cells}

        def all_train(event: dict) -> bool:
            if in_training(20)(event):
                waiting.discard(event["job"])
            return not waiting

        sweep.wait_for(all_train)
        assert server.kill() is not None
        postgres.crash_and_restart()
        sweep.wait_for(in_training(100))  # nobody waits for it
        server.start()
        assert sweep.finish() == 0, sweep.tail()
        server.wait()
        # A busy machine may start it only after the sweep's end, which waits for nobody.
        sync = Command("track", "sync", "--storage", str(tmp_path / "runs"))
        assert sync.finish() == 0, sync.tail()

        client = connect(server.uri)
        experiment = client.get_experiment_by_name("small")
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        assert runs.keys() == {"small", "tiny/start", *(job.label for job in study.cells)}
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        for job in study.cells:
            run = runs[job.label]
            written = {record["step"]: record for record in stored_steps(folder_of(root, job).storage)}
            assert sorted(written) == list(range(STEPS))
            for metric in ("loss", "lr", "grad_norm"):
                points = client.get_metric_history(run.info.run_id, f"train/{metric}")
                assert sorted(point.step for point in points) == list(range(STEPS))
                assert all(point.value == pytest.approx(written[point.step][metric]) for point in points)
                assert all(point.timestamp == written[point.step]["time_ms"] for point in points)
            assert "eval/geo/mAP/pair/de-en" in run.data.metrics
            scored = client.download_artifacts(run.info.run_id, "eval/geo/per_query.parquet", str(tmp_path))
            (evaluation,) = job.evaluations
            kept = folder_of(root, job).storage.read(f"eval/{evaluation.id}/per_query.parquet")
            assert Path(scored).read_bytes() == kept
        (stored,) = [path for path in client.list_artifacts(runs["small"].info.run_id) if path.path == "report"]
        assert stored.is_dir
        assert any("PUT /mlflow/artifacts/" in request for request in object_store.requests)


def folder_of(root: Storage, job) -> CellFolder:
    return CellFolder(root.child(job.folder("small")))
