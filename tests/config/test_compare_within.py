"""Which cells early stopping may compare, and what it refuses."""

import re
from pathlib import Path

import pytest

from xling.config import dotted
from xling.config.dotted import known_paths
from xling.config.early_stopping import is_tuning
from xling.config.schema import CellConfig, SweepConfig

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY = """
- model.preset: [tiny, mini]
- mix.monolingual: [0, 1]
"""
TUNED = STUDY + "- train.lr: [1e-3, 1e-4, 1e-5]\n"


@pytest.fixture
def load(sweeps):
    def load(section: str, grid: str = TUNED, *overrides: str):
        return sweeps.load(sweeps.with_grid(grid) + f"early_stopping: {section}\n", *overrides)

    return load


@pytest.fixture
def refused(sweeps):
    def refused(section: str, grid: str = TUNED, *overrides: str) -> list[str]:
        return sweeps.problems(sweeps.with_grid(grid) + f"early_stopping: {section}\n", *overrides)

    return refused


def test_the_tuning_fields_are_those_marked_in_the_schema():
    tuning = {path for path in known_paths(CellConfig) if is_tuning(dotted.split(path))}
    names = ("lr", "betas", "weight_decay", "warmup", "decay", "clip", "temperature")
    assert tuning == {f"train.{name}" for name in names}
    assert is_tuning(("train", "betas", 0))


def test_there_is_none_by_default(sweeps):
    loaded = sweeps.load(sweeps.with_grid(TUNED))
    assert loaded.config.early_stopping is None
    assert {cell.tuned for cell in loaded.cells} == {()}


def test_the_defaults(load):
    config = load("{}").config.early_stopping
    assert (config.milestones, config.reduction_factor, config.compare_within) == ((0.25, 0.5), 3, None)


@pytest.mark.parametrize(
    ("grid", "tuned"),
    [
        (TUNED, ("train.lr",)),
        (TUNED + "- train.clip: [null, 1]\n  train.warmup: [0, 0.1]", ("train.lr", "train.clip", "train.warmup")),
        (TUNED + "- train.batch_size: [32, 64]\n  train.temperature: [0.01, 0.05]", ("train.lr",)),
        ("- train.betas: [[0.9, 0.98], [0.9, 0.999]]", ("train.betas",)),
    ],
)
def test_entries_of_tuning_fields_alone_are_what_may_differ(load, grid, tuned):
    assert {cell.tuned for cell in load("{}", grid).cells} == {tuned}


def test_what_may_differ_can_be_narrowed_and_widened(load):
    grid = TUNED + "- train.temperature: [0.01, 0.05]\n- train.batch_size: [32, 64]"
    within = "[model.preset, mix.monolingual, train.temperature]"
    cells = load(f"{{compare_within: {within}}}", grid).cells
    assert {cell.tuned for cell in cells} == {("train.lr", "train.batch_size")}


def test_naming_one_linked_path_names_the_entry(load):
    grid = "- model.preset: [tiny, mini]\n  train.batch_size: [32, 64]\n- train.lr: [1e-3, 1e-4]"
    cells = load("{compare_within: [train.batch_size]}", grid).cells
    assert {cell.tuned for cell in cells} == {("train.lr",)}


@pytest.mark.parametrize(
    "grid", [STUDY, STUDY + "- train.lr: [1e-3]", "- model.preset: [tiny, mini]\n  train.lr: [1e-3, 2e-3]"]
)
def test_a_study_without_tuning_is_refused(refused, grid):
    (problem,) = refused("{}", grid)
    lines = len(grid.strip().splitlines())
    assert problem.startswith(f"s.yaml:{6 + lines}: early_stopping has no two cells to compare")
    assert "differ in model.preset, " in problem
    assert "the very cells that the study compares; sweep a tuning field such as train.lr in an entry of its" in problem


def test_no_grid_at_all_is_refused(sweeps):
    (problem,) = sweeps.problems(sweeps.base + "early_stopping: {}")
    assert "the cells of this sweep do not differ, there is no grid; sweep a tuning field" in problem


def test_a_path_that_is_not_in_the_grid_is_refused(refused):
    (problem,) = refused("\n  reduction_factor: 2\n  compare_within:\n  - model.preset\n  - mix.monolingual\n  - seed")
    assert problem == (
        "s.yaml:14: early_stopping.compare_within.2 is 'seed', must be a path of the grid: "
        "model.preset, mix.monolingual, train.lr"
    )


