"""The all-language pool's lists, merged from those of the languages in trec_eval's order.

Shapes: G queries, K depth, N candidates of all languages, M entries of all languages' lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores
from xling.evaluate.search.topk import Keys, keys_of, places_of, scores_of

_ROWS_AT_ONCE = 256


def columns_of(keys: Keys, first: int) -> Indices:
    """Candidate columns of a language's keys, whose first column is ``first``; -1 for none."""
    columns: Indices = np.where(keys == 0, -1, places_of(keys) + first)
    return columns


def merge_languages(lists: Sequence[tuple[int, Keys]], tie_order_N: Indices, depth: int) -> tuple[Indices, Scores]:
    """Merge lists of one set of queries.

    Args:
        lists: for each language its first candidate column, and keys GK.
        tie_order_N: of two columns with one score the one with the smaller value comes first.

    Returns:
        Columns, best first, -1 for none, and scores.
    """
    queries = len(lists[0][1])
    width = min(depth, sum(keys.shape[1] for _, keys in lists))
    columns_GK, scores_GK = np.full((queries, width), -1, np.int64), np.full((queries, width), np.nan, np.float32)
    for start in range(0, queries, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        columns_GM = np.concatenate([columns_of(keys[rows], first) for first, keys in lists], axis=1)
        scores_GM = np.concatenate([scores_of(keys[rows]) for _, keys in lists], axis=1)
        none_GM = columns_GM < 0
        merged_GM = keys_of(np.where(none_GM, np.float32(0), scores_GM), tie_order_N[columns_GM])
        merged_GM[none_GM] = 0
        best_GK = np.argsort(merged_GM, axis=1)[:, ::-1][:, :width]
        columns_GK[rows] = np.take_along_axis(columns_GM, best_GK, axis=1)
        scores_GK[rows] = np.take_along_axis(scores_GM, best_GK, axis=1)
    return columns_GK, scores_GK
