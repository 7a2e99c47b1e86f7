"""What a sweep will take: measured steps, scaled to each job, packed onto what runs at once."""

import json

import pytest
from small_sweeps import load
from test_show_plan import planned

from xling.sweep.launching.forecast import JOB_S, SWEEP_S, forecast, total_seconds
from xling.sweep.placing.packing import Node

ONE_CORE = [Node("here", 1, 0, 8e9)]
ONE_SIZE = "grid=[{'mix.monolingual': [0, 0.5, 1]}, {'train.budget.steps': [12, 48]}]"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    loaded, study, root = load(tmp_path_factory.mktemp("forecast"), ONE_SIZE, "model.preset=tiny")
    told = []
    return loaded, study, root, forecast(root, study, ONE_CORE, told.append), told


def test_jobs_whose_steps_cost_the_same_share_a_measurement(measured):
    _, study, _, found, told = measured
    assert [text for text in told if text.startswith("Measuring")] == ["Measuring steps like those of a0.5/steps12"]
    assert found.keys() == {job.id for job in study.scored}


def test_time_grows_with_the_steps_and_baselines_only_score(measured):
    _, study, _, found, _ = measured
    short, long = (found[job.id] for job in study.cells if job.label.startswith("a0.5"))
    assert 0 < short.train_s < long.train_s
    assert short.score_s == long.score_s > 0
    (baseline,) = (found[job.id] for job in study.baselines)
    assert baseline.train_s == 0
    assert baseline.score_s == short.score_s
    assert 1e8 < short.worker_bytes < 8e9


def test_nothing_is_left_behind_that_looks_like_a_launched_sweep(measured):
    loaded, _, root, *_ = measured
    assert not root.list(loaded.config.name)
    assert root.list("tokens"), "the sweep will find its tokens there"


def test_the_longest_job_starts_first_and_each_takes_the_room_that_comes_free(measured):
    _, study, *_ = measured
    jobs = study.cells[:4]
    seconds = dict(zip((job.id for job in jobs), (10, 10, 30, 5), strict=True))
    assert total_seconds(ONE_CORE, jobs, seconds) == SWEEP_S + 55
    assert total_seconds([*ONE_CORE, Node("other", 1, 0, 8e9)], jobs, seconds) == SWEEP_S + 30
    assert total_seconds(ONE_CORE, [], {}) == SWEEP_S


def test_the_plan_shows_what_was_measured(tmp_path):
    loaded, *_ = load(tmp_path, "grid=[{'seed': [0]}]", "model.preset=tiny")
    text = planned(loaded, as_json=True, measure=True)
    cells = {cell["label"]: cell for cell in text["cells"]}
    for cell in cells.values():
        assert cell["seconds"] == pytest.approx(JOB_S + cell["train_seconds"] + cell["score_seconds"])
        assert cell["worker_bytes"] > 1e8
    assert text["expected_seconds"] == pytest.approx(
        SWEEP_S + (sum if text["at_once"] == 1 else max)(cell["seconds"] for cell in cells.values())
    )
    assert "expected_seconds" not in planned(loaded, as_json=True)
    json.dumps(text, allow_nan=False)
