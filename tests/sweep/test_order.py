"""Longest first: by FLOPs, by what was measured, warm starts before what waits for them."""

from dataclasses import replace

import pytest
from small_sweeps import load

from xling.sweep.cells import CellState
from xling.sweep.order import expected_seconds, in_order, longest_first, work_of
from xling.sweep.remaining import Remaining, Stand


def stand(job, step=0, total=None):
    return Stand(job, None, CellState.NEW, (), step, total)


def test_a_new_sweep_starts_with_its_largest_models(tmp_path):
    _, study, root = load(tmp_path)
    jobs = in_order(root, "small", study.scored, study)
    assert [job.size for job in jobs[:6]] == ["mini"] * 3 + ["tiny"] * 3
    assert [job.label for job in jobs[:3]] == ["mini/a0", "mini/a0.5", "mini/a1"]  # equally long ones as they were
    assert [job.kind for job in jobs[6:]] == ["baseline"] * 2


def test_work_goes_by_the_budget_and_what_is_computed_on(tmp_path):
    def work(*overrides):
        return work_of(load(tmp_path, "model.preset=tiny", "grid=[{'seed': [0]}]", *overrides)[1].cells[0])

    base = work()
    assert base > 0
    assert work("train.budget.steps=24") == 2 * base
    assert work("train.budget={examples: 96}") == base
    assert work("train.budget={flops: 1e12}") == 1e12
    assert work("train.budget={flops: 1e12}", "resources={workers: 4}") == 1e12 / 4
    assert work("train.budget={flops: 1e12}", "resources={gpus_per_worker: 0.25}") == 4e12


def test_measured_kinds_give_the_measure_for_the_others(tmp_path):
    _, study, _ = load(tmp_path)
    tiny, mini = study.cells[0], study.cells[3]
    found = expected_seconds([stand(tiny), stand(mini)], Remaining({tiny.id: 50.0}, (mini,), 0))
    assert found[tiny.id] == 50
    assert found[mini.id] == pytest.approx(50 * work_of(mini) / work_of(tiny))
    half = expected_seconds([stand(tiny), stand(mini, 6, 12)], Remaining({tiny.id: 50.0}, (mini,), 0))
    assert half[mini.id] == found[mini.id] / 2


def test_a_warm_start_counts_with_the_longest_of_what_waits_for_it(tmp_path):
    _, study, _ = load(tmp_path)
    tiny, mini = study.cells[:3], [replace(job, warm="w") for job in study.cells[3:]]
    warm = replace(mini[0], kind="warm", id="w", label="mini/warm")
    seconds = {job.id: 5.0 for job in tiny} | {job.id: 4.5 for job in mini} | {"w": 1.0}
    jobs = longest_first([*tiny, *mini, warm], seconds)
    assert [job.label for job in jobs] == ["mini/warm", *(job.label for job in tiny), *(job.label for job in mini)]
