"""Which of its hard negatives a pair brings to a batch: a function of (seed, step, item), like the batch itself.

Shape suffixes: N hard negatives of one item in one language.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xling.batching.counter_hash import UInt64Array, counter_hash, hash_texts
from xling.errors import DataError

Int64Array = npt.NDArray[np.int64]

NEGATIVE_STREAM = 4


class NegativeDraw:
    """Draws without replacement; every rank draws the same for the same pair."""

    def __init__(self, seed: int, item_ids: Sequence[str], keys: Int64Array) -> None:
        """Args: keys: passage keys of all hard negatives, equal for equal passages, as the plan's."""
        self._seed = seed
        self._ids_I: UInt64Array = hash_texts(item_ids)
        self._keys = keys

    def draw(self, step: int, item: int, rows: range, positive: int, most: int) -> Int64Array:
        """At most ``most`` of an item's hard negatives for one step, in the order they were drawn.

        Args:
            rows: where the item's hard negatives stand among all of them.
            positive: key of the pair's own passage, which is never drawn; nor is a passage twice.
        """
        rows_N = np.arange(rows.start, rows.stop)
        keys_N = self._keys[rows_N]
        hashes_N = counter_hash(self._seed, NEGATIVE_STREAM, step, self._ids_I[item], np.arange(len(rows)))
        drawn: dict[int, int] = {}
        for n in np.argsort(hashes_N).tolist():
            if len(drawn) == most:
                break
            if keys_N[n] != positive:
                drawn.setdefault(int(keys_N[n]), int(rows_N[n]))
        return np.fromiter(drawn.values(), np.int64, len(drawn))

    @property
    def keys(self) -> Int64Array:
        """Passage keys of all hard negatives."""
        return self._keys


def require_negatives(wanted: int, there: int) -> None:
    """Raises DataError when hard negatives are wanted of data that have none."""
    if wanted and not there:
        raise DataError(
            f"`train.hard_negatives` is {wanted}, needs training data with hard negatives: these have none; "
            "train on a set that brings some, mine them (`xling mine`), or set it to 0"
        )
