"""The candidates nearest to each query, in trec_eval's order, read from the block the ranks are read from.

Shapes: B queries of a block, N candidates, K depth, G groups of candidates, F found entries.
"""

from __future__ import annotations

import numpy as np

from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores, tile_rows

_GROUPS = 256


def nearest(scores_BN: Scores, tie_order_N: Indices, depth: int) -> Indices:
    """The best candidates of each query, best first.

    Args:
        scores_BN: finite numbers.
        tie_order_N: of two candidates with one score the one with the smaller value comes first.
        depth: K, how many; all candidates when there are fewer.

    Returns:
        Candidate columns, B x K.
    """
    count = scores_BN.shape[1]
    depth = min(depth, count)
    top_BK = np.empty((len(scores_BN), depth), np.int64)
    if not depth:
        return top_BK
    rows = 2 * tile_rows(count)
    for start in range(0, len(scores_BN), rows):
        tile_BN = scores_BN[start : start + rows]
        found_F = np.flatnonzero(tile_BN >= _lower_bound(tile_BN, depth)[:, None])
        rows_F, columns_F = np.divmod(found_F, count)
        order_F = np.lexsort((tie_order_N[columns_F], -tile_BN[rows_F, columns_F], rows_F))
        first_B = np.searchsorted(rows_F, np.arange(len(tile_BN)))
        top_BK[start : start + rows] = columns_F[order_F[first_B[:, None] + np.arange(depth)]]
    return top_BK


def _lower_bound(scores_BN: Scores, depth: int) -> Scores:
    """A number that at least ``depth`` scores of each query reach, and few more.

    The K-th largest of the groups' largest scores is one, far cheaper to find than the K-th
    largest score; neighbours, which are often alike, are in different groups.
    """
    count = scores_BN.shape[1]
    if depth > _GROUPS // 4 or count < 4 * _GROUPS:
        return np.partition(scores_BN, count - depth, axis=1)[:, count - depth]
    whole = count // _GROUPS * _GROUPS
    largest_BG = scores_BN[:, :whole].reshape(len(scores_BN), -1, _GROUPS).max(axis=1)
    rest_BG = largest_BG[:, : count - whole]
    np.maximum(rest_BG, scores_BN[:, whole:], out=rest_BG)
    return np.partition(largest_BG, _GROUPS - depth, axis=1)[:, _GROUPS - depth]
