import numpy as np

from xling.evaluate.bias import (
    expected_share,
    languages_at_ranks,
    own_language_share,
    rank_distance,
    rank_distance_within,
)
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


def test_languages_are_counted_at_each_rank() -> None:
    nearest = np.array([[0, 4, 9], [1, 9, 3]])
    shorter = np.array([[0, 4, 9], [1, 9, 3], [2, -1, -1]])
    assert languages_at_ranks(shorter, (0, 4, 4, 9, 10)).tolist() == [[3, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]]
    assert languages_at_ranks(nearest, (0, 4, 4, 9, 10)).tolist() == [[2, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]]


def test_rank_distance_within_a_group_is_over_queries_with_two_of_it() -> None:
    rows, ranks = np.array([0, 0, 0, 1, 1, 2]), np.array([7, 30, 3, 5, 9, 1])
    members = np.array([True, False, True, True, False, True])
    assert rank_distance_within(rows, ranks, members) == 4
    assert rank_distance_within(rows, ranks, np.ones(6, bool)) == (27 + 4) / 2
    assert np.isnan(rank_distance_within(rows, ranks, rows == 2))
