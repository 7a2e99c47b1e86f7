"""One epoch of one source: its items in hashed order, laid out in batches of distinct passages.

Shape suffixes: B items of a batch, N items of the source, I items, C key columns.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_Waiting = tuple[int, list[int]]  # position in the epoch's order, passage keys

_CHUNK = 1024  # items whose keys are fetched at once


class Epoch:
    """Batches are laid out one after the other, as far as they are asked for.

    A batch takes the first items of the order whose passages it does not hold yet; the items it
    passes over come first in the next. Only when every item left conflicts with the open batch is
    it filled with conflicting ones, in order; these are counted.

    An item passed over waits in the bucket of the key that kept it out. While a batch holds that
    key, the whole bucket stays out without being looked at, so the cost is that of sorting, not
    quadratic, however many items share a passage.
    """

    def __init__(self, order_N: npt.NDArray[np.intp], keys_IC: Int64Array, batch_size: int) -> None:
        """
        Args:
            order_N: indices of the source's items, in the epoch's order.
            keys_IC: each item's passage keys, -1 for none; two items that share one conflict.
            batch_size: B.
        """
        self._order_N = order_N.astype(np.int32) if len(keys_IC) < 2**31 else order_N
        self._keys_IC = keys_IC
        self._size = batch_size
        self._batches: list[npt.NDArray[np.integer]] = []
        self._conflicts: list[int] = []
        self._next = 0  # position of the first item never looked at
        self._ahead: list[list[int]] = []  # keys of the items from there on, last one first
        self._waiting: dict[int, list[_Waiting]] = {}  # heaps by key

    def batch(self, index: int) -> Int64Array:
        """Item indices of batch ``index``, B of them, which must be below floor(N / B)."""
        self._reach(index)
        return self._batches[index].astype(np.int64)

    def conflicts(self, start: int, stop: int) -> int:
        """Items in batches [start, stop) that share a passage with another of their batch."""
        self._reach(stop - 1)
        return sum(self._conflicts[start:stop])

    def _reach(self, index: int) -> None:
        assert index < len(self._order_N) // self._size, f"no batch {index} in this epoch"
        while len(self._batches) <= index:
            taken = self._lay_out()
            self._batches.append(self._order_N[taken])

    def _lay_out(self) -> list[int]:
        """Positions of the next batch's items."""
        held: set[int] = set()
        taken: list[int] = []
        self._take_waiting(taken, held)
        while len(taken) < self._size and self._next < len(self._order_N):
            position, keys = self._advance()
            self._take_or_wait(position, keys, taken, held)
        self._conflicts.append(self._size - len(taken))
        self._take_conflicting(taken)
        return taken

    def _take_waiting(self, taken: list[int], held: set[int]) -> None:
        heads = self._heads()
        while heads and len(taken) < self._size:
            _, key = heappop(heads)
            if key in held:
                continue
            position, keys = self._pop(key)
            self._take_or_wait(position, keys, taken, held)
            if key in self._waiting and key not in held:
                heappush(heads, (self._waiting[key][0][0], key))

    def _take_conflicting(self, taken: list[int]) -> None:
        if len(taken) == self._size:
            return
        heads = self._heads()
        while len(taken) < self._size:
            _, key = heappop(heads)
            taken.append(self._pop(key)[0])
            if key in self._waiting:
                heappush(heads, (self._waiting[key][0][0], key))

    def _take_or_wait(self, position: int, keys: list[int], taken: list[int], held: set[int]) -> None:
        for key in keys:
            if key in held:
                heappush(self._waiting.setdefault(key, []), (position, keys))
                return
        held.update(keys)
        taken.append(position)

    def _heads(self) -> list[tuple[int, int]]:
        """The buckets by the position of their first item, as a heap."""
        heads = [(bucket[0][0], key) for key, bucket in self._waiting.items()]
        heapify(heads)
        return heads

    def _pop(self, key: int) -> _Waiting:
        first = heappop(self._waiting[key])
        if not self._waiting[key]:
            del self._waiting[key]
        return first

    def _advance(self) -> tuple[int, list[int]]:
        if not self._ahead:
            rows = self._keys_IC[self._order_N[self._next : self._next + _CHUNK]].tolist()
            self._ahead = [[key for key in row if key >= 0] for row in reversed(rows)]
        position = self._next
        self._next += 1
        return position, self._ahead.pop()
