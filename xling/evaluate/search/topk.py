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
_ALL_BUT_SIGN = np.int32(0x7FFFFFFF)
_FIRST_LOOK = 4096
_ROWS = 2048  # queries multiplied at once: the more, the less often a shard's passages are read; below 2 ** 16


def keys_of(scores: Scores, places: Indices) -> Keys:
    """Keys of finite scores (any shape) and places below 2**32 - 1."""
    bits = (scores + np.float32(0)).view(np.int32)  # + 0: a negative zero equals a positive one
    bits ^= (bits >> 31) & _ALL_BUT_SIGN  # of negative numbers the larger has the smaller bits
    keys: Keys = (bits.view(np.uint32) ^ _SIGN).astype(np.uint64)
    keys <<= _SHIFT
    keys |= _LOW - places.astype(np.uint64)
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

    A passage enters only where its score is above the K-th so far: with places rising a later
    passage of an equal score would stand behind. What enters waits until lists are cut to K again,
    which is done when a quarter of K waits a query; the threshold is a little low until then.
    """

    def __init__(self, queries_QD: Scores, depth: int, block_bytes: int, floor_Q: Scores | None = None) -> None:
        """Args: block_bytes: memory for scores at once; floor_Q: scores below these are of no interest."""
        self._queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        self._depth = depth
        self._block_bytes = block_bytes
        floor_Q = np.full(len(queries_QD), -np.inf, np.float32) if floor_Q is None else floor_Q
        self._lists = [_Lists(floor_Q[start : start + _ROWS], depth) for start in range(0, len(queries_QD), _ROWS)]
        self._seen = 0

    def add(self, passages_ND: Scores, first: int) -> None:
        """Look at a shard whose passages have the places ``first`` and up."""
        count, rows = len(passages_ND), min(_ROWS, len(self._queries_QD))
        columns = max(1, min(self._block_bytes // (4 * max(1, rows)), count))
        buffer = np.empty(rows * columns, np.float32)
        for number, lists in enumerate(self._lists):
            queries_BD = self._queries_QD[number * _ROWS : (number + 1) * _ROWS]
            done = 0
            while done < count:
                # Growing chunks: a few passages already give a threshold that most of the others do not reach.
                size = min(count - done, columns, max(_FIRST_LOOK, self._seen + done))
                scores_BC = buffer[: len(queries_BD) * size].reshape(len(queries_BD), size)
                np.matmul(queries_BD, passages_ND[done : done + size].T, out=scores_BC)
                lists.enter(scores_BC, first + done)
                done += size
        self._seen += count

    def keys(self) -> Keys:
        """QK, best first; fewer than K columns while there are fewer passages, key 0 where one is below the floor."""
        width = min(self._depth, self._seen)
        return np.concatenate([np.zeros((0, width), np.uint64), *(lists.keys()[:, :width] for lists in self._lists)])


class _Lists:
    """The lists of a block of queries."""

    def __init__(self, floor_B: Scores, depth: int) -> None:
        self._depth = depth
        self._keys_BK: Keys = np.zeros((len(floor_B), depth), np.uint64)
        self._above_B = np.nextafter(floor_B, np.float32(-np.inf))  # what equals the floor may enter
        self._waiting: list[tuple[NDArray[np.uint16], Keys]] = []  # rows and keys
        self._entries = 0

    def enter(self, scores_BC: Scores, first: int) -> None:
        """Take what is above each query's threshold."""
        count, chunk = scores_BC.shape
        above_BC = scores_BC > self._above_B[:, None]
        entering = np.flatnonzero(above_BC)
        if chunk > self._depth and len(entering) > count * self._depth:  # of the first passages nearly all enter
            best_B = np.partition(scores_BC, chunk - self._depth, axis=1)[:, chunk - self._depth]
            above_BC &= scores_BC >= best_B[:, None]
            entering = np.flatnonzero(above_BC)
        count_B = np.diff(np.searchsorted(entering, chunk * np.arange(count + 1)))
        row_E = np.repeat(np.arange(count, dtype=np.uint16), count_B)  # so short it sorts by digits
        place_E = entering + np.repeat(first - chunk * np.arange(count), count_B)
        self._waiting.append((row_E, keys_of(scores_BC.ravel()[entering], place_E)))
        self._entries += len(entering)
        if 4 * self._entries >= self._keys_BK.size:
            self._cut()

    def keys(self) -> Keys:
        self._cut()
        return in_order(self._keys_BK)

    def _cut(self) -> None:
        """Put what waits into the lists."""
        if not self._entries:
            return
        row_E, keys_E = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._entries = [], 0
        order = np.argsort(row_E, kind="stable")
        row_E, keys_E = row_E[order], keys_E[order]
        count_B = np.bincount(row_E, minlength=len(self._keys_BK))
        start_B = np.cumsum(count_B) - count_B
        usual = 2 * self._depth
        for row in np.flatnonzero(count_B > usual).tolist():  # few: padding the others to their length would cost more
            best = largest(keys_E[None, start_B[row] : start_B[row] + count_B[row]], usual)
            keys_E[start_B[row] : start_B[row] + usual] = best
        nth_E = np.arange(len(row_E)) - start_B[row_E]
        kept_E = nth_E < usual
        new_BM = np.zeros((len(self._keys_BK), int(min(count_B.max(), usual))), np.uint64)
        new_BM[row_E[kept_E], nth_E[kept_E]] = keys_E[kept_E]
        self._keys_BK = largest(np.concatenate([self._keys_BK, new_BM], axis=1), self._depth)
        least_B = self._keys_BK.min(axis=1)
        self._above_B = np.where(least_B == 0, self._above_B, np.fmax(scores_of(least_B), self._above_B))
