"""Which source each step draws from, and how often that source was drawn before.

Shape suffixes: T steps, S sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xling.batching.counter_hash import counter_hash, uniform
from xling.batching.sources import KINDS, Source, share_of
from xling.config.schema import MixConfig

KIND_STREAM = 0  # u_t
SOURCE_STREAM = 1  # v_t

_FIRST_SPAN = 4096  # steps drawn at the first look
_CHUNK = 1 << 18  # steps drawn at once: bounds the memory of the draws


class Schedule:
    """Kind by u_t, source by v_t; neither depends on the mix, so mixes share random numbers.

    Steps are counted in one vectorised pass over 0..t, kept, and doubled when a later step is
    asked for. So starting at any step costs one pass and gives what walking there would have.
    """

    def __init__(self, *, seed: int, mix: MixConfig, sources: Sequence[Source]) -> None:
        """Args: sources: those to draw from, grouped by kind in the order of ``KINDS``."""
        assert len(sources) < 2**15, "sources are numbered in 16 bits"
        self._seed = seed
        self._sources = tuple(sources)
        self._bounds_K = _kind_bounds(mix)
        self._bounds_S = [_source_bounds(sources, kind) for kind in KINDS]
        self._source_T: npt.NDArray[np.int16] = np.empty(0, dtype=np.int16)
        self._earlier_T: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._drawn_S = np.zeros(len(sources), dtype=np.int64)

    def at(self, step: int) -> tuple[int, int]:
        """The index of the source of ``step``, and the number of earlier steps that had the same."""
        assert step >= 0, f"step {step} is negative"
        self._reach(step + 1)
        return int(self._source_T[step]), int(self._earlier_T[step])

    def sources_between(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """Indices of the sources of steps ``start`` up to, not including, ``stop``."""
        self._reach(stop)
        return self._source_T[start:stop]

    def counts(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Steps in [start, stop) by source."""
        return np.bincount(self.sources_between(start, stop), minlength=len(self._sources)).astype(np.int64)

    def _reach(self, stop: int) -> None:
        known = len(self._source_T)
        if stop <= known:
            return
        stop = max(stop, 2 * known, _FIRST_SPAN)
        source_parts, earlier_parts = [self._source_T], [self._earlier_T]
        for start in range(known, stop, _CHUNK):
            source_T = self._draw(start, min(start + _CHUNK, stop))
            source_parts.append(source_T)
            earlier_parts.append(self._count_earlier(source_T))
        self._source_T = np.concatenate(source_parts)
        self._earlier_T = np.concatenate(earlier_parts)

    def _draw(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        steps_T = np.arange(start, stop, dtype=np.uint64)
        u_T = uniform(counter_hash(self._seed, KIND_STREAM, steps_T))
        v_T = uniform(counter_hash(self._seed, SOURCE_STREAM, steps_T))
        kind_T = np.searchsorted(self._bounds_K, u_T, side="right")
        source_T = np.empty(stop - start, dtype=np.int16)
        first = 0  # index of the kind's first source
        for kind, bounds_S in enumerate(self._bounds_S):
            of_kind_T = kind_T == kind
            source_T[of_kind_T] = first + np.searchsorted(bounds_S, v_T[of_kind_T], side="right")
            first += len(bounds_S)
        return source_T

    def _count_earlier(self, source_T: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
        """Rank of each step among those of its source, counting on from the chunks before."""
        order_T = np.argsort(source_T, kind="stable")
        counts_S = np.bincount(source_T, minlength=len(self._sources))
        firsts_S = np.cumsum(counts_S) - counts_S
        earlier_T = np.empty(len(source_T), dtype=np.int64)
        earlier_T[order_T] = np.arange(len(source_T)) + np.repeat(self._drawn_S - firsts_S, counts_S)
        self._drawn_S = self._drawn_S + counts_S
        return earlier_T


def _kind_bounds(mix: MixConfig) -> npt.NDArray[np.float64]:
    """Upper bounds of u for each kind. The last kind with a share ends at 1, whatever the sum rounds to."""
    shares = [share_of(mix, kind) for kind in KINDS]
    bounds_K = np.cumsum(np.asarray(shares, dtype=np.float64))
    last = max(index for index, share in enumerate(shares) if share > 0)
    bounds_K[last:] = 1.0
    return bounds_K


def _source_bounds(sources: Sequence[Source], kind: str) -> npt.NDArray[np.float64]:
    """Upper bounds of v for each source of a kind, the last one exactly 1."""
    bounds_S = np.cumsum([source.probability for source in sources if source.kind == kind], dtype=np.float64)
    bounds_S[-1:] = 1.0
    return bounds_S
