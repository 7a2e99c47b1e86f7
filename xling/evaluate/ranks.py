"""Ranks of relevant candidates, as trec_eval would order them.

Shapes: Q queries, B queries of a block, N candidates, D embedding, R relevant entries, P entries
compared at once, T queries they are of, K a query, W words of eight truth values, C runs of words,
E ranges of candidates.

trec_eval orders by score as float32, descending, ties by document id descending, bytewise. With
candidates already in that id order the rank of candidate j is
1 + #{i < j: s_i >= s_j} + #{i > j: s_i > s_j}; no sorting is needed.

Counting compares every score with every relevant one of its query, so it goes over the scores a
few queries at a time, while they are in a core's cache, and sums eight truth values in one addition.
Equal scores are looked for, not counted: they are rare, and whether there is any is known at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xling.errors import NonFiniteError
from xling.evaluate.layout import Indices

Scores = NDArray[np.float32]
BLOCK_BYTES = 32 * 2**20
_TILE_BYTES = 512 * 2**10  # of scores gone over at a time: they stay in a core's cache
_MASK_BYTES = 512 * 2**10  # of truth values, likewise
_WORD = 8  # truth values are summed as the bytes of a 64-bit word
_LONGEST_RUN = 255  # words whose sum no byte of it overflows in

_Words = NDArray[np.uint64]


def block_edges(queries: int, candidates: int, block_bytes: int = BLOCK_BYTES) -> list[int]:
    """Edges of the blocks that scores are computed in: about equal, of at most ``block_bytes`` (or one query).

    A score's last bits can depend on the block it is computed in, so everything that is compared
    must be read from one block; the cut depends on nothing but the shapes.
    """
    rows = max(1, block_bytes // max(1, 4 * candidates))
    blocks = -(-queries // rows)
    return [queries * block // max(1, blocks) for block in range(blocks + 1)]


def tile_rows(candidates: int) -> int:
    """How many queries' scores are gone over at a time, so that they stay in a core's cache."""
    return max(1, _TILE_BYTES // max(1, 4 * candidates))


def rank_relevant(
    scores_BN: Scores,
    tie_order_N: Indices,
    rows_R: Indices,
    columns_R: Indices,
    starts_R: Indices,
    stops_R: Indices,
    passed: Callable[[slice], object] = lambda rows: None,
) -> tuple[Indices, Indices]:
    """Rank each relevant candidate among all columns and among a range of them.

    Args:
        scores_BN: the block the scores are read from, finite numbers.
        tie_order_N: of two columns with one score the one with the smaller value comes first.
        rows_R, columns_R: the relevant entries.
        starts_R, stops_R: columns of the range each is ranked in besides; its own is within.
        passed: called for some rows after others, until all had their turn: what else is to be read of
            their scores is read fastest now, while they still are in a core's cache.

    Returns:
        Ranks among all columns and ranks within the range, from 1.
    """
    width = scores_BN.shape[1] + 1
    ranges_E, range_R = np.unique(starts_R * width + stops_R, return_inverse=True)
    runs = _Runs.of(scores_BN.shape[1], np.stack(np.divmod(ranges_E, width), axis=1))
    by_row = np.argsort(rows_R, kind="stable")
    exceeding_RC, tied = _compare(scores_BN, rows_R[by_row], columns_R[by_row], runs, passed)
    overall_R, within_R = np.empty(len(rows_R), np.int64), np.empty(len(rows_R), np.int64)
    overall_R[by_row], within_R[by_row] = runs.count(exceeding_RC, range_R[by_row])
    for entry in by_row[tied].tolist():
        row, column = rows_R[entry], columns_R[entry]
        equal = np.flatnonzero(scores_BN[row] == scores_BN[row, column])
        equal = equal[tie_order_N[equal] < tie_order_N[column]]
        overall_R[entry] += len(equal)
        within_R[entry] += np.count_nonzero((equal >= starts_R[entry]) & (equal < stops_R[entry]))
    return 1 + overall_R, 1 + within_R


def rank_in_order(scores_BN: Scores, rows_R: Indices, columns_R: Indices) -> Indices:
    """Ranks from 1 among all columns, which stand in id-descending order.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    require_finite_scores(scores_BN)
    count = scores_BN.shape[1]
    starts_R = np.zeros_like(rows_R)
    overall_R, _ = rank_relevant(scores_BN, np.arange(count), rows_R, columns_R, starts_R, starts_R + count)
    return overall_R


def products_stay_finite(vectors_XD: Scores) -> bool:
    """Whether no product of two of the vectors can be NaN or infinite, in whatever order it is summed."""
    largest = max(float(vectors_XD.max(initial=0.0)), -float(vectors_XD.min(initial=0.0)))
    return bool(vectors_XD.shape[1] * largest**2 < 0.5 * float(np.finfo(np.float32).max))  # False of NaN too


