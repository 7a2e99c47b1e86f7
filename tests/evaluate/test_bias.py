import numpy as np

from xling.evaluate.bias import expected_share, own_language_share, rank_distance
from xling.evaluate.measures import RelevantRanks


def test_rank_distance_is_last_minus_first_relevant_rank() -> None:
    ranks = RelevantRanks.of(np.array([1, 0, 1, 2, 1]), np.array([7, 3, 2, 5, 40]), np.ones(5, np.int64), queries=3)
    assert rank_distance(ranks).tolist() == [0, 38, 0]


def test_own_language_share_counts_columns_of_the_language() -> None:
    nearest = np.array([[0, 4, 5, 9], [1, 2, 3, 0]])
    assert own_language_share(nearest, slice(4, 6)).tolist() == [0.5, 0.0]


def test_expected_share_is_the_share_of_candidates() -> None:
    assert expected_share((0, 1, 4, 4)).tolist() == [0.25, 0.75, 0.0]
