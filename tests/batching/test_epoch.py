"""Laying out one epoch: what is deferred, what is kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.batching.epoch import Epoch


def scan(order: list[int], keys: list[set[int]], size: int) -> tuple[list[list[int]], list[int]]:
    """The rule as it is stated, looking at every item left for every batch."""
    left, batches, conflicts = list(order), [], []
    for _ in range(len(order) // size):
        held: set[int] = set()
        taken: list[int] = []
        for item in left:
            if len(taken) < size and not keys[item] & held:
                held |= keys[item]
                taken.append(item)
        kept = [item for item in left if item not in taken][: size - len(taken)]
        batches.append(taken + kept)
        conflicts.append(len(kept))
        left = [item for item in left if item not in batches[-1]]
    return batches, conflicts


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[int], list[list[int]], int]:
    items, columns = draw(st.integers(2, 40)), draw(st.integers(1, 3))
    passages = draw(st.integers(1, 20))
    row = st.lists(st.integers(-1, passages), min_size=columns, max_size=columns)
    keys = draw(st.lists(row, min_size=items, max_size=items))
    order = draw(st.permutations(range(items)))
    return order, keys, draw(st.integers(1, 8))


@settings(deadline=None, max_examples=150)
@given(epochs())
def test_batches_are_those_of_the_stated_rule(case: tuple[list[int], list[list[int]], int]):
    order, keys, size = case
    epoch = Epoch(np.asarray(order), np.asarray(keys, dtype=np.int64), size)
    batches, conflicts = scan(order, [{key for key in row if key >= 0} for row in keys], size)
    assert [epoch.batch(index).tolist() for index in range(len(batches))] == batches
    assert [epoch.conflicts(index, index + 1) for index in range(len(batches))] == conflicts


def test_a_deferred_item_comes_first_in_the_next_batch():
    keys = np.asarray([[0], [0], [0], [1], [2], [3]])
    epoch = Epoch(np.arange(6), keys, 2)
    assert [epoch.batch(index).tolist() for index in range(3)] == [[0, 3], [1, 4], [2, 5]]
    assert epoch.conflicts(0, 3) == 0


def test_conflicts_are_kept_only_when_nothing_else_is_left():
    epoch = Epoch(np.arange(4), np.zeros((4, 1), dtype=np.int64), 2)
    assert [epoch.batch(index).tolist() for index in range(2)] == [[0, 1], [2, 3]]
    assert epoch.conflicts(0, 2) == 2


def test_batches_can_be_asked_for_in_any_order():
    keys = np.arange(40)[:, None] // 4
    walked, jumped = Epoch(np.arange(40), keys, 5), Epoch(np.arange(40), keys, 5)
    assert {index: jumped.batch(index).tolist() for index in (7, 2, 0, 5)} == {
        index: walked.batch(index).tolist() for index in (0, 2, 5, 7)
    }
