"""The best passages of each query while passages come in, in trec_eval's order.

Shapes: Q queries, B queries of a block, N passages of a shard, C of them looked at at once,
D embedding, K depth.

A list entry is one whole number, a *key*: the score in its upper 32 bits, so mapped that order is
kept, and the passage's place in its language in the lower 32, subtracted from the largest. Places
follow ids, descending, so the larger key comes first in trec_eval's order (score, then id, both
descending), and ties at the cut are resolved by the same comparison. Key 0 is no passage.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores

Keys = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_SIGN = np.uint32(0x80000000)
_FIRST_LOOK = 4096
_ROWS = 2048  # queries multiplied at once: the more, the less often a shard's passages are read
# Of a chunk at most this many times K entries a query are kept before the list is cut again.
_ROOM = 4


def keys_of(scores: Scores, places: Indices) -> Keys:
    """Keys of finite scores (any shape) and places below 2**32 - 1."""
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0: a negative zero equals a positive one
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    keys: Keys = (ordered.astype(np.uint64) << _SHIFT) | (_LOW - places.astype(np.uint64))
    return keys


def scores_of(keys: Keys) -> Scores:
    """Scores of keys; key 0 gives NaN."""
    ordered = (keys >> _SHIFT).astype(np.uint32)
    return np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).view(np.float32)


def places_of(keys: Keys) -> Indices:
    """Places of keys; key 0 gives -1."""
    places: Indices = np.where(keys == 0, -1, (_LOW - (keys & _LOW)).astype(np.int64))
    return places


def largest(keys_QX: Keys, depth: int) -> Keys:
    """The ``depth`` largest keys of each row, in no order; all when there are fewer."""
    width = keys_QX.shape[1]
    if width <= depth:
        return keys_QX
    return np.partition(keys_QX, width - depth, axis=1)[:, width - depth :]


def in_order(keys_QK: Keys) -> Keys:
    """Each row with its largest key first."""
    return np.sort(keys_QK, axis=1)[:, ::-1]


class BestPassages:
    """The K best passages of all queries so far; shards must come in the order of their places.

    A passage is looked at once: it enters a list only where its score is above the K-th so far. With
    places rising a later passage of an equal score would stand behind, so nothing is lost.
    """

    def __init__(self, queries_QD: Scores, depth: int, block_bytes: int) -> None:
        """Args: block_bytes: memory for scores at once."""
        self._queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        self._depth = depth
        self._block_bytes = block_bytes
        self._keys_QK: Keys = np.zeros((len(queries_QD), 0), np.uint64)
        self._seen = 0

    def add(self, passages_ND: Scores, first: int) -> None:
        """Look at a shard whose passages have the places ``first`` and up."""
        queries, count = len(self._queries_QD), len(passages_ND)
        rows = max(1, min(_ROWS, queries))
        columns = max(1, min(self._block_bytes // (4 * rows), count))
        buffer = np.empty(rows * columns, np.float32)
        keys_QK = np.zeros((queries, min(self._depth, self._keys_QK.shape[1] + count)), np.uint64)
        for start in range(0, queries, rows):
            queries_BD = self._queries_QD[start : start + rows]
            keys_BK, done = self._keys_QK[start : start + rows], 0
            while done < count:
                # Growing chunks: a few passages already give a threshold that most of the others do not reach.
                size = min(count - done, columns, max(_FIRST_LOOK, self._depth, self._seen + done))
                scores_BC = buffer[: len(queries_BD) * size].reshape(len(queries_BD), size)
                np.matmul(queries_BD, passages_ND[done : done + size].T, out=scores_BC)
                keys_BK = self._take(keys_BK, scores_BC, first + done)
                done += size
            keys_QK[start : start + rows] = keys_BK
        self._keys_QK = keys_QK
        self._seen += count

    def keys(self) -> Keys:
        """QK, best first; fewer than K columns while there are fewer passages."""
        return in_order(self._keys_QK)

    def _take(self, keys_BK: Keys, scores_BC: Scores, first: int) -> Keys:
        held, chunk = keys_BK.shape[1], scores_BC.shape[1]
        if held < self._depth:  # a list is not full: everything may enter
            places = np.arange(first, first + chunk)
            return largest(np.concatenate([keys_BK, keys_of(scores_BC, places)], axis=1), self._depth)
        threshold_B = scores_of(keys_BK.min(axis=1))
        entering = np.flatnonzero(scores_BC > threshold_B[:, None])
        if not len(entering):
            return keys_BK
        row_E, column_E = np.divmod(entering, chunk)
        count_B = np.bincount(row_E, minlength=len(keys_BK))
        most = int(count_B.max())
        if most > _ROOM * self._depth and chunk > 1:  # scores that rise with the places: cut in between
            half = chunk // 2
            keys_BK = self._take(keys_BK, scores_BC[:, :half], first)
            return self._take(keys_BK, scores_BC[:, half:], first + half)
        new_BM = np.zeros((len(keys_BK), most), np.uint64)
        nth_E = np.arange(len(row_E)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
        new_BM[row_E, nth_E] = keys_of(scores_BC[row_E, column_E], first + column_E)
        return largest(np.concatenate([keys_BK, new_BM], axis=1), self._depth)
