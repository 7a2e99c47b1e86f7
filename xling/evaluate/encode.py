"""Texts to unit vectors.

Shapes: X texts, B texts of a batch, T tokens, D embedding.

Batches are cut from the whole list before any work is shared out, and shares are whole batches:
padding changes the last bits of a vector, so a text must be padded alike however many encode.
Texts of the same tokens are encoded once.
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


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What is encoded together.

    ``batches`` hold text numbers; of texts with the same tokens only the first is in one.
    ``first_X`` names it for every text.
    """

    batches: list[Indices]
    first_X: Indices

    @property
    def texts(self) -> int:
        """How many are encoded."""
        return sum(len(batch) for batch in self.batches)

    def in_text_order(self, vectors: Embeddings) -> Embeddings:
        """A vector for every text, from those in the order of the batches."""
        row_X = np.zeros(len(self.first_X), np.int64)
        if self.batches:
            row_X[np.concatenate(self.batches)] = np.arange(len(vectors))
        return vectors[row_X[self.first_X]]


def plan_batches(tokens: FlatTokens, batch_size: int, batch_tokens: int) -> BatchPlan:
    """Cut texts into batches of like length, longest first, so that little is padded.

    The plan depends on nothing but the arguments.

    Args:
        batch_size: most texts a batch.
        batch_tokens: most tokens a batch, padding included; a longer text makes a batch alone.
    """
    numbers: dict[bytes, int] = {}
    first_X = np.array([numbers.setdefault(tokens[text].tobytes(), text) for text in range(len(tokens))], np.int64)
    lengths_X = tokens.lengths
    distinct = np.fromiter(numbers.values(), np.int64, len(numbers))
    order = distinct[np.argsort(-lengths_X[distinct], kind="stable")]
    batches = []
    start = 0
    while start < len(order):
        size = max(1, min(batch_size, batch_tokens // max(1, int(lengths_X[order[start]]))))
        batches.append(order[start : start + size])
        start += size
    return BatchPlan(batches, first_X)


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
    """Encode whole batches on the encoder's device, without dropout; on a GPU in bf16 where it can.

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
        with torch.inference_mode(), _autocast(device):
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


def _autocast(device: torch.device) -> torch.autocast:
    in_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bf16)


def encode(
    encoder: nn.Module,
    tokens: FlatTokens,
    *,
    batch_size: int,
    batch_tokens: int,
    pad_id: int,
    progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Encode all texts, the same ones once.

    Args:
        progress: told how many are done and how many there are, after each batch.

    Returns:
        Vectors XD in the order of ``tokens``, of unit length, float32.
    """
    plan = plan_batches(tokens, batch_size, batch_tokens)
    tell = None if progress is None else lambda done: progress(done, plan.texts)
    return plan.in_text_order(encode_batches(encoder, tokens, plan.batches, pad_id, tell))
