"""The dev measure during training, its encoding and scoring shared by the training's ranks.

Shapes: X texts, D embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch.distributed as dist
from torch import nn

from xling.data.stored import load_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.encode import FlatTokens, encode_batches, in_text_order, plan_batches, share_batches
from xling.evaluate.layout import build_layout
from xling.evaluate.result import build_result, dev_measure
from xling.evaluate.scoring import require_finite, score_language
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage

if TYPE_CHECKING:
    from xling.model.source import LoadedModel

Part = TypeVar("Part")


class DevScorer:
    """Scores the weights in training on one stored retrieval set.

    Every rank holds one and calls :meth:`score` at the same steps. The value is the same bits on
    every rank and for every number of ranks with equal threads.
    """

    def __init__(
        self, root: Storage, fingerprint: str, start: LoadedModel, rank: int, world_size: int, batch_size: int = 64
    ) -> None:
        """Args: root: storage whose ``data/<fingerprint>`` holds the set; start: for its tokenizer and settings."""
        self._retrieval = load_retrieval(root, fingerprint)
        self._layout = build_layout(self._retrieval)
        digest = tokenizer_digest(start.tokenizer)
        tokens = tokenize_retrieval(root, start.tokenizer, digest, self._retrieval, start.settings)
        self._tokens = FlatTokens.of_retrieval(self._layout, tokens)
        self._batches = plan_batches(self._tokens.lengths, batch_size)
        self._pad_id = int(start.tokenizer.pad_token_id)
        self._rank, self._world_size = rank, world_size

    def score(self, encoder: nn.Module) -> float:
        """The mean of mAP/Mo and mAP/Cr.

        Raises:
            NonFiniteError: the weights give NaN or infinite values; on every rank alike.
        """
        shares = share_batches(self._batches, self._tokens.lengths, self._world_size)
        mine = shares[self._rank] if self._rank < len(shares) else []
        vectors = encode_batches(encoder, self._tokens, mine, self._pad_id) if mine else None
        parts = [part for part in self._gathered(vectors) if part is not None]
        vectors_XD = in_text_order(self._batches, np.concatenate(parts))
        require_finite(self._layout, vectors_XD)
        languages = range(len(self._layout.languages))
        scored = {
            language: score_language(self._layout, language, vectors_XD, None)
            for language in languages[self._rank :: self._world_size]
        }
        scores = {language: one for part in self._gathered(scored) for language, one in part.items()}
        return dev_measure(build_result(self._retrieval, self._layout, [scores[language] for language in languages]))

    def _gathered(self, mine: Part) -> list[Part]:
        """Every rank's part, in the order of ranks."""
        parts = [mine] * self._world_size
        if self._world_size > 1:
            dist.all_gather_object(parts, mine)
        return parts
