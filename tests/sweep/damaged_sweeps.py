"""A small sweep whose files are to be damaged, and commands run on it in this process."""

import shutil
import sys

import pytest
from small_models import tiny_model
from small_sweeps import cell_folder, end_as, finish, load, prepare_cells

from xling import cli
from xling.model.source import save_folder
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.remembered import remember
from xling.train.metrics import write_segment

SEGMENT = "metrics/00000000-00000001-a0001.jsonl"
COMPOSITION = {
    "start": 0,
    "stop": 12,
    "batch_size": 8,
    "kinds": {"monolingual": 6, "cross_lingual": 6, "mixed_monolingual": 0},
    "asked": {"monolingual": 6.0, "cross_lingual": 6.0, "mixed_monolingual": 0.0},
    "pairs": {"de-de": {"examples": 48, "asked": 48.0}, "de-en": {"examples": 48, "asked": 48.0}},
    "repeated": 0,
    "left": 0,
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep with two done cells and an interrupted one."""
    folder = tmp_path_factory.mktemp("swept")
    loaded, study, root = load(folder)
    remember(root, loaded)
    prepare_cells(root, study)
    save_folder(folder / "encoder", tiny_model(folder))
    for job in study.cells[:2]:
        finish(root, job)
        cell = cell_folder(root, job).storage
        about = cell.read_json("model/trained.json")
        cell.upload(folder / "encoder", "model")
        cell.write_json("model/trained.json", about)
        cell.write_json("composition.json", COMPOSITION)
        cell.write_json("used.json", {"peak_bytes": 1, "device": "cpu"})
        steps = [{"step": n, "loss": 1.0, "source": "de", "time_ms": 1000 * n, "dev": 0.5} for n in range(2)]
        write_segment(cell, steps, 1)
    end_as(root, study.cells[2], Outcome.INTERRUPTED)
    return loaded, study, root


@pytest.fixture
def damaged(swept, tmp_path):
    """A copy of the sweep; its jobs and its storage."""
    _, study, root = swept
    shutil.copytree(root.url, tmp_path / "runs")
    return study, Storage(str(tmp_path / "runs"))


def told(monkeypatch, capsys, *arguments):
    """Exit status and what was printed; an exception, which would be a traceback, ends the test."""
    monkeypatch.setattr(sys, "argv", ["xling", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr()
    return left.value.code or 0, said.out, said.err
