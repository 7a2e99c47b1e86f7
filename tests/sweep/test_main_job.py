"""The command line on a real Ray cluster of this machine: interrupted, killed, resumed, extended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.jobs import build_study
from xling.train.checkpoint import tensors_from_bytes
from xling.train.metrics import stored_steps
from xling.train.worker import WorkerSpec, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS, INTERVAL = 240, 20
SWEEP = f"""
name: small
storage: {{storage}}
data:
  train: {{{{dataset: geo, languages: [de, en]}}}}
  evaluate: [{{{{dataset: geo, languages: [de, en]}}}}]
model: {{{{preset: tiny, dropout: 0.1, max_query_tokens: 48, max_passage_tokens: 48}}}}
train: {{{{batch_size: 64, budget: {{{{steps: {STEPS}}}}}, checkpoint_every: {INTERVAL}, report_every: 5}}}}
retries: 0
grid:
  - mix.monolingual: [0, 0.5]
    train.lr: [4e-3, {{rate}}]
"""


class Command:
    """One ``xling`` command in a process of its own; its JSON events can be followed."""

    def __init__(self, *arguments: str, python: str = sys.executable) -> None:
        self.process = subprocess.Popen(
            [python, "-m", "xling", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def events(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith('{"'):
                yield json.loads(line)

    def wait_for(self, wanted) -> dict:
        for event in self.events():
            if wanted(event):
                return event
        raise AssertionError("the command ended before that:\n" + "".join(self.lines[-30:]))

    def finish(self) -> int:
        for _ in self.events():
            pass
        return self.process.wait()


def write_sweep(folder: Path, rate: str = "2e-3") -> Path:
    file = folder / "small.yaml"
    file.write_text(SWEEP.format(storage=folder / "runs", rate=rate))
    return file


def interpreter_with_a_space(folder: Path) -> str:
    """An interpreter in a folder with a space in its name, with this one's packages."""
    home = folder / "my venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    here = [str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("-packages"))]
    (packages / "here.pth").write_text("\n".join(here))
    return str(home / "bin" / "python")


def in_training(step: int):
    return lambda event: event.get("phase") == "training" and event["step"] >= step


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 120
    while pids & ray_processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not pids & ray_processes()


def ray_processes() -> set[int]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"raylet" in command or b"gcs_server" in command or command.startswith(b"ray::"):
                found.add(int(folder.name))
    return found


def reference_weights(folder: Path, file: Path, label: str) -> dict[str, torch.Tensor]:
    """The cell trained in this process without Ray and without any disturbance."""
    study = build_study(load_sweep(file).cells)
    job = next(job for job in study.cells if job.label == label)
    root = Storage(str(folder / "runs"))
    spec = WorkerSpec(
        storage=root.url,
        folder="reference",
        stop_files=(),
        config=job.config.model_dump(mode="json"),
        training=job.training,
        texts=job.texts,
        dev=job.dev,
        weights=job.weights,
        warm=None,
        attempt=1,
        accepted=(),
    )
    threads = torch.get_num_threads()
    run(spec, rank=0, world_size=1, device=torch.device("cpu"), send=lambda message: None)
    torch.set_num_threads(threads)
    return tensors_from_bytes(root.read("reference/model/model.safetensors"))


def test_interrupted_killed_and_resumed_to_the_same_weights(tmp_path):
    file = write_sweep(tmp_path, rate="1e30")  # the second cell diverges: it fails, the first goes on
    before = ray_processes()

    first = Command("sweep", str(file), "--json")
    first.wait_for(in_training(30))
    first.process.send_signal(signal.SIGINT)
    assert first.finish() == 130
    wait_until_gone(ray_processes() - before)
    study = build_study(load_sweep(file).cells)
    good, bad = study.cells
    root = Storage(str(tmp_path / "runs"))
    cell = CellFolder(root.child(good.folder("small")))
    reached = [attempt["end"]["step"] for attempt in cell.attempts() if attempt["end"]]

    second = Command("sweep", str(file), "--json")
    second.wait_for(lambda e: in_training((reached or [0])[0] + 40)(e) and e["job"] == good.id)
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait()
    wait_until_gone(ray_processes() - before)
    killed_at = max(int(name[5:13]) for name in cell.storage.list("checkpoints"))

    third = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    seen = [event for event in third.events() if event.get("job") == good.id and event.get("phase") == "training"]
    assert third.process.wait() == 1  # one cell failed, the others are done
    assert min(event["step"] for event in seen) >= killed_at
    steps = stored_steps(cell.storage)
    assert [record["step"] for record in steps] == list(range(STEPS))
    assert cell.is_done([evaluation.id for evaluation in good.evaluations])

    wrong = CellFolder(root.child(bad.folder("small"))).attempts()[-1]["end"]
    assert "must be finite" in wrong["message"]
    said = json.loads(third.lines[-1])
    assert said["states"] == {"tiny/start": "done", good.label: "done", bad.label: "failed"}

    expected = reference_weights(tmp_path, file, good.label)
    trained = tensors_from_bytes(cell.storage.read("model/model.safetensors"))
    assert all(torch.equal(expected[name], trained[name]) for name in expected)

    assert_one_run_a_cell(tmp_path, good.label)


def assert_one_run_a_cell(folder: Path, label: str) -> None:
    """MLflow holds each step of the cell once, in one run below the sweep's."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    (child,) = [r for r in runs if r.info.run_name == label]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.status == "FINISHED"
    history = client.get_metric_history(child.info.run_id, "train/loss")
    assert sorted(point.step for point in history) == list(range(STEPS))
    assert "eval/geo/mAP/pair/de-en" in child.data.metrics


def test_workers_and_grid_can_grow_in_folders_with_spaces(tmp_path):
    python = interpreter_with_a_space(tmp_path)
    tmp_path = tmp_path / "my sweeps"
    tmp_path.mkdir()
    file = write_sweep(tmp_path)
    short = ["--set", "train.budget={steps: 40}", "--json"]
    one = Command(
        "train", str(file), "--set", "grid=[]", "--set", "train.lr=4e-3", "--set", "resources.workers=2", *short
    )
    assert one.finish() == 0, "".join(one.lines[-30:])

    two = Command("sweep", str(file), *short, python=python)
    assert two.finish() == 0, "".join(two.lines[-30:])

    # the same again: nothing to do, at once, without a cluster
    started = time.monotonic()
    again = Command("sweep", str(file), *short, python=python)
    assert again.finish() == 0
    assert time.monotonic() - started < 60  # ten seconds on an idle machine; the bound here only catches training
    assert not any('"progress"' in line for line in again.lines)

    study = build_study(load_sweep(file, short[1:2]).cells)
    root = Storage(str(tmp_path / "runs"))
    label = study.cells[0].label
    model = root.locate(f"{study.cells[0].folder('small')}/model")
    assert Path(model, "modules.json").is_file()

    out, runs = tmp_path / "out", tmp_path / "trec"
    scored = Command(
        "evaluate", f"small/{label}", "--dataset", "geo", "--languages", "de,en", "--storage", str(tmp_path / "runs"),
        "--out", str(out), "--run-files", str(runs), "--json",
    )  # fmt: skip
    assert scored.finish() == 0, "".join(scored.lines[-30:])
    evaluation = study.cells[0].evaluations[0]
    kept = root.read_json(f"{study.cells[0].folder('small')}/eval/{evaluation.id}/summary.json")
    assert json.loads((out / "summary.json").read_text())["headline"] == kept["headline"]
    assert {path.name for path in runs.iterdir()} >= {"de-en.run.gz", "en-de.run.gz", "de-pool.run.gz"}
