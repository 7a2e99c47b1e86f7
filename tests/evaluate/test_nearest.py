import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.evaluate.nearest import nearest
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
    top = nearest(scores, tie_order, depth)
    np.testing.assert_array_equal(top, ranked(scores, tie_order)[:, :depth])


@pytest.mark.parametrize("count", [1023, 1024, 1500])
@pytest.mark.parametrize("depth", [1, 10, 64, 65, 1000])
@pytest.mark.parametrize("values", [3, 50, 100_000])
def test_many_candidates_with_few_or_many_scores_alike(count: int, depth: int, values: int) -> None:
    rng = np.random.default_rng(count + depth)
    scores = rng.integers(-values, values, (7, count)).astype(np.float32)
    scores[3], scores[4, : count // 2] = 0, values
    tie_order = rng.permutation(count)
    np.testing.assert_array_equal(nearest(scores, tie_order, depth), ranked(scores, tie_order)[:, :depth])


def test_neighbours_that_are_all_near_do_not_hide_one_another() -> None:
    scores = np.zeros((300, 5000), np.float32)
    scores[:, 4990:] = np.arange(1, 11)
    assert nearest(scores, np.arange(5000), 10).tolist() == [list(range(4999, 4989, -1))] * 300


def test_no_candidates_and_no_queries_give_nothing() -> None:
    assert nearest(np.empty((2, 0), np.float32), np.empty(0, np.int64), 10).shape == (2, 0)
    assert nearest(np.empty((0, 3), np.float32), np.arange(3), 10).shape == (0, 3)
