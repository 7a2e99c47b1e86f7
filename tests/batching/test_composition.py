"""Realised counts against the batches themselves."""

import json
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import make, passages, plans

from xling.batching.plan import KINDS


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
    json.dumps(found.as_json())


@settings(deadline=None, max_examples=15)
@given(plans(), st.integers(0, 150))
def test_compositions_of_adjacent_stretches_add_up(case: tuple[np.ndarray, dict[str, Any]], middle: int):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    parts, whole = (plan.composition(0, middle), plan.composition(middle, 150)), plan.composition(0, 150)
    for label, source in whole.sources.items():
        for field in ("batches", "epochs_begun", "repeated", "dropped", "conflicts"):
            assert sum(getattr(part.sources[label], field) for part in parts) == getattr(source, field)


def test_composition_counts_epochs_repeats_and_tails():
    plan = make(passages(10, languages=1), batch_size=4, monolingual=1.0, seed=5)
    source = plan.composition(0, 5).sources["mono:ar"]  # two batches an epoch, two items left over
    assert (source.batches, source.epochs_begun, source.repeated, source.dropped) == (5, 3, 12, 4)
    total = plan.composition(0, 5)
    assert (total.dropped, total.repeated, total.conflicts) == (4, 12, 0)
    assert total.as_json()["sources"]["mono:ar"]["items"] == 10
