"""A sweep whose storage is a bucket: killed in the middle, resumed, and nothing is different."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from away_store import AwayStore
from commands import (
    Command,
    assert_one_run_a_cell,
    in_training,
    ray_processes,
    reference_weights,
    wait_until_gone,
)
from object_store import ObjectStore

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.study import build_study
from xling.track.store import connect
from xling.train.attempts import accepted_checkpoints
from xling.train.checkpoint import tensors_from_bytes
from xling.train.metrics import stored_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS, INTERVAL = 160, 20
SWEEP = f"""
name: small
storage: {{storage}}
tracking: {{{{uri: "sqlite:///{{database}}"}}}}
data:
  train: {{{{dataset: geo, languages: [de, en]}}}}
  evaluate: [{{{{dataset: geo, languages: [de, en]}}}}]
model: {{{{preset: tiny, dropout: 0.1, max_query_tokens: 48, max_passage_tokens: 48}}}}
train: {{{{batch_size: 32, budget: {{{{steps: {STEPS}}}}}, checkpoint_every: {INTERVAL}, report_every: 5, lr: 4e-3}}}}
retries: 0
grid:
  - mix.monolingual: [0.5]
"""


def test_a_sweep_on_an_object_store_is_killed_and_resumed_to_the_same_weights(
    tmp_path: Path, s3_url: str, object_store: ObjectStore
) -> None:
    file, database = tmp_path / "small.yaml", tmp_path / "runs" / "mlflow.db"
    database.parent.mkdir()
    file.write_text(SWEEP.format(storage=s3_url, database=database))
    before = ray_processes()
    root = Storage(s3_url)
    study = build_study(load_sweep(file).cells)
    (job,) = study.cells
    cell = CellFolder(root.child(job.folder("small")))

    killed = Command("sweep", str(file), "--json", folder=tmp_path)
    killed.wait_for(in_training(INTERVAL + 1))
    object_store.is_away = True  # workers outlive the sweep by seconds, in which a fast machine has trained all
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    wait_until_gone(ray_processes() - before)
    object_store.is_away = False
    saved = max(int(name[5:13]) for name in accepted_checkpoints(cell.storage))

    resumed = Command("resume", "small", "--storage", s3_url, "--json", folder=tmp_path)
    assert resumed.wait_for(in_training(0))["step"] >= saved >= INTERVAL
    assert resumed.finish() == 0, resumed.tail()

    assert cell.is_done([evaluation.id for evaluation in job.evaluations])
    assert [record["step"] for record in stored_steps(cell.storage)] == list(range(STEPS))
    assert cell.storage.list("checkpoints") == []
    assert_one_run_a_cell(tmp_path, job.label, STEPS)
    expected = reference_weights(root, file, job.label)
    trained = tensors_from_bytes(cell.storage.read("model/model.safetensors"))
    assert all(torch.equal(expected[name], trained[name]) for name in expected)


def test_a_bucket_keeps_what_mlflow_missed_of_a_whole_sweep(tmp_path: Path, s3_url: str, away: AwayStore) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SWEEP.format(storage=s3_url, database=away.uri.removeprefix("sqlite:///")))
    few = ("--set", "train.budget.steps=4", "--set", "grid=[{mix.monolingual: [0]}]")
    swept = Command("sweep", str(file), *few, "--json", folder=tmp_path)
    assert swept.finish() == 0, swept.tail()
    command = f"xling track sync --storage {s3_url}"
    assert f"MLflow: 3 runs are not complete yet; send the rest with: {command}" in swept.tail()
    assert not (tmp_path / "runs").exists()

    away.come()
    synced = Command(*command.split()[1:], folder=tmp_path)
    assert synced.finish() == 0, synced.tail()
    assert synced.lines[-1] == "3 of 3 runs are complete in MLflow.\n"
    runs = away.runs("small")
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs.values()} == {None, runs["small"].info.run_id}
    client = connect(away.uri)
    (cell,) = (run for run in runs.values() if run.data.tags.get("xling.kind") == "cell")
    assert [point.step for point in client.get_metric_history(cell.info.run_id, "train/loss")] == list(range(4))
    assert {"eval", "model", "plots", "tables"} <= {one.path for one in client.list_artifacts(cell.info.run_id)}
    assert client.list_artifacts(runs["small"].info.run_id)
    again = Command(*command.split()[1:], folder=tmp_path)
    assert (again.finish(), again.lines[-1]) == (0, "No run has anything left to send.\n")
