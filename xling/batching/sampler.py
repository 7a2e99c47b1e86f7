"""A rank's slice of a batch, and its texts as padded chunks of like length.

Shape suffixes: B pairs of the slice, H hard negatives of the slice (K places a pair), C texts of a chunk,
T tokens of its longest text, X = 2 B + the hard negatives there are: queries, then passages, then those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xling.batching.chunks import cut_by_length
from xling.batching.negatives import NegativeDraw
from xling.batching.plan import Batch

Int64Array = npt.NDArray[np.int64]

NO_NEGATIVE = -1  # key of a place without a hard negative


class PairTokens(Protocol):
    """Token ids by item and language index, special tokens included."""

    def query(self, item: int, language: int, /) -> npt.NDArray[np.int32]: ...

    def passage(self, item: int, language: int, /) -> npt.NDArray[np.int32]: ...

    def negative_rows(self, item: int, language: int, /) -> range: ...

    def negative(self, row: int, /) -> npt.NDArray[np.int32]: ...


@dataclass(frozen=True, slots=True)
class Chunking:
    """How texts are cut and padded."""

    pad_id: int
    overhead: int  # of a chunk, in tokens: see ``cut_by_length``
    most: int | None = None  # texts a chunk
    multiple_of: int = 1  # lengths are rounded up to a multiple of this
    longest: int | None = None  # but not above this: the encoder has no positions there


@dataclass(frozen=True, slots=True)
class Chunk:
    """Texts that are encoded together. Arrays are int64; the mask is 1 on tokens and 0 on padding."""

    texts_C: Int64Array  # which of the X
    ids_CT: Int64Array
    mask_CT: Int64Array


@dataclass(frozen=True, slots=True)
class TextBatch:
    """What the encoder is given for one step, and what the loss must know of it."""

    chunks: tuple[Chunk, ...]
    tokens: int  # padding left out
    passage_keys_B: Int64Array  # equal for equal passages on all ranks
    negative_keys_H: Int64Array  # likewise; NO_NEGATIVE where a pair has fewer than K

    @property
    def pairs(self) -> int:
        return len(self.passage_keys_B)


def rank_slice(batch: Batch, rank: int, world_size: int) -> Batch:
    """The rank's share of a batch: contiguous, so that shares in rank order are the whole batch."""
    size = len(batch.items_B)
    assert 0 <= rank < world_size, f"rank {rank} of {world_size}"
    assert size % world_size == 0, f"a batch of {size} does not divide by {world_size} ranks"
    share = slice(rank * size // world_size, (rank + 1) * size // world_size)
    return replace(
        batch,
        items_B=batch.items_B[share],
        query_languages_B=batch.query_languages_B[share],
        passage_languages_B=batch.passage_languages_B[share],
        passage_keys_B=batch.passage_keys_B[share],
    )


def collate(
    tokens: PairTokens, batch: Batch, chunking: Chunking, *, draw: NegativeDraw | None = None, negatives: int = 0
) -> TextBatch:
    """Fetch the texts of a batch, or of a rank's slice, cut them by length and pad them.

    How a batch is cut changes neither what is in it nor what its loss is, but for rounding.

    Args:
        tokens: where the token ids are.
        draw: chooses hard negatives; needed with ``negatives``.
        negatives: K, hard negatives a pair at most.
    """
    items, query_languages = batch.items_B.tolist(), batch.query_languages_B.tolist()
    passage_languages = batch.passage_languages_B.tolist()
    texts = [tokens.query(*pair) for pair in zip(items, query_languages, strict=True)]
    texts += [tokens.passage(*pair) for pair in zip(items, passage_languages, strict=True)]
    keys_BK = np.full((len(items), negatives), NO_NEGATIVE, np.int64)
    if negatives:
        assert draw is not None, "hard negatives need somebody to draw them"
        for place, (item, language) in enumerate(zip(items, passage_languages, strict=True)):
            rows, positive = tokens.negative_rows(item, language), int(batch.passage_keys_B[place])
            drawn = draw.draw(batch.step, item, rows, positive, negatives)
            keys_BK[place, : len(drawn)] = draw.keys[drawn]
            texts += [tokens.negative(row) for row in drawn.tolist()]
    lengths_X = np.asarray([len(text) for text in texts], np.int64)
    chunks = []
    for texts_C in cut_by_length(lengths_X, overhead=chunking.overhead, most=chunking.most):
        of_chunk = [texts[x] for x in texts_C.tolist()]
        ids_CT, mask_CT = pad(of_chunk, chunking.pad_id, chunking.multiple_of, chunking.longest)
        chunks.append(Chunk(texts_C, ids_CT, mask_CT))
    return TextBatch(tuple(chunks), int(lengths_X.sum()), batch.passage_keys_B, keys_BK.reshape(-1))


def pad(
    rows: Sequence[npt.NDArray[np.int32]], pad_id: int, multiple_of: int = 1, longest: int | None = None
) -> tuple[Int64Array, Int64Array]:
    """Rows of token ids as one array BT, padded on the right, with its mask BT. Args: as ``Chunking`` has them."""
    lengths_B = np.asarray([len(row) for row in rows], dtype=np.int64)
    width = -(-int(lengths_B.max()) // multiple_of) * multiple_of
    if longest is not None:
        width = min(width, longest)
    mask_BT = np.arange(width) < lengths_B[:, None]
    ids_BT = np.full(mask_BT.shape, pad_id, dtype=np.int64)
    ids_BT[mask_BT] = np.concatenate(rows)
    return ids_BT, mask_BT.astype(np.int64)
