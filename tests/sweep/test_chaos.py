"""The parts of `benchmarks/chaos.py`: whom it kills when, and what it compares."""

import math

import pytest
from chaos_outcome import Outcome, differences
from chaos_plan import KINDS, Progress, plan_kills


def test_a_plan_is_seeded_and_ends_before_the_sweep_does():
    plan = plan_kills(3, 20, 2500)
    assert plan == plan_kills(3, 20, 2500) != plan_kills(4, 20, 2500)
    assert {kind: sum(kill.kind == kind for kill in plan) for kind in KINDS} == dict.fromkeys(KINDS, 4)
    assert sum(kill.after for kill in plan) <= 2000
    assert min(kill.after for kill in plan) >= 1


@pytest.mark.parametrize("seed", range(10))
def test_start_ups_are_hit_at_most_five_times_and_only_where_one_follows(seed):
    plan = plan_kills(seed, 20, 2500)
    hit = [number for number, kill in enumerate(plan) if kill.at_start]
    assert 0 < len(hit) <= 5
    for number in hit:
        assert plan[number].kind != "server"
        assert number == 0 or plan[number - 1].kind != "server"


def event(job: str, phase: str, step: int = 0, **more) -> dict:
    return {"job": job, "phase": phase, "step": step, **more}


def test_progress_counts_each_step_once():
    progress = Progress()
    for step in (0, 5, 10, 15):
        progress.event(event("a", "training", step))
    progress.event(event("b", "training", 5))
    assert progress.completed == 20

    progress.event(event("a", "starting", note="its worker died"))
    progress.event(event("a", "training", note="checkpoint passed over: cut short"))  # its step is not known yet
    progress.event(event("a", "training", 10))
    assert progress.completed == 20
    progress.event(event("a", "training", 20))
    assert progress.completed == 25


def test_a_job_is_starting_until_it_trains_or_the_sweep_is_launched_again():
    progress = Progress()
    progress.event(event("a", "starting"))
    progress.event(event("b", "starting"))
    progress.event(event("b", "training"))
    assert progress.starting == ["a"]
    progress.launch()
    assert progress.starting == []


def outcome(history: list, **other) -> Outcome:
    parts = {
        "table": [{"label": "a0", "dataset": "geo", "dev": math.nan}],
        "models": {"x/model.safetensors": "12"},
        "scores": {"x/summary.json": "34"},
        "runs": {"a0": {"status": "FINISHED", "params": {"seed": "0"}}},
    }
    return Outcome(histories={"a0": {"train/loss": history, "train/pairs_per_s": history}}, **{**parts, **other})


def test_equal_outcomes_do_not_differ_even_where_a_figure_is_none():
    assert not any(differences(outcome([(0, 1.0), (1, 0.5)]), outcome([(0, 1.0), (1, 0.5)])).values())


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("histories", outcome([(0, 1.0)])),  # lost
        ("histories", outcome([(0, 1.0), (1, 0.5), (1, 0.5)])),  # twice
        ("histories", outcome([(0, 1.0), (1, 0.25)])),  # another value
        ("models", outcome([(0, 1.0), (1, 0.5)], models={"x/model.safetensors": "13"})),
        ("scores", outcome([(0, 1.0), (1, 0.5)], scores={})),
        ("table", outcome([(0, 1.0), (1, 0.5)], table=[])),
        ("runs", outcome([(0, 1.0), (1, 0.5)], runs={"a0": {"status": "RUNNING", "params": {"seed": "0"}}})),
    ],
)
def test_what_is_lost_doubled_or_changed_is_told(part, found):
    told = differences(outcome([(0, 1.0), (1, 0.5)]), found)
    assert told[part]
    assert not any(what for name, what in told.items() if name != part)


def test_timings_may_differ_but_not_their_steps():
    slow, fast = outcome([(0, 1.0)]), outcome([(0, 1.0)])
    fast.histories["a0"]["train/pairs_per_s"] = [(0, 9.0)]
    assert not any(differences(slow, fast).values())
    fast.histories["a0"]["train/pairs_per_s"] = [(0, 9.0), (0, 9.0)]
    assert differences(slow, fast)["histories"]
