import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.evaluate.index import PassageIndex
from xling.evaluate.ranks import rank_relevant


def ranked(scores: np.ndarray, tie_order: np.ndarray) -> np.ndarray:
    """All columns, best first, by the ranks of ranks.py."""
    rows, columns = (place.astype(np.int64) for place in np.indices(scores.shape).reshape(2, -1))
    overall, _ = rank_relevant(
        scores, tie_order, rows, columns, np.zeros_like(rows), np.full_like(rows, scores.shape[1])
    )
    order = np.empty(scores.shape, np.int64)
    order[rows, overall - 1] = columns
    return order


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 70))
def test_the_top_is_the_head_of_the_exact_ranking_ties_at_the_cut_included(seed: int, count: int, depth: int) -> None:
    rng = np.random.default_rng(seed)
    passages = rng.integers(-1, 2, (count, 3)).astype(np.float32)
    queries = rng.integers(-1, 2, (5, 3)).astype(np.float32)
    scores, tie_order = queries @ passages.T, rng.permutation(count)
    top = PassageIndex(passages, tie_order).top(queries, scores, depth)
    np.testing.assert_array_equal(top, ranked(scores, tie_order)[:, :depth])


@pytest.mark.parametrize("depth", [1, 10, 100, 2000])
def test_near_ties_are_ordered_by_the_blocks_scores(depth: int) -> None:
    rng = np.random.default_rng(0)
    # Passages that differ in the last bits only: FAISS and the block may round them either way.
    centre = rng.standard_normal((20, 64)).astype(np.float32)
    passages = np.repeat(centre, 40, axis=0) + rng.standard_normal((800, 64)).astype(np.float32) * np.float32(1e-7)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    queries = passages[::100] + np.float32(0.01)
    scores, tie_order = queries @ passages.T, np.arange(800)
    top = PassageIndex(passages, tie_order).top(queries, scores, depth)
    np.testing.assert_array_equal(top, ranked(scores, tie_order)[:, :depth])


def test_an_empty_index_gives_nothing() -> None:
    index = PassageIndex(np.empty((0, 4), np.float32), np.empty(0, np.int64))
    assert index.top(np.ones((2, 4), np.float32), np.empty((2, 0), np.float32), 10).shape == (2, 0)
