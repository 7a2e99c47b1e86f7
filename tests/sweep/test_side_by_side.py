"""Two sweeps at once on one cluster and one tracking store; a model that raises fails alone, after its retries."""

import json
import tempfile
from pathlib import Path

import pytest
from chaos_processes import Cluster, Processes
from commands import Command
from mlflow import MlflowClient

from xling.config.load import load_sweep
from xling.config.schema import DatasetConfig, ModelConfig
from xling.data import registry
from xling.model.source import load_start, save_folder
from xling.model.tokenizer import tokenizer_folder
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.jobs import Job
from xling.sweep.study import build_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS, RETRIES = 60, 1
SWEEP = f"""
name: {{name}}
storage: {{folder}}/runs
data:
  train: {{{{dataset: geo, languages: [de, en]}}}}
  evaluate: [{{{{dataset: geo, languages: [de, en]}}}}]
model: {{{{max_query_tokens: 32, max_passage_tokens: 32, trust_remote_code: true}}}}
train: {{{{batch_size: 32, budget: {{{{steps: {STEPS}}}}}, lr: 1e-3, checkpoint_every: 20, report_every: 5}}}}
resources: {{{{max_concurrent: 1}}}}
retries: {RETRIES}
grid:
  - model.path: [{{models}}]
"""


BROKEN = """
from transformers import BertModel

class Broken(BertModel):
    def forward(self, *args, **options):
        raise RuntimeError("the model's own code is broken")
"""


def write_models(folder: Path) -> tuple[Path, Path]:
    """A model folder, and a copy that loads and then raises: its own code, which is not tried before it trains."""
    data = DatasetConfig(dataset="geo", languages=("de", "en"))
    training = registry.get("geo").load_training(data)
    with tokenizer_folder(Storage(str(folder / "scratch")), training) as tokenizer:
        limits = {"max_query_tokens": 32, "max_passage_tokens": 32}
        start = load_start(ModelConfig(preset="tiny", **limits), 0, tokenizer)
    good, bad = folder / "good", folder / "bad"
    save_folder(good, start)
    save_folder(bad, start)
    (bad / "modeling_broken.py").write_text(BROKEN)
    config = json.loads((bad / "config.json").read_text())
    (bad / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "modeling_broken.Broken"}}))
    return good, bad


def write_sweep(folder: Path, name: str, *models: Path) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name, folder=folder, models=", ".join(map(str, models))))
    return file


def test_two_sweeps_at_once_share_a_store_and_a_failing_model_fails_alone(tmp_path):
    good, bad = write_models(tmp_path)
    files = {"one": write_sweep(tmp_path, "one", bad, good), "two": write_sweep(tmp_path, "two", good)}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short, Processes() as processes:
        cluster = Cluster(processes, Path(short) / "ray", nodes=2)
        commands = {
            name: Command("sweep", str(file), "--address", cluster.address, "--json", **cluster.environment)
            for name, file in files.items()
        }
        said = {}
        for name, command in commands.items():
            assert command.finish() == (1 if name == "one" else 0), command.tail()
            said[name] = json.loads(next(line for line in command.lines if '"event": "results"' in line))

    reasons = said["one"]["failures"]
    assert reasons.keys() == {"bad", "bad/start"}
    assert all(reason == "RuntimeError: the model's own code is broken" for reason in reasons.values())
    failed = next(job for job in jobs(files["one"]) if job.config.model.path == str(bad))
    attempts = CellFolder(Storage(str(tmp_path / "runs")).child(failed.folder("one"))).attempts()
    assert [attempt["end"]["infra"] for attempt in attempts] == [False] * (1 + RETRIES)
    assert sorted(said["one"]["states"].values()) == ["done", "done", "failed", "failed"]  # starts and cells
    assert set(said["two"]["states"].values()) == {"done"}
    for name, file in files.items():
        done = [job.label for job in jobs(file) if said[name]["states"][job.label] == "done"]
        assert {label: steps_in_mlflow(tmp_path, name, label) for label in done} == {
            label: list(range(STEPS)) for label in done
        }


def jobs(file: Path) -> tuple[Job, ...]:
    return build_study(load_sweep(file).cells).cells


def steps_in_mlflow(folder: Path, experiment: str, label: str) -> list[int]:
    """Steps of the one run that has this name."""
    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([found.experiment_id], f"attributes.run_name = '{label}'")
    assert run.info.status == "FINISHED"
    return sorted(point.step for point in client.get_metric_history(run.info.run_id, "train/loss"))
