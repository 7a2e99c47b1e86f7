"""A rank's slice of a batch, and its texts as padded arrays.

Shape suffixes: B pairs of the slice, T tokens of its longest text (queries and passages apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xling.batching.plan import Batch

Int64Array = npt.NDArray[np.int64]


class PairTokens(Protocol):
    """Token ids by item and language index, special tokens included."""

    def query(self, item: int, language: int, /) -> npt.NDArray[np.int32]: ...

    def passage(self, item: int, language: int, /) -> npt.NDArray[np.int32]: ...


@dataclass(frozen=True, slots=True)
class CollatedBatch:
    """What the encoder is given. Arrays are int64; masks are 1 on tokens and 0 on padding."""

    query_ids_BT: Int64Array
    query_mask_BT: Int64Array
    passage_ids_BT: Int64Array
    passage_mask_BT: Int64Array
    passage_keys_B: Int64Array  # equal for equal passages on all ranks

    @property
    def tokens(self) -> int:
        """Tokens of queries and passages, padding left out."""
        return int(self.query_mask_BT.sum() + self.passage_mask_BT.sum())


def rank_slice(batch: Batch, rank: int, world_size: int) -> Batch:
    """The rank's share of a batch: contiguous, so that shares in rank order are the whole batch."""
    size = len(batch.items_B)
    assert 0 <= rank < world_size, f"rank {rank} of {world_size}"
    assert size % world_size == 0, f"a batch of {size} does not divide by {world_size} ranks"
    share = slice(rank * size // world_size, (rank + 1) * size // world_size)
    return Batch(
        step=batch.step,
        kind=batch.kind,
        source=batch.source,
        items_B=batch.items_B[share],
        query_languages_B=batch.query_languages_B[share],
        passage_languages_B=batch.passage_languages_B[share],
        passage_keys_B=batch.passage_keys_B[share],
    )


def collate(tokens: PairTokens, batch: Batch, pad_id: int, *, multiple_of: int = 1) -> CollatedBatch:
    """Fetch the texts of a batch and pad them to its longest.

    Args:
        tokens: where the token ids are.
        batch: a batch, or a rank's slice.
        pad_id: token id of padding.
        multiple_of: lengths are rounded up to a multiple of this (8 suits GPUs).
    """
    items, query_languages = batch.items_B.tolist(), batch.query_languages_B.tolist()
    passage_languages = batch.passage_languages_B.tolist()
    queries = [tokens.query(*pair) for pair in zip(items, query_languages, strict=True)]
    passages = [tokens.passage(*pair) for pair in zip(items, passage_languages, strict=True)]
    query_ids_BT, query_mask_BT = pad(queries, pad_id, multiple_of)
    passage_ids_BT, passage_mask_BT = pad(passages, pad_id, multiple_of)
    return CollatedBatch(query_ids_BT, query_mask_BT, passage_ids_BT, passage_mask_BT, batch.passage_keys_B)


def pad(rows: Sequence[npt.NDArray[np.int32]], pad_id: int, multiple_of: int = 1) -> tuple[Int64Array, Int64Array]:
    """Rows of token ids as one array BT, padded on the right, with its mask BT."""
    lengths_B = np.asarray([len(row) for row in rows], dtype=np.int64)
    longest = -(-int(lengths_B.max()) // multiple_of) * multiple_of
    mask_BT = np.arange(longest) < lengths_B[:, None]
    ids_BT = np.full(mask_BT.shape, pad_id, dtype=np.int64)
    ids_BT[mask_BT] = np.concatenate(rows)
    return ids_BT, mask_BT.astype(np.int64)
