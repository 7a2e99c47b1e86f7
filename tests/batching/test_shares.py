"""A share that changes over the budget: what it is where, and that nothing else changes with it."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import make, passages

from xling.batching.counter_hash import counter_hash, uniform
from xling.batching.shares import KINDS, most_of, shares_at
from xling.config.schema import MixConfig

SHARE = st.integers(0, 20).map(lambda n: n / 20)


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        start, end = draw(st.lists(SHARE, min_size=2, max_size=2, unique=True))
        until = draw(st.integers(1, 10)) / 10
        return {draw(st.sampled_from(["linear", "cosine"])): {"start": start, "end": end, "until": until}}
    positions = [0.0, *sorted(draw(st.sets(st.integers(1, 19).map(lambda n: n / 20), min_size=1, max_size=5)))]
    shares = [draw(SHARE)]
    for _ in positions[1:]:
        shares.append(draw(SHARE.filter(lambda share: share != shares[-1])))
    return {"steps": list(zip(positions, shares, strict=True))}


def monolingual(mix: dict[str, Any], total: int) -> np.ndarray:
    return shares_at(MixConfig(**mix), np.arange(total), total)[0]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"linear": {"start": 1.0, "end": 0.0}}, [1, 0.75, 0.5, 0.25]),
        ({"linear": {"start": 0.2, "end": 0.6, "until": 0.5}}, [0.2, 0.4, 0.6, 0.6]),
        ({"cosine": {"start": 1.0, "end": 0.0}}, [1, 0.5 + 0.5 * math.sqrt(0.5), 0.5, 0.5 - 0.5 * math.sqrt(0.5)]),
        ({"steps": [(0, 1.0), (0.25, 0.5), (0.6, 0.1)]}, [1, 0.5, 0.5, 0.1]),
    ],
)
def test_step_t_of_n_is_at_position_t_over_n(schedule: dict[str, Any], expected: list[float]):
    assert monolingual({"monolingual": schedule}, 4) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(schedules())
def test_the_mean_and_the_extremes_are_those_of_the_steps(schedule: dict[str, Any]):
    mix = MixConfig(monolingual=schedule)
    shares_KT = shares_at(mix, np.arange(20_000), 20_000)
    assert shares_KT[0].mean() == pytest.approx(mix.alpha, abs=1e-4)
    assert shares_KT.max(axis=1) == pytest.approx([most_of(mix, kind) for kind in KINDS], abs=1e-3)
    assert shares_KT.sum(axis=0) == pytest.approx(np.ones(20_000))
    assert shares_KT.min() >= 0


@settings(deadline=None, max_examples=30)
@given(schedules(), st.integers(1, 400))
def test_a_schedule_means_the_same_in_a_budget_of_any_length(schedule: dict[str, Any], total: int):
    short, long = (monolingual({"monolingual": schedule}, length) for length in (total, 3 * total))
    assert short == pytest.approx(long[::3])


@settings(deadline=None, max_examples=25)
@given(schedules(), st.integers(0, 2000), st.integers(1, 2000), st.integers(0, 50))
def test_the_shares_hold_in_any_window(schedule: dict[str, Any], start: int, length: int, seed: int):
    plan = make(passages(12), monolingual=schedule, seed=seed, total_steps=4000)
    steps = np.arange(start, start + length)
    share_T = shares_at(plan.mix, steps, 4000)[0]
    found = plan.composition(start, start + length)
    assert found.kinds["monolingual"] == int((uniform(counter_hash(seed, 0, steps)) < share_T).sum())
    assert found.asked["monolingual"] == pytest.approx(share_T.sum())
    deviation = math.sqrt(float((share_T * (1 - share_T)).sum()))
    assert abs(found.kinds["monolingual"] - share_T.sum()) <= 6 * deviation


@settings(deadline=None, max_examples=15)
@given(schedules(), schedules())
def test_schedules_share_their_random_numbers(one: dict[str, Any], other: dict[str, Any]):
    first, second = (make(passages(12), monolingual=schedule, total_steps=200) for schedule in (one, other))
    for step in range(200):
        batches = first.batch(step), second.batch(step)
        if batches[0].kind == batches[1].kind:
            assert batches[0].source == batches[1].source


def test_beyond_the_budget_the_end_stands():
    plan = make(passages(12), monolingual={"linear": {"start": 0.0, "end": 1.0}}, total_steps=50)
    assert {plan.batch(step).kind for step in range(50, 300)} == {"monolingual"}
    at_zero = make(passages(12), monolingual={"cosine": {"start": 0.0, "end": 1.0}}, total_steps=0)
    assert at_zero.composition(0, 0).kinds["monolingual"] == 0


def test_a_kind_that_only_a_schedule_brings_needs_a_source_too():
    with pytest.raises(Exception, match=r"mix.cross_lingual reaches 1, needs training items in two languages.*to 1$"):
        make(passages(20, languages=1), monolingual={"linear": {"start": 1.0, "end": 0.0}})
