"""Realised counts against the batches themselves."""

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import LANGUAGES, make, passages, plans

from xling.batching.plan import KINDS, Batch


@settings(deadline=None, max_examples=15)
@given(plans(), st.integers(0, 100), st.integers(0, 100))
def test_composition_is_what_the_batches_say(case: tuple[np.ndarray, dict[str, Any]], start: int, length: int):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    found = make(passages_IL, **arguments).composition(start, start + length)
    batches = [plan.batch(step) for step in range(start, start + length)]
    counted = Counter(batch.source for batch in batches)
    assert {label: source.batches for label, source in found.sources.items() if source.batches} == dict(counted)
    assert found.kinds == dict.fromkeys(KINDS, 0) | Counter(batch.kind for batch in batches)
    pairs = Counter(pair for batch in batches for pair in pairs_of(batch))
    assert {pair: counts.examples for pair, counts in found.pairs.items() if counts.examples} == dict(pairs)
    json.dumps(found.as_json())


def pairs_of(batch: Batch) -> list[str]:
    """The language pair of each example, the query's language first."""
    rows = zip(batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True)
    return [f"{LANGUAGES[query]}-{LANGUAGES[passage]}" for query, passage in rows]


@settings(deadline=None, max_examples=15)
@given(plans(), st.integers(0, 150))
def test_compositions_of_adjacent_stretches_add_up(case: tuple[np.ndarray, dict[str, Any]], middle: int):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    parts, whole = (plan.composition(0, middle), plan.composition(middle, 150)), plan.composition(0, 150)
    for label, source in whole.sources.items():
        for field in ("batches", "epochs_begun", "repeated", "dropped", "conflicts"):
            assert sum(getattr(part.sources[label], field) for part in parts) == getattr(source, field)
        assert sum(part.sources[label].asked for part in parts) == pytest.approx(source.asked)
    for kind in KINDS:
        assert sum(part.asked[kind] for part in parts) == pytest.approx(whole.asked[kind])
    for pair, counts in whole.pairs.items():
        found = [part.pairs[pair] for part in parts if pair in part.pairs]
        assert sum(part.examples for part in found) == counts.examples
        assert sum(part.asked for part in found) == pytest.approx(counts.asked)


@settings(deadline=None, max_examples=15)
@given(plans(), st.integers(0, 40))
def test_what_was_asked_for_is_as_much_as_what_was_given(case: tuple[np.ndarray, dict[str, Any]], start: int):
    passages_IL, arguments = case
    found = make(passages_IL, **arguments).composition(start, 300)
    steps = 300 - start
    assert sum(found.kinds.values()) == steps
    assert sum(found.asked.values()) == pytest.approx(steps)
    assert sum(source.asked for source in found.sources.values()) == pytest.approx(steps)
    assert sum(pair.examples for pair in found.pairs.values()) == steps * found.batch_size
    assert sum(pair.asked for pair in found.pairs.values()) == pytest.approx(steps * found.batch_size)


@pytest.mark.parametrize("by", ["batch", "example"])
def test_pairs_are_given_as_often_as_their_sources_ask_for(by: str):
    passages_IL = passages(80)
    passages_IL[40:, 1] = -1  # half of the items have ar and en only
    plan = make(passages_IL, batch_size=8, monolingual=0.25, cross_lingual=0.25, mixed_monolingual=0.5,
                cross_lingual_by=by, total_steps=6000)  # fmt: skip
    for pair, counts in plan.composition(0, 6000).pairs.items():
        deviation = 5 * math.sqrt(counts.asked * 8)  # the examples of a batch share their draw
        assert abs(counts.examples - counts.asked) < deviation, pair


def test_composition_counts_epochs_repeats_and_tails():
    plan = make(passages(10, languages=1), batch_size=4, monolingual=1.0, seed=5)
    source = plan.composition(0, 5).sources["mono:ar"]  # two batches an epoch, two items left over
    assert (source.batches, source.epochs_begun, source.repeated, source.dropped) == (5, 3, 12, 4)
    total = plan.composition(0, 5)
    assert (total.dropped, total.repeated, total.conflicts) == (4, 12, 0)
    assert total.as_json()["sources"]["mono:ar"]["items"] == 10


def test_composition_tells_the_languages_that_were_trained_on():
    mix = {"batch_size": 4, "monolingual": 0.0, "pairs": {"only": ["ar-de"]}, "seed": 5}
    plan = make(passages(10, languages=3), **mix)
    assert plan.composition(0, 5).languages == ("ar", "de")
    assert plan.composition(5, 5).languages == ()
