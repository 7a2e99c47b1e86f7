"""A sweep over batch sizes with a target, from cells on storage."""

import csv
import io

import pytest
from rich.console import Console
from small_sweeps import cell_folder, finish, load

from xling.sweep.outcome.batch_study import BatchStudy
from xling.sweep.outcome.gather import collect, gather
from xling.sweep.outcome.results import show_results, write_tables

TARGET = ("train.dev_measure=loss", "train.target_dev=1")
EVERY_2 = "train.dev_every=2"
GRID = (
    "grid=[{model.preset: [tiny, mini]}, {mix.monolingual: [0, 1]}, "
    "{train.batch_size: [8, 16, 24], train.lr: [1e-3, 2e-3, 3e-3], train.dev_every: [4, 2, 1]}, {seed: [0, 1]}]"
)
FILES = ["critical-batch.csv", "critical-batch.md", "steps-to-target.png"]


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)


def reach(root, job, steps, *, made=400):
    """A finished cell that got to its target after some steps, or did not."""
    finish(root, job)
    about = {"step": steps or made, "total_steps": 400, "dev": 0.9, "parameters": 7, "steps_to_target": steps}
    cell_folder(root, job).storage.write_json("model/trained.json", about)


def steps_of(job):
    """A law with Bc of 60, alpha 0 twice as fast, one more step for the second seed."""
    batch = job.config.train.batch_size
    return round(40 * (1 + 60 / batch) * (1 + job.alpha)) + job.config.seed


def test_curves_go_by_size_and_alpha_with_what_is_linked_to_the_batch_left_out(tmp_path, console):
    loaded, study, root = load(tmp_path, *TARGET, GRID)
    for job in study.cells[:-1]:
        reach(root, job, steps_of(job))
    batches = BatchStudy(root, "small", study.cells)
    assert {(run.size, run.alpha) for run in batches.runs} == {(s, a) for s in ("tiny", "mini") for a in (0.0, 1.0)}
    assert {run.setting for run in batches.runs} == {""}
    assert batches.missing == [study.cells[-1].label]
    show_results(loaded, console, as_json=False)
    text = console.file.getvalue()
    assert max(map(len, text[: text.index("Files:")].splitlines())) <= 80
    assert "steps until dev loss reached its target" in text
    assert "critical batch size" in text
    assert f"Not trained, and left out: {study.cells[-1].label}." in " ".join(text.split())
    assert set(FILES) <= set(root.list("small"))
    rows = list(csv.DictReader(io.StringIO(root.read("small/critical-batch.csv").decode())))
    assert [row["label"] for row in rows] == [job.label for job in study.cells[:-1]]
    assert rows[0]["steps"] == str(steps_of(study.cells[0]))
    assert root.read("small/steps-to-target.png").startswith(b"\x89PNG")


def test_a_launch_writes_them_too(tmp_path):
    loaded, study, root = load(tmp_path, *TARGET, GRID)
    for job in study.cells:
        reach(root, job, steps_of(job) if job.config.train.batch_size > 8 else None)
    assert write_tables(gather(root, loaded, study))[-3:] == [
        "small/critical-batch.md",
        "small/critical-batch.csv",
        "small/steps-to-target.png",
    ]
    text = root.read("small/critical-batch.md").decode()
    assert ">400 (0/2)" in text
    assert (
        "Not reached by every seed, and in no estimate: batch sizes of tiny at alpha 0: 8; tiny at alpha 1: 8" in text
    )


def test_tuned_fields_are_settings_and_others_names(tmp_path):
    grid = (
        "grid=[{train.batch_size: [8, 16], train.budget.steps: [40, 20]}, {train.lr: [1e-3, 2e-3]}, "
        "{train.directions: [one-way, two-way]}, {model.preset: [tiny]}]"
    )
    _, study, root = load(tmp_path, *TARGET, EVERY_2, grid)
    for job in study.cells:
        reach(root, job, 100 if job.config.train.lr == 1e-3 else 50)
    batches = BatchStudy(root, "small", study.cells)
    assert {run.size for run in batches.runs} == {"tiny directions one-way", "tiny directions two-way"}
    assert {run.setting for run in batches.runs} == {"lr 0.001", "lr 0.002"}
    assert batches.grids[0][1][1] == [
        ["tiny directions one-way", "0.5", "1", "50", "50"],
        ["tiny directions two-way", "0.5", "1", "50", "50"],
    ]


@pytest.mark.parametrize("overrides", [[], [*TARGET, EVERY_2], [GRID]])
def test_without_targets_or_two_batch_sizes_there_is_none(tmp_path, overrides):
    loaded, study, root = load(tmp_path, *overrides)
    for job in study.scored:
        finish(root, job)
        about = {"step": 12, "total_steps": 12, "dev": 0.5, "parameters": 7, "steps_to_target": 4}
        cell_folder(root, job).storage.write_json("model/trained.json", about)
    assert not BatchStudy(root, "small", study.cells)
    write_tables(gather(root, loaded, study))
    assert not set(FILES) & set(root.list("small"))


def test_tables_name_the_loss_and_the_lowest_is_quoted(tmp_path):
    loaded, study, root = load(tmp_path, *TARGET, GRID)
    for number, job in enumerate(study.cells):
        reach(root, job, 10)
        about = {"step": 10, "total_steps": 400, "dev": 5.0 - number / 10, "parameters": 7, "steps_to_target": 10}
        cell_folder(root, job).storage.write_json("model/trained.json", about)
    assert {row.measure.name for row in collect(root, "small", study.cells)} == {"loss"}
    write_tables(gather(root, loaded, study))
    text = root.read("small/tables-parallel-jsonl.md").decode()
    assert "| dev loss |" in text
    assert f"mAP of {study.cells[-1].label}, the best on dev" in text