def require_finite_scores(scores_BN: Scores) -> None:
    """Raises NonFiniteError, naming the first score that is NaN or infinite."""
    rows = tile_rows(scores_BN.shape[1])
    for start in range(0, len(scores_BN), rows):
        finite_BN = np.isfinite(scores_BN[start : start + rows])
        if not finite_BN.all():
            row, column = (int(place) for place in np.argwhere(~finite_BN)[0])
            row += start
            raise NonFiniteError(
                f"the score of query {row} with candidate {column} of its block is {scores_BN[row, column]}:"
                " scores must be finite numbers, look at the embeddings they come from"
            )


@dataclass(frozen=True, slots=True)
class _Runs:
    """Where words of truth values are summed: runs that no range begins or ends in.

    A word that a range's edge cuts is a run of its own, whose bytes belong to different ranges.
    ``member_BytesE`` says which byte of which run is in a range; its last column is all of them.
    """

    firsts_C: Indices
    words: int
    member_BytesE: Scores

    @classmethod
    def of(cls, columns: int, ranges_E2: Indices) -> _Runs:
        words = -(-columns // _WORD)
        edges = ranges_E2.ravel()
        cuts = np.concatenate([np.arange(0, max(words, 1), _LONGEST_RUN), edges // _WORD, -(-edges // _WORD)])
        firsts_C = np.unique(cuts[cuts < max(words, 1)])
        lasts_C = np.append(firsts_C[1:], words) - 1
        low_CB = firsts_C[:, None] * _WORD + np.arange(_WORD)  # the first and last column summed in a byte
        high_CB = lasts_C[:, None] * _WORD + np.arange(_WORD)
        member = [(low_CB >= start) & (high_CB < stop) for start, stop in ranges_E2.tolist()]
        member.append(np.ones_like(low_CB, np.bool_))
        return cls(firsts_C, words, np.stack([of.ravel() for of in member], axis=1).astype(np.float32))

    def count(self, sums_RC: _Words, range_R: Indices) -> tuple[Indices, Indices]:
        """Columns counted, in all and in each entry's range."""
        # Exact: whole numbers below 2 ** 24 as float32.
        counts_RE = sums_RC.view(np.uint8).astype(np.float32) @ self.member_BytesE
        within_R = np.take_along_axis(counts_RE, range_R[:, None], axis=1)[:, 0]
        return counts_RE[:, -1].astype(np.int64), within_R.astype(np.int64)


def _compare(
    scores_BN: Scores, rows_R: Indices, columns_R: Indices, runs: _Runs, passed: Callable[[slice], object]
) -> tuple[_Words, Indices]:
    """Of each entry, rows ascending, the columns with a greater score, summed by run.

    Returns:
        The sums, and the entries whose score another column has too.
    """
    columns = scores_BN.shape[1]
    exceeding_RC = np.empty((len(rows_R), len(runs.firsts_C)), np.uint64)
    held_R = scores_BN[rows_R, columns_R]
    most = max(1, _MASK_BYTES // max(1, columns))
    words_PW = np.zeros((min(most, len(rows_R)), runs.words), np.uint64)
    truths_PN = words_PW.view(np.bool_)
    tied = [np.empty(0, np.int64)]
    tile, seen = tile_rows(columns), 0
    for first, stop, each in _pieces(rows_R, most):
        words, truths = words_PW[: stop - first], truths_PN[: stop - first]
        row = int(rows_R[first])
        if row >= seen + tile:
            passed(slice(seen, row))
            seen = row
        scores_TN = scores_BN[row : rows_R[stop - 1] + 1]
        held_TK1 = held_R[first:stop].reshape(-1, each, 1)
        truths_TKN = truths.reshape(len(scores_TN), each, -1)[:, :, :columns]
        np.greater(scores_TN[:, None], held_TK1, out=truths_TKN)
        np.add.reduceat(words, runs.firsts_C, axis=1, out=exceeding_RC[first:stop])
        np.equal(scores_TN[:, None], held_TK1, out=truths_TKN)
        truths[np.arange(stop - first), columns_R[first:stop]] = False  # each equals itself
        if truths.any():
            tied.append(first + np.flatnonzero(truths.any(axis=1)))
    passed(slice(seen, len(scores_BN)))
    return exceeding_RC, np.concatenate(tied)


def _pieces(rows_R: Indices, most: int) -> Iterator[tuple[int, int, int]]:
    """Entries to compare at once: of some rows in a row that have as many each, or a part of one row's.

    Args:
        rows_R: ascending.
        most: entries of a piece.

    Yields:
        The first entry, the one after the last, and how many each row has.
    """
    first_of_row = np.flatnonzero(np.diff(rows_R, prepend=-1))
    count_of_row = np.diff(first_of_row, append=len(rows_R))
    changes = np.diff(count_of_row, prepend=0).astype(np.bool_) | (np.diff(rows_R[first_of_row], prepend=-2) != 1)
    edges = [*first_of_row[changes].tolist(), len(rows_R)]
    for (first, stop), each in zip(pairwise(edges), count_of_row[changes].tolist(), strict=True):
        if each <= most:
            size = most // each * each
            yield from ((at, min(at + size, stop), each) for at in range(first, stop, size))
            continue
        for row in range(first, stop, each):
            for at in range(row, row + each, most):
                end = min(at + most, row + each)
                yield at, end, end - at
