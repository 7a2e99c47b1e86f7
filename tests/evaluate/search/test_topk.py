from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.evaluate.search.topk import BestPassages, in_order, keys_of, largest, places_of, scores_of


def head(scores: np.ndarray, depth: int) -> np.ndarray:
    """The best places of each row by sorting all: score descending, then place ascending."""
    places = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.lexsort((places, -scores), axis=-1)[:, :depth]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 70), st.integers(1, 4000))
def test_shard_by_shard_the_best_are_those_of_one_sort_ties_at_the_cut_included(
    seed: int, count: int, depth: int, block_bytes: int
) -> None:
    rng = np.random.default_rng(seed)
    passages = rng.integers(-1, 2, (count, 3)).astype(np.float32)
    queries = rng.integers(-1, 2, (5, 3)).astype(np.float32)
    best = BestPassages(queries, depth, block_bytes)
    cuts = sorted({0, count, *rng.integers(0, count + 1, 3).tolist()})
    for start, stop in pairwise(cuts):
        best.add(passages[start:stop], start)
    scores = queries @ passages.T
    np.testing.assert_array_equal(places_of(best.keys()), head(scores, depth))
    np.testing.assert_array_equal(scores_of(best.keys()), np.take_along_axis(scores, head(scores, depth), axis=1))


@pytest.mark.parametrize("order", ["rising", "falling", "equal"])
def test_sorted_passages_are_found_too(order: str) -> None:
    scores = {"rising": np.arange(20_000.0), "falling": -np.arange(20_000.0), "equal": np.ones(20_000)}[order]
    passages = scores.astype(np.float32)[:, None]
    best = BestPassages(np.array([[1.0], [-1.0]], np.float32), 10, 2**20)
    for start in range(0, 20_000, 6_000):
        best.add(passages[start : start + 6_000], start)
    expected = head(np.array([[1.0], [-1.0]], np.float32) @ passages.T, 10)
    np.testing.assert_array_equal(places_of(best.keys()), expected)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_lists_of_parts_merge_to_the_list_of_the_whole_in_any_order(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    scores, depth = rng.integers(-2, 3, (4, 60)).astype(np.float32), int(rng.integers(1, 30))
    edges = np.linspace(0, 60, parts + 1).astype(int)
    lists = [largest(keys_of(scores[:, start:stop], np.arange(start, stop)), depth) for start, stop in pairwise(edges)]
    merged = lists.pop(int(rng.integers(len(lists))))
    for keys in lists[::-1]:
        merged = largest(np.concatenate([merged, keys], axis=1), depth)
    np.testing.assert_array_equal(places_of(in_order(merged)), head(scores, depth))


def test_keys_keep_the_order_of_floats_and_give_them_back() -> None:
    scores = np.array([-np.float32(3e38), -1, -1e-40, 0, 1e-40, 0.5, 1, 3e38], np.float32)
    keys = keys_of(scores, np.arange(8))
    assert (np.diff(keys.astype(object)) > 0).all()
    np.testing.assert_array_equal(scores_of(keys), scores)
    zeros = keys_of(np.array([0.0, -0.0], np.float32), np.array([5, 4]))
    assert zeros[1] > zeros[0], "a negative zero is zero: the earlier place stands first"
    assert places_of(np.array([0], np.uint64)).tolist() == [-1]
    assert np.isnan(scores_of(np.array([0], np.uint64))[0])
