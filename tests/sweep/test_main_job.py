"""The command line on a real Ray cluster of this machine: interrupted, resumed, extended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import (
    Command,
    assert_one_run_a_cell,
    in_training,
    newest_checkpoint,
    ray_processes,
    reference_weights,
    wait_until_gone,
)

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.study import build_study
from xling.train.checkpoint import tensors_from_bytes
from xling.train.metrics import stored_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

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


def test_interrupted_and_resumed_to_the_same_weights(tmp_path):
    file = write_sweep(tmp_path, rate="1e30")  # the second cell diverges: it fails, the first goes on
    before = ray_processes()

    first = Command("sweep", str(file), "--json")
    first.wait_for(in_training(30))
    first.interrupt()
    assert first.finish() == 130
    wait_until_gone(ray_processes() - before)
    study = build_study(load_sweep(file).cells)
    good, bad = study.cells
    root = Storage(str(tmp_path / "runs"))
    cell = CellFolder(root.child(good.folder("small")))
    (attempt,) = cell.attempts()
    assert attempt["end"]["outcome"] == "interrupted"
    assert newest_checkpoint(cell) == attempt["end"]["step"] >= 30  # the step that was running is kept

    resumed = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    seen = [event for event in resumed.events() if event.get("job") == good.id and event.get("phase") == "training"]
    assert resumed.process.wait() == 1  # one cell failed, the others are done
    assert min((event["step"] for event in seen), default=STEPS) >= attempt["end"]["step"]
    steps = stored_steps(cell.storage)
    assert [record["step"] for record in steps] == list(range(STEPS))
    assert cell.is_done([evaluation.id for evaluation in good.evaluations])

    wrong = CellFolder(root.child(bad.folder("small"))).attempts()[-1]["end"]
    assert "must be finite" in wrong["message"]
    said = json.loads(resumed.lines[-1])
    assert said["states"] == {"tiny/start": "done", good.label: "done", bad.label: "failed"}

    expected = reference_weights(root, file, good.label)
    trained = tensors_from_bytes(cell.storage.read("model/model.safetensors"))
    assert all(torch.equal(expected[name], trained[name]) for name in expected)

    assert_one_run_a_cell(tmp_path, good.label, STEPS)


def test_workers_and_grid_can_grow_in_folders_with_spaces(tmp_path):
    python = interpreter_with_a_space(tmp_path)
    tmp_path = tmp_path / "my sweeps"
    tmp_path.mkdir()
    file = write_sweep(tmp_path)
    short = ["--set", "train.budget={steps: 40}", "--json"]
    one = Command(
        "train", str(file), "--set", "grid=[]", "--set", "train.lr=4e-3", "--set", "resources.workers=2", *short
    )
    assert one.finish() == 0, one.tail()

    two = Command("sweep", str(file), *short, python=python)
    assert two.finish() == 0, two.tail()

    # the same again: nothing to do, at once, without a cluster
    again = Command("sweep", str(file), *short, python=python, RAY_ADDRESS="127.0.0.1:1")  # where none is
    assert again.finish() == 0, again.tail()
    assert not any('"progress"' in line for line in again.lines)

    study = build_study(load_sweep(file, short[1:2]).cells)
    root = Storage(str(tmp_path / "runs"))
    model = root.locate(f"{study.cells[0].folder('small')}/model")
    assert Path(model, "modules.json").is_file()

    # the report lies beside the sweep and with the parent run, and its numbers are those of the queries
    assert "index.html" in root.list("small/report")
    assert list(Path(root.locate("mlartifacts")).glob("*/*/artifacts/report/index.html"))
    report = Command("report", "small", "--storage", root.url, "--verify", "--json")
    assert report.finish() == 0, report.tail()
    assert json.loads(report.lines[-1])["verified"]["differing"] == []
