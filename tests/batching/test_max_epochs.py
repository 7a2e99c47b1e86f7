"""Sources that leave the draw: when, in whose favour, and that a step remains a function of its number."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import make, passages, uneven

from xling.batching import schedule
from xling.batching.counter_hash import counter_hash, uniform
from xling.batching.plan import KINDS, Plan
from xling.errors import DataError


def walk(plan: Plan, steps: int, epochs: int) -> list[str]:
    """The rule as it is stated, one step after the other."""
    given: Counter[str] = Counter()
    found = []
    for step in range(steps):
        u, v = (float(uniform(counter_hash(plan.seed, stream, step))) for stream in (0, 1))
        bounds = np.cumsum([plan.mix.monolingual, plan.mix.cross_lingual, plan.mix.mixed_monolingual])
        kind = KINDS[int((u >= bounds).sum())]
        left = [
            source
            for source in plan.sources
            if source.kind == kind and given[source.label] < epochs * (source.items // plan.batch_size)
        ]
        ends = np.cumsum([source.probability for source in left])
        source = left[min(int((v >= ends / ends[-1]).sum()), len(left) - 1)]
        given[source.label] += 1
        found.append(source.label)
    return found


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 99), st.integers(1, 3), st.sampled_from([1.0, 4.0]), st.sampled_from([3, 1 << 14]))
def test_a_source_leaves_after_its_epochs_and_the_others_share_its_probability(
    seed: int, epochs: int, temperature: float, piece: int
):
    steps = 20 * epochs
    mix = {"monolingual": 0.5, "sampling_temperature": temperature, "max_epochs": epochs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "_PIECE", piece)
        try:
            plan = make(uneven(), batch_size=4, total_steps=steps, seed=seed, **mix)
        except DataError:
            return  # more monolingual steps were drawn than its sources hold
        found = [plan.batch(step).source for step in range(steps)]
    assert found == walk(plan, steps, epochs)
    for source in plan.sources:
        assert Counter(found)[source.label] <= epochs * (source.items // 4)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.lists(st.integers(0, 39), min_size=1, max_size=5))
def test_a_step_can_be_asked_for_by_itself(seed: int, steps: list[int]):
    arguments = {"monolingual": 0.3, "batch_size": 8, "max_epochs": 1, "total_steps": 18, "seed": seed}
    try:
        walked = make(uneven(), **arguments)
    except DataError:
        return
    path = [walked.batch(step) for step in range(18)]
    for step in (step for step in steps if step < 18):
        batch = make(uneven(), **arguments).batch(step)
        assert batch.source == path[step].source
        assert batch.items_B.tolist() == path[step].items_B.tolist()


def test_pieces_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    arguments = {
        "monolingual": 0.5,
        "batch_size": 4,
        "max_epochs": 40,
        "total_steps": 1500,
        "sampling_temperature": 9.0,
    }
    whole = make(uneven(), **arguments)._schedule.sources_between(0, 1500).tolist()
    monkeypatch.setattr(schedule, "_PIECE", 7)
    monkeypatch.setattr(schedule, "_CHUNK", 100)
    monkeypatch.setattr(schedule, "_FIRST_SPAN", 10)
    cut = make(uneven(), **arguments)._schedule
    assert [cut.at(step)[0] for step in range(1500)] == whole
    assert (cut._draws[0]._room_S == 0).any(), "no source has left: the test shows nothing"


def test_without_an_event_the_limit_changes_nothing():
    free, limited = (make(uneven(), monolingual=0.5, max_epochs=epochs, total_steps=400) for epochs in (None, 1000))
    assert all(free.batch(t).items_B.tolist() == limited.batch(t).items_B.tolist() for t in range(400))


def test_no_item_is_seen_more_often_than_the_limit_says():
    plan = make(passages(40, languages=1), monolingual=1.0, batch_size=8, max_epochs=2, total_steps=10)
    seen = Counter(np.concatenate([plan.batch(step).items_B for step in range(10)]).tolist())
    assert set(seen.values()) == {2}


def test_the_composition_tells_which_sources_left():
    plan = make(uneven(), monolingual=1.0, batch_size=4, max_epochs=1, total_steps=23)
    whole = plan.composition(0, 23)
    gone = {label for label, source in whole.sources.items() if source.left}
    assert gone == {label for label, source in whole.sources.items() if source.batches == source.items // 4} != set()
    parts = [plan.composition(start, start + 1) for start in range(23)]
    assert sum(part.left for part in parts) == whole.left == len(gone)
    assert whole.repeated == 0
    assert sum(source.asked for source in whole.sources.values()) == pytest.approx(23)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 25), (2, 49)])
def test_a_budget_that_the_sources_cannot_fill_is_refused_with_the_arithmetic(epochs: int, steps: int):
    mix = {"monolingual": 1.0, "batch_size": 4, "max_epochs": epochs}
    held = 24 * epochs  # 15 + 7 + 2 batches an epoch
    message = (
        rf"mix.max_epochs is {epochs}, must leave batches for the whole budget: {steps} of its {steps} steps are "
        rf"monolingual, and its 3 sources can give {held}, until step {held}; raise mix.max_epochs to {epochs + 1}, or"
    )
    with pytest.raises(DataError, match=message):
        make(uneven(), total_steps=steps, **mix)
    plan = make(uneven(), total_steps=held, **mix)
    assert plan.composition(0, held).left == 3
    assert make(uneven(), total_steps=steps, **{**mix, "max_epochs": epochs + 1}).batch(steps - 1).kind == "monolingual"
