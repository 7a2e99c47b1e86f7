"""Ranks of relevant candidates, as trec_eval would order them.

Shapes: Q queries, B queries of a block, N candidates, D embedding, R relevant entries.

trec_eval orders by score as float32, descending, ties by document id descending, bytewise. With
candidates already in that id order the rank of candidate j is
1 + #{i < j: s_i >= s_j} + #{i > j: s_i > s_j}; no sorting is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xling.errors import NonFiniteError
from xling.evaluate.layout import Indices

Scores = NDArray[np.float32]
BLOCK_BYTES = 128 * 2**20


def score_blocks(
    queries_QD: Scores, passages_ND: Scores, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[int, Scores]]:
    """Inner products of all queries with all candidates, a block of queries at a time.

    A score's last bits can depend on the block it is computed in, so everything that is compared
    must be read from one block; the cut depends on nothing but the shapes.

    Returns:
        (first query, scores_BN) a block; a block takes at most ``block_bytes`` (or one query).
    """
    rows = max(1, block_bytes // max(1, 4 * len(passages_ND)))
    for start in range(0, len(queries_QD), rows):
        yield start, queries_QD[start : start + rows] @ passages_ND.T


def rank_relevant(
    scores_BN: Scores,
    tie_order_N: Indices,
    rows_R: Indices,
    columns_R: Indices,
    starts_R: Indices,
    stops_R: Indices,
) -> tuple[Indices, Indices]:
    """Rank each relevant candidate among all columns and among a range of them.

    Args:
        scores_BN: the block the scores are read from.
        tie_order_N: of two columns with one score the one with the smaller value comes first.
        rows_R, columns_R: the relevant entries.
        starts_R, stops_R: columns of the range each is ranked in besides; its own is within.

    Returns:
        Ranks among all columns and ranks within the range, from 1.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    _require_finite(scores_BN)
    overall_R = np.empty(len(rows_R), np.int64)
    within_R = np.empty(len(rows_R), np.int64)
    mask_N = np.empty(scores_BN.shape[1], np.bool_)
    entries = zip(rows_R.tolist(), columns_R.tolist(), starts_R.tolist(), stops_R.tolist(), strict=True)
    for entry, (row, column, start, stop) in enumerate(entries):
        scores_N = scores_BN[row]
        score = scores_N[column]
        np.greater(scores_N, score, out=mask_N)
        overall = np.count_nonzero(mask_N)
        within = np.count_nonzero(mask_N[start:stop])
        np.equal(scores_N, score, out=mask_N)
        if np.count_nonzero(mask_N) > 1:
            tied = np.flatnonzero(mask_N)
            tied = tied[tie_order_N[tied] < tie_order_N[column]]
            overall += len(tied)
            within += np.count_nonzero((tied >= start) & (tied < stop))
        overall_R[entry] = 1 + overall
        within_R[entry] = 1 + within
    return overall_R, within_R


def rank_in_order(scores_BN: Scores, rows_R: Indices, columns_R: Indices) -> Indices:
    """Ranks from 1 among all columns, which stand in id-descending order."""
    count = scores_BN.shape[1]
    starts_R = np.zeros_like(rows_R)
    overall_R, _ = rank_relevant(scores_BN, np.arange(count), rows_R, columns_R, starts_R, starts_R + count)
    return overall_R


def _require_finite(scores_BN: Scores) -> None:
    if not np.isfinite(scores_BN).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(scores_BN))[0])
        raise NonFiniteError(
            f"the score of query {row} with candidate {column} of its block is {scores_BN[row, column]}:"
            " scores must be finite numbers, look at the embeddings they come from"
        )