@pytest.mark.parametrize(
    ("axis", "why"),
    [
        ("model.preset: [tiny, mini]", "the size is what the study compares"),
        ("mix: [{monolingual: 0.1}, {monolingual: 0.2}]", "the mix is what the study compares"),
        ("mix.sampling_temperature: [1, 2]\n  train.clip: [1, 2]", "the mix is what the study compares"),
        ("data.train.languages: [[de, en], [de, es]]", "other data make another dev measure"),
        ("train.budget: [{steps: 10}, {steps: 20}]", "cells of other budgets have made other numbers of steps"),
        ("train: [{lr: 1}, {lr: 2}]", "cells of other budgets have made other numbers of steps"),
        ("train.dev_measure: [mAP, loss]", "a loss cannot be held against an mAP"),
        ("train.dev_pool: [64, 128]", "a loss over another pool is another measure"),
        ("seed: [0, 1]", "stopping all seeds but the best would pick the lucky ones"),
    ],
)
def test_what_must_not_be_compared_cannot_be_left_out(refused, axis, why):
    more = ["train.dev_measure=loss"] if "dev_pool" in axis else []
    grid = f"- train.directions: [one-way, two-way]\n- {axis}"
    (problem,) = refused("{compare_within: [train.directions]}", grid, *more)
    named = [part.split(":")[0].strip() for part in axis.split("\n")]
    assert f"early_stopping.compare_within leaves out {', '.join(named)}: {why}; add {named[0]}, or remove" in problem


def test_losses_at_two_temperatures_are_not_compared(load, refused):
    grid = STUDY + "- train.temperature: [0.05, 0.1]\n- train.lr: [1e-3, 1e-4]"
    (problem,) = refused("{}", grid, "train.dev_measure=loss")
    assert "compares cells of several train.temperature by train.dev_measure 'loss', which is computed at" in problem
    assert load("{}", grid).cells, "mAP has no temperature"
    within = "{compare_within: [model.preset, mix.monolingual, train.temperature]}"
    assert {cell.tuned for cell in load(within, grid, "train.dev_measure=loss").cells} == {("train.lr",)}


def test_naming_all_axes_leaves_nothing_to_compare(refused):
    (problem,) = refused("{compare_within: [model.preset, mix.monolingual, train.lr]}")
    assert "compare_within names all that the grid varies; take out a tuning field" in problem


def test_everything_wrong_is_told_at_once(refused):
    problems = refused(
        "{milestones: [0.5, 0.25], reduction_factor: 1, halving: true}", STUDY + "- train.lrr: [1, 2]\n- seed: [-1]"
    )
    text = "\n".join(problems)
    assert "early_stopping.milestones is [0.5, 0.25], must be one or more rising shares, as in [0.25, 0.5]" in text
    assert "early_stopping.reduction_factor is 1, must be at least 2" in text
    assert "early_stopping.halving is not a known setting" in text
    assert "train.lrr is not a known setting; did you mean train.lr?" in text
    assert "seed is -1, must be within 0.." in text
    assert len(problems) == 5


def test_it_is_refused_beside_what_is_wrong_elsewhere(refused):
    problems = refused("{}", STUDY + "- seed: [-1]")
    assert len(problems) == 2
    assert "early_stopping has no two cells to compare" in problems[1]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("[]", "is [], must be one or more rising shares"),
        ("[0.5, 0.5]", "is [0.5, 0.5], must be one or more rising shares"),
        ("[0.5, 1]", "is 1, must be above 0 and below 1"),
        ("[0]", "is 0, must be above 0 and below 1"),
        ("0.5", "is 0.5, must be a list; write [0.5]"),
    ],
)
def test_milestones_are_rising_shares(refused, given, rule):
    (problem,) = refused(f"{{milestones: {given}}}")
    assert rule in problem


def test_it_is_for_the_whole_sweep(refused):
    problems = refused("{}", TUNED + "- early_stopping.reduction_factor: [2, 3]")
    assert any("early_stopping.reduction_factor cannot be swept, it is one for the whole sweep" in p for p in problems)
    assert "early_stopping" in SweepConfig.model_fields
    assert "early_stopping" not in CellConfig.model_fields


def test_it_can_be_set_and_unset_on_the_command_line(load):
    assert load("{}", STUDY, "early_stopping=null").config.early_stopping is None
    assert load("{}", TUNED, "early_stopping.reduction_factor=4").config.early_stopping.reduction_factor == 4


def test_the_readmes_example_is_a_sweep_that_compares_four_rates(sweeps):
    (text,) = re.findall(r"```yaml\n(grid:.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert "early_stopping:" in text
    cells = sweeps.load("name: small\ndata: {train: {dataset: geo}}\n" + text).cells
    assert len(cells) == 36
    assert {cell.tuned for cell in cells} == {("train.lr",)}
