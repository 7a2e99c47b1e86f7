"""Token batches made ready ahead of the step that takes them, by a thread.

What it gives is a function of the step alone, so neither how far it is ahead nor where it begins matters.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import torch

from xling.batching.negatives import NegativeDraw
from xling.batching.plan import Batch, Plan
from xling.batching.sampler import Chunking, PairTokens, TextBatch, collate, rank_slice

AHEAD = 2  # batches made ready: one would do if all took as long to make

# What a chunk costs beside its tokens, in tokens. On a CPU of 384 dimensions 32 to 128 trained fastest
# (docs/training.md); a GPU waits for a chunk's kernels to be launched.
OVERHEAD = {"cpu": 64, "cuda": 2048}


@dataclass(frozen=True, slots=True)
class Texts:
    """Where a rank's batches come from."""

    plan: Plan
    tokens: PairTokens
    pad_id: int
    rank: int = 0
    world_size: int = 1
    negatives: int = 0  # hard negatives a pair
    draw: NegativeDraw | None = None  # of those
    longest: int | None = None  # tokens that the encoder takes; None where it has no limit

    def at(self, step: int, chunk_size: int | None, device: torch.device) -> tuple[Batch, TextBatch]:
        """The whole batch of a step, and this rank's texts of it."""
        batch = self.plan.batch(step)
        chunking = Chunking(
            self.pad_id,
            OVERHEAD.get(device.type, OVERHEAD["cuda"]),
            chunk_size,
            multiple_of=1 if device.type == "cpu" else 8,
            longest=self.longest,
        )
        share = rank_slice(batch, self.rank, self.world_size)
        return batch, collate(self.tokens, share, chunking, draw=self.draw, negatives=self.negatives)


class Loader:
    """Batches of consecutive steps; a context manager that ends its thread."""

    def __init__(self, texts: Texts, chunk_size: int | None, device: torch.device, *, first: int, stop: int) -> None:
        """Args: first, stop: the steps [first, stop) are asked for, in order, maybe not all."""
        self._texts, self._chunk_size, self._device = texts, chunk_size, device
        self._next, self._stop = first, stop
        self._ready: deque[Future[tuple[Batch, TextBatch]]] = deque()
        self._pool = ThreadPoolExecutor(1, "loader")

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def ready(self) -> TextBatch:
        """Wait for the texts that the next :meth:`take` gives."""
        self._fetch()
        return self._ready[0].result()[1]

    def take(self) -> tuple[Batch, TextBatch]:
        """The next step's batch and this rank's texts of it."""
        self._fetch()
        return self._ready.popleft().result()

    def _fetch(self) -> None:
        while len(self._ready) <= AHEAD and self._next < self._stop:
            self._ready.append(self._pool.submit(self._texts.at, self._next, self._chunk_size, self._device))
            self._next += 1
