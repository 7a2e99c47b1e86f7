"""Hard negatives of a step: a function of (seed, step, item), never the positive, never one passage twice."""

from collections import Counter

import numpy as np
import pytest

from xling.batching.negatives import NegativeDraw, require_negatives
from xling.errors import DataError

KEYS = np.array([70, 71, 72, 71, 73, 70])  # 1 and 3 are one passage, and so are 0 and 5
IDS = ["a", "b", "c"]


def draw(step, item=1, rows=range(6), positive=70, most=2, seed=3):
    return NegativeDraw(seed, IDS, KEYS).draw(step, item, rows, positive, most).tolist()


def test_the_positive_is_never_drawn_nor_a_passage_twice():
    for step in range(200):
        drawn = draw(step, most=6)
        assert len(drawn) == 3
        assert sorted(KEYS[drawn]) == [71, 72, 73]


def test_every_step_draws_anew_and_all_are_drawn_alike():
    counts = Counter(int(KEYS[row]) for step in range(3000) for row in draw(step))
    assert counts.keys() == {71, 72, 73}
    assert counts[71] > counts[72] + 300, "a passage that is named twice is drawn more often"
    assert abs(counts[72] - counts[73]) < 300


def test_what_is_drawn_depends_on_seed_step_and_item_and_on_nothing_else():
    assert draw(5) == draw(5)
    assert len({tuple(draw(step)) for step in range(50)}) > 3
    assert any(draw(step) != draw(step, seed=4) for step in range(20))
    assert any(draw(step) != draw(step, item=2) for step in range(20))
    longer = NegativeDraw(3, ["z", *IDS], np.concatenate([[9, 9], KEYS]))  # the same item elsewhere among other data
    for step in range(20):
        assert (longer.draw(step, 2, range(2, 8), 70, 2) - 2).tolist() == draw(step)


def test_an_item_may_have_none():
    assert draw(0, rows=range(0)) == []


def test_wanting_some_of_data_without_any_is_refused():
    require_negatives(0, 0)
    with pytest.raises(DataError, match=r"`train.hard_negatives` is 2, needs .* these have none; .*xling mine"):
        require_negatives(2, 0)
