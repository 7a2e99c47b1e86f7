"""Language bias: whether the pool's ranking prefers some languages over others.

Shapes: Q queries, K depth, L languages, R relevant entries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.layout import Indices
from xling.evaluate.measures import UNRANKED, RelevantRanks, Values

NEIGHBOURS = 10
POOL_FIGURES = ("rank_distance", "own_language_share")  # values a query that are no measures of relevance


def rank_distance(found: RelevantRanks) -> Values:
    """Largest minus smallest rank of each query's relevant passages in the all-language pool; lower is better.

    Source: arXiv 2408.10536. 0 for a query with a single relevant passage; NaN where a passage is
    not ranked, since nothing is known of its rank but that it is below the depth searched.
    """
    last_Q = found.rank_R[found.ordinal_R == found.count_Q[found.query_R]]
    distance_Q = np.asarray(last_Q - found.rank_R[found.ordinal_R == 1], np.float64)
    return np.where(last_Q < UNRANKED, distance_Q, np.nan)


def rank_distance_within(rows_R: Indices, pool_ranks_R: Indices, members_R: NDArray[np.bool_]) -> float:
    """Mean rank distance between those relevant passages that are members, ranked in the whole pool.

    Over queries that have two or more of them; NaN when none has.
    """
    rows_P, query_P, count_P = np.unique(rows_R[members_R], return_inverse=True, return_counts=True)
    several_R = count_P[query_P] > 1
    if not several_R.any():
        return float("nan")
    chosen, query_R = np.unique(rows_P[query_P][several_R], return_inverse=True)
    ranks_R = pool_ranks_R[members_R][several_R]
    return float(rank_distance(RelevantRanks.of(query_R, ranks_R, np.ones_like(ranks_R), len(chosen))).mean())


def languages_at_ranks(columns_QK: Indices, passage_offsets: tuple[int, ...]) -> Indices:
    """How many passages at each rank are in each language, K x L.

    Args:
        columns_QK: candidate columns of the nearest passages, best first; -1 for none.
    """
    depth, languages = columns_QK.shape[1], len(passage_offsets) - 1
    language_QK = np.searchsorted(np.array(passage_offsets), columns_QK, side="right") - 1
    cells_QK = language_QK + languages * np.arange(depth)
    return np.bincount(cells_QK[columns_QK >= 0], minlength=depth * languages).reshape(depth, languages)


def own_language_share(columns_QK: Indices, own: slice) -> Values:
    """Share of passages in the query's own language among its K nearest in the pool.

    Args:
        columns_QK: candidate columns of the nearest passages.
        own: columns of the query's language.
    """
    return np.asarray(np.mean((columns_QK >= own.start) & (columns_QK < own.stop), axis=1), np.float64)


def expected_share(passage_offsets: tuple[int, ...]) -> Values:
    """The share a ranking blind to language would give each language: its share of the candidates, L values."""
    counts_L = np.diff(np.array(passage_offsets, np.int64))
    return np.asarray(counts_L / counts_L.sum(), np.float64)
