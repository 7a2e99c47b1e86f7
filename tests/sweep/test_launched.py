"""A sweep's jobs as storage tells them, held against those that its data gives."""

from dataclasses import replace

import pytest
from small_sweeps import end_as, load, prepare_cells, write_rows

from xling.config.load import load_sweep
from xling.sweep.cells import Outcome
from xling.sweep.launched import in_grid_order, launched_study, not_launched
from xling.sweep.study import build_study

GROWN = "grid=[{model.preset: [tiny, mini]}, {mix.monolingual: [0, 0.5, 1]}, {seed: [0, 1]}]"


@pytest.fixture
def prepared(tmp_path):
    loaded, study, root = load(tmp_path)
    prepare_cells(root, study)
    return loaded, study, root


def told(jobs):
    return [(job.id, job.label, job.size, job.variant, job.axes, job.evaluations) for job in jobs]


def test_they_are_those_that_the_data_gives(prepared):
    loaded, study, root = prepared
    found = launched_study(root, loaded)
    assert found.cells == study.cells
    assert told(found.baselines) == told(study.baselines)
    assert not_launched(loaded, found) == []
    assert in_grid_order(loaded, reversed(found.scored)) == [*found.scored]


def test_a_warm_start_is_among_them(tmp_path):
    loaded, study, root = load(
        tmp_path, "data.train={dataset: geo, languages: [de, en]}", "data.evaluate=[]", "model.warm_start={steps: 2}"
    )
    prepare_cells(root, study)
    assert {job.id for job in launched_study(root, loaded).warm} == {job.id for job in study.warm}
    assert len(study.warm) == 2


def test_a_cell_is_found_under_its_new_label_when_the_grid_has_grown(prepared):
    loaded, _, root = prepared
    grown = load_sweep(loaded.source, [GROWN])
    study, found = build_study(grown.cells), launched_study(root, grown)
    assert told(found.cells) == told(job for job in study.cells if job.config.seed == 0)
    assert told(found.baselines) == told(study.baselines)
    assert [job.label for job in not_launched(grown, found)] == [job.label for job in study.cells if job.config.seed]


def test_a_cell_of_another_configuration_is_not_taken_for_it(prepared):
    loaded, study, root = prepared
    changed = load_sweep(loaded.source, ["train.lr=1e-3"])
    assert launched_study(root, changed).scored == ()
    new = not_launched(changed, launched_study(root, changed))
    assert {job.label for job in new} == {job.label for job in study.scored}
    assert {job.id for job in new} == {""}


def test_the_data_may_lie_elsewhere_and_of_other_data_the_cell_begun_last_counts(prepared, tmp_path):
    loaded, study, root = prepared
    moved = load_sweep(loaded.source, ["data.train.path=/elsewhere/rows.jsonl"])
    assert [job.id for job in launched_study(root, moved).cells] == [job.id for job in study.cells]

    write_rows(tmp_path / "rows.jsonl", titles=tuple("ABCDEFGHIJK"))
    other = build_study(loaded.cells)
    prepare_cells(root, replace(other, cells=other.cells[:1], baselines=()))
    end_as(root, study.cells[0], Outcome.INTERRUPTED)
    assert launched_study(root, loaded).cells[0].id == study.cells[0].id
    end_as(root, other.cells[0], Outcome.INTERRUPTED)
    assert launched_study(root, loaded).cells[0].id == other.cells[0].id != study.cells[0].id
