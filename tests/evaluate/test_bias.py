import numpy as np

from xling.evaluate.bias import expected_share, own_language_share, rank_distance
from xling.evaluate.measures import UNRANKED, RelevantRanks


def test_rank_distance_is_last_minus_first_relevant_rank() -> None:
    ranks = RelevantRanks.of(np.array([1, 0, 1, 2, 1]), np.array([7, 3, 2, 5, 40]), np.ones(5, np.int64), queries=3)
    assert rank_distance(ranks).tolist() == [0, 38, 0]


def test_rank_distance_is_unknown_where_a_relevant_passage_is_not_ranked() -> None:
    ranks = RelevantRanks.of(np.array([0, 0, 1, 1]), np.array([7, UNRANKED, 2, 5]), np.ones(4, np.int64), queries=2)
    assert np.isnan(rank_distance(ranks)[0])
    assert rank_distance(ranks)[1] == 3


def test_own_language_share_counts_columns_of_the_language() -> None:
    nearest = np.array([[0, 4, 5, 9], [1, 2, 3, 0]])
    assert own_language_share(nearest, slice(4, 6)).tolist() == [0.5, 0.0]


def test_expected_share_is_the_share_of_candidates() -> None:
    assert expected_share((0, 1, 4, 4)).tolist() == [0.25, 0.75, 0.0]
