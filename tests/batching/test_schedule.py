"""Counting earlier steps of a source, over the spans the schedule draws at once."""

from collections import Counter

import pytest
from small_plans import make, passages

from xling.batching import schedule
from xling.batching.schedule import Schedule


@pytest.mark.parametrize("chunk", [1000, 1 << 18])
def test_earlier_steps_are_counted_across_chunks_and_spans(chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedule, "_CHUNK", chunk)
    plan = make(passages(12), monolingual=0.5)
    grown, at_once = (Schedule(seed=4, mix=plan.mix, sources=plan.sources, total_steps=10_000) for _ in range(2))
    at_once.at(9_999)
    counted: Counter[int] = Counter()
    for step in range(10_000):
        source, earlier = grown.at(step)
        assert at_once.at(step) == (source, earlier)
        assert earlier == counted[source]
        counted[source] += 1
    assert grown.counts(0, 10_000).tolist() == [counted[index] for index in range(len(plan.sources))]
    assert (grown.counts(0, 5_000) + grown.counts(5_000, 10_000) == grown.counts(0, 10_000)).all()
