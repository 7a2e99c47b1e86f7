"""Texts to unit vectors.

Shapes: X texts, B texts of a batch, T tokens, D embedding.

Batches are cut from the whole list before any work is shared out, and shares are whole batches:
padding changes the last bits of a vector, so a text must be padded alike however many encode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xling.batching.sampler import pad
from xling.evaluate.layout import Indices, Layout

Embeddings = NDArray[np.float32]


class TextTokens(Protocol):
    """Token ids of a set's texts, special tokens and prefixes in, cut to length: what data/tokenize.py gives."""

    @property
    def queries(self) -> Mapping[str, Sequence[NDArray[np.int32]]]: ...

    @property
    def passages(self) -> Mapping[str, Sequence[NDArray[np.int32]]]: ...


@dataclass(frozen=True, slots=True)
class FlatTokens:
    """All texts' token ids in one array: cheap to send to another process, and mapped there."""

    values: NDArray[np.int32]
    offsets: Indices

    @classmethod
    def of(cls, texts: Sequence[NDArray[np.int32]]) -> FlatTokens:
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        values = np.concatenate(texts) if len(texts) else np.empty(0, np.int32)
        return cls(values.astype(np.int32, copy=False), offsets)

    @classmethod
    def of_retrieval(cls, layout: Layout, tokens: TextTokens) -> FlatTokens:
        """The texts in the layout's numbering."""
        roles = (tokens.queries, tokens.passages)
        flat = cls.of([text for role in roles for language in layout.languages for text in role[language]])
        assert len(flat) == layout.query_count + len(layout.passage_ids), "tokens of another retrieval set"
        return flat

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, text: int) -> NDArray[np.int32]:
        return self.values[self.offsets[text] : self.offsets[text + 1]]

    @property
    def lengths(self) -> Indices:
        return np.diff(self.offsets)


def plan_batches(lengths_X: Indices, batch_size: int) -> list[Indices]:
    """Cut texts into batches of like length, longest first, so that little is padded.

    Returns:
        Text numbers a batch. They depend on nothing but the arguments.
    """
    order = np.argsort(-lengths_X, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def share_batches(batches: Sequence[Indices], lengths_X: Indices, count: int) -> list[list[Indices]]:
    """Cut the batches, whole and in order, into at most ``count`` shares of about equal padded tokens."""
    cost = np.cumsum([len(batch) * int(lengths_X[batch].max()) for batch in batches])
    cuts = np.searchsorted(cost, cost[-1] * np.arange(1, count) / count) + 1
    edges = sorted({0, *(int(cut) for cut in cuts if cut < len(batches)), len(batches)})
    return [list(batches[start:stop]) for start, stop in pairwise(edges)]


def encode_batches(
    encoder: nn.Module,
    tokens: FlatTokens,
    batches: Sequence[Indices],
    pad_id: int,
    progress: Callable[[int], None] | None = None,
) -> Embeddings:
    """Encode whole batches on the encoder's device, without dropout.

    Args:
        progress: told the number of texts done so far after each batch.

    Returns:
        Vectors in the order of ``batches``, of unit length, float32.
    """
    device = next(encoder.parameters()).device
    was_training = encoder.training
    encoder.train(False)
    parts: list[Embeddings] = []
    done = 0
    try:
        with torch.inference_mode():
            for batch in batches:
                ids_BT, mask_BT = pad([tokens[text] for text in batch.tolist()], pad_id)
                vectors_BD = encoder(torch.from_numpy(ids_BT).to(device), torch.from_numpy(mask_BT).to(device))
                parts.append(vectors_BD.float().cpu().numpy())
                done += len(batch)
                if progress is not None:
                    progress(done)
    finally:
        encoder.train(was_training)
    return np.concatenate(parts)


def encode(
    encoder: nn.Module,
    tokens: FlatTokens,
    *,
    batch_size: int,
    pad_id: int,
    progress: Callable[[int], None] | None = None,
) -> Embeddings:
    """Encode all texts once.

    Returns:
        Vectors XD in the order of ``tokens``, of unit length, float32.
    """
    batches = plan_batches(tokens.lengths, batch_size)
    return in_text_order(batches, encode_batches(encoder, tokens, batches, pad_id, progress))


def in_text_order(batches: Sequence[Indices], vectors: Embeddings) -> Embeddings:
    """Undo the order of the batches."""
    ordered = np.empty_like(vectors)
    ordered[np.concatenate(batches)] = vectors
    return ordered
