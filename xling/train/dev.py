"""The dev measure during training, the work shared by the ranks.

Shapes: X texts, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist

from xling.config.dev_measure import DevMeasure
from xling.config.schema import EvaluationConfig
from xling.data.stored import load_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.encode import Embeddings, FlatTokens, encode_batches, plan_batches
from xling.evaluate.layout import build_layout
from xling.evaluate.pool_loss import PoolLoss
from xling.evaluate.result import build_result, dev_measure
from xling.evaluate.scoring import require_finite, score_language
from xling.model.source import LoadedModel
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage


class DevScorer:
    """Measures an encoder on the dev set: the mean of the monolingual and the cross-lingual mAP, or loss."""

    def __init__(
        self, root: Storage, fingerprint: str, model: LoadedModel, measure: DevMeasure, rank: int, world_size: int
    ) -> None:
        """Args: fingerprint: of a set that is on storage (data/stored.py)."""
        self._retrieval = load_retrieval(root, fingerprint)
        digest = tokenizer_digest(model.tokenizer)
        tokens = tokenize_retrieval(root, model.tokenizer, digest, self._retrieval, model.settings)
        self._layout = build_layout(self._retrieval)
        self._tokens = FlatTokens.of_retrieval(self._layout, tokens)
        defaults = EvaluationConfig()
        self._plan = plan_batches(self._tokens, defaults.batch_size, defaults.batch_tokens)
        self._model = model
        self._measure = measure
        self._loss = PoolLoss(self._layout, measure.pool) if measure.pool is not None else None
        self._rank, self._world_size = rank, world_size

    @property
    def candidates(self) -> dict[str, int] | None:
        """How many passages of each language the loss is computed over; None for mAP."""
        return self._loss.candidates if self._loss is not None else None

    def score(self, at_work: Callable[[], None]) -> float:
        """Every rank encodes its share of the batches, rank 0 scores, all get the value.

        Args:
            at_work: called after each batch.
        """
        device = next(iter(self._model.encoder.parameters())).device
        mine = self._plan.batches[self._rank :: self._world_size]
        vectors_XD = np.zeros((len(self._tokens), self._model.encoder.dimension), np.float32)
        if mine:
            pad_id = self._model.tokenizer.pad_token_id
            vectors_XD[np.concatenate(mine)] = encode_batches(
                self._model.encoder, self._tokens, mine, pad_id, lambda done: at_work()
            )
        if self._world_size > 1:  # every row is one rank's and zero on the others: a sum is a gather
            shared_XD = torch.from_numpy(vectors_XD).to(device)
            dist.all_reduce(shared_XD)
            vectors_XD = shared_XD.cpu().numpy()
        vectors_XD = vectors_XD[self._plan.first_X]
        require_finite(self._layout, vectors_XD)  # on every rank, so that all of them stop
        value = torch.zeros(1, dtype=torch.float64, device=device)
        if self._rank == 0:
            value[0] = self._value(vectors_XD)
        if self._world_size > 1:
            dist.broadcast(value, src=0)
        return float(value)

    def _value(self, vectors_XD: Embeddings) -> float:
        if self._loss is not None:
            assert self._measure.temperature is not None, "a loss has a temperature"
            return self._loss.value(vectors_XD, self._measure.temperature)
        languages = range(len(self._layout.languages))
        scores = [score_language(self._layout, language, vectors_XD, None) for language in languages]
        return dev_measure(build_result(self._retrieval, self._layout, scores))
