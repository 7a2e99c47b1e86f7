"""Whatever is killed, nothing is lost: `benchmarks/chaos.py` in short, and its own parts."""

import json
import math
import shutil
import sys

import pytest
from chaos import CHECKPOINT_EVERY, Result, new_folder, run_sweep, sweep_text
from chaos_outcome import Outcome, differences
from chaos_plan import KINDS, Kill, Progress, plan_kills
from chaos_processes import ready

PLAN = [
    Kill("driver", after=60, at_start=True, wait=2, pick=0),
    Kill("server", after=20, at_start=False, wait=4, pick=0),
    Kill("worker", after=60, at_start=False, wait=0, pick=1),
    Kill("sweep", after=60, at_start=False, wait=0, pick=0),
    Kill("node", after=60, at_start=True, wait=2, pick=0),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_sweep_whose_processes_are_killed_ends_as_the_undisturbed_one():
    folder = new_folder()
    file = folder / "sweep.yaml"
    file.write_text(sweep_text(300, alphas=(0, 1), seeds=(0,)))
    with ready(folder) as world:
        calm, expected = run_sweep(world, folder / "a", file, [])
        wild, found = run_sweep(world, folder / "b", file, PLAN)
    result = Result(calm, wild, 2, differences(expected, found), found.repeats)

    print(json.dumps(result.summary(), indent=1))
    assert [kill.kind for kill in wild.killed] == [kill.kind for kill in PLAN]
    assert result.is_equal, result.differences
    assert len(found.models) > 0
    assert len(found.table) == 3  # two cells and their start
    history = found.histories["a0/s0"]["train/loss"]
    assert [step for step, _ in history] == list(range(300))
    assert wild.steps == calm.steps == 600
    assert max(found.repeats, default=0) <= CHECKPOINT_EVERY
    assert not expected.repeats
    shutil.rmtree(folder)  # a failed test leaves it


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
