"""Which source each step draws from, and how often that source was drawn before.

Shape suffixes: K kinds, T steps, S sources, of a kind or of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xling.batching.counter_hash import counter_hash, uniform
from xling.batching.shares import KINDS, bounds_at, shares_at
from xling.batching.sources import Source
from xling.config.schema import MixConfig
from xling.errors import DataError

Int64Array = npt.NDArray[np.int64]

KIND_STREAM = 0  # u_t
SOURCE_STREAM = 1  # v_t

_FIRST_SPAN = 4096  # steps drawn at the first look
_CHUNK = 1 << 18  # steps drawn at once: bounds the memory of the draws
_PIECE = 1 << 14  # steps drawn at once where sources may leave: what is drawn beyond such an event is drawn again


class Schedule:
    """Kind by u_t, source by v_t; neither depends on the mix, so mixes share random numbers.

    Steps are counted in one vectorised pass over 0..t, kept, and doubled when a later step is
    asked for. So starting at any step costs one pass and gives what walking there would have.
    """

    def __init__(
        self,
        *,
        seed: int,
        mix: MixConfig,
        sources: Sequence[Source],
        total_steps: int,
        limits_S: Int64Array | None = None,
    ) -> None:
        """
        Args:
            sources: those to draw from, grouped by kind in the order of ``KINDS``.
            total_steps: what the positions of a share's schedule are shares of.
            limits_S: how many steps may draw from each source; None for any number. With limits,
                there are no steps beyond ``total_steps``.

        Raises:
            DataError: the sources of a kind cannot give as many batches as are drawn of it.
        """
        assert len(sources) < 2**15, "sources are numbered in 16 bits"
        self._seed = seed
        self._mix = mix
        self._total_steps = total_steps
        self._count = len(sources)
        self._limited = limits_S is not None
        self._draws = [_Draws(sources, kind, limits_S) for kind in KINDS]
        self._source_T: npt.NDArray[np.int16] = np.empty(0, dtype=np.int16)
        self._earlier_T: Int64Array = np.empty(0, dtype=np.int64)
        self._drawn_S = np.zeros(len(sources), dtype=np.int64)
        if limits_S is not None:
            self._require_enough(sources, limits_S)

    def at(self, step: int) -> tuple[int, int]:
        """The index of the source of ``step``, and the number of earlier steps that had the same."""
        assert step >= 0, f"step {step} is negative"
        self._reach(step + 1)
        return int(self._source_T[step]), int(self._earlier_T[step])

    def sources_between(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """Indices of the sources of steps ``start`` up to, not including, ``stop``."""
        self._reach(stop)
        return self._source_T[start:stop]

    def counts(self, start: int, stop: int) -> Int64Array:
        """Steps in [start, stop) by source."""
        return np.bincount(self.sources_between(start, stop), minlength=self._count).astype(np.int64)

    def steps_of(self, index: int, start: int, stop: int) -> Int64Array:
        """The steps in [start, stop) that draw from a source."""
        return np.flatnonzero(self.sources_between(start, stop) == index) + start

    def asked(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Steps in [start, stop) by kind, as their shares ask for. K."""
        steps_T = np.arange(start, stop)
        shares_KT = shares_at(self._mix, steps_T, self._total_steps)
        return np.asarray(np.broadcast_to(shares_KT, (len(KINDS), len(steps_T))).sum(axis=1))

    def _reach(self, stop: int) -> None:
        known = len(self._source_T)
        if stop <= known:
            return
        assert not self._limited or stop <= self._total_steps, f"step {stop - 1} is beyond the budget"
        stop = max(stop, 2 * known, _FIRST_SPAN)
        if self._limited:
            stop = min(stop, self._total_steps)
        source_parts, earlier_parts = [self._source_T], [self._earlier_T]
        for start in range(known, stop, _CHUNK):
            source_T = self._draw(start, min(start + _CHUNK, stop))
            source_parts.append(source_T)
            earlier_parts.append(self._count_earlier(source_T))
        self._source_T = np.concatenate(source_parts)
        self._earlier_T = np.concatenate(earlier_parts)

    def _draw(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        kind_T = self._kinds(start, stop)
        v_T = uniform(counter_hash(self._seed, SOURCE_STREAM, np.arange(start, stop, dtype=np.uint64)))
        source_T = np.empty(stop - start, dtype=np.int16)
        for kind, draws in enumerate(self._draws):
            of_kind_T = kind_T == kind
            source_T[of_kind_T] = draws.take(v_T[of_kind_T])
        return source_T

    def _kinds(self, start: int, stop: int) -> npt.NDArray[np.int8]:
        """Indices of the steps' kinds: how many bounds each u_t has reached."""
        steps_T = np.arange(start, stop, dtype=np.uint64)
        u_T = uniform(counter_hash(self._seed, KIND_STREAM, steps_T))
        bounds_KT = bounds_at(self._mix, steps_T, self._total_steps)
        return np.asarray((u_T >= bounds_KT).sum(axis=0), dtype=np.int8)

    def _count_earlier(self, source_T: npt.NDArray[np.int16]) -> Int64Array:
        """Rank of each step among those of its source, counting on from the chunks before."""
        order_T = np.argsort(source_T, kind="stable")
        counts_S = np.bincount(source_T, minlength=self._count)
        firsts_S = np.cumsum(counts_S) - counts_S
        earlier_T = np.empty(len(source_T), dtype=np.int64)
        earlier_T[order_T] = np.arange(len(source_T)) + np.repeat(self._drawn_S - firsts_S, counts_S)
        self._drawn_S = self._drawn_S + counts_S
        return earlier_T

    def _require_enough(self, sources: Sequence[Source], limits_S: Int64Array) -> None:
        """Refuse limits that a kind reaches, with all its sources, before the budget's end."""
        starts = range(0, self._total_steps, _CHUNK)
        kind_T = np.concatenate(
            [np.empty(0, np.int8), *(self._kinds(at, min(at + _CHUNK, self._total_steps)) for at in starts)]
        )
        for index, kind in enumerate(KINDS):
            own = [limit for source, limit in zip(sources, limits_S.tolist(), strict=True) if source.kind == kind]
            steps = np.flatnonzero(kind_T == index)
            if len(steps) > sum(own):
                epochs = self._mix.max_epochs or 1
                enough = -(-len(steps) * epochs // sum(own))
                raise DataError(
                    f"mix.max_epochs is {epochs}, must leave batches for the whole budget: {len(steps):,} of its "
                    f"{self._total_steps:,} steps are {kind}, and {_count(len(own), 'source')} can give {sum(own):,}, "
                    f"until step {steps[sum(own)]:,}; raise mix.max_epochs to {enough}, or shorten train.budget"
                )


class _Draws:
    """The sources of one kind, drawn in the order of its steps: one that has given all it may leaves the draw.

    Between two such events all steps are drawn at once. Where the events lie is a matter of the
    v_t alone, so it does not depend on how many steps are asked for at a time.
    """

    def __init__(self, sources: Sequence[Source], kind: str, limits_S: Int64Array | None) -> None:
        own = [index for index, source in enumerate(sources) if source.kind == kind]
        self._first = own[0] if own else 0
        self._probability_S = np.asarray([sources[index].probability for index in own], dtype=np.float64)
        self._room_S = None if limits_S is None else limits_S[own]
        self._bounds_S = self._bounds()

    def take(self, v_T: npt.NDArray[np.float64]) -> Int64Array:
        """Indices, among all sources, of those that the kind's next steps draw."""
        if self._room_S is None:
            return self._first + np.searchsorted(self._bounds_S, v_T, side="right")
        parts = [np.empty(0, np.int64)]
        while len(v_T):
            drawn_T = np.searchsorted(self._bounds_S, v_T[:_PIECE], side="right")
            drawn_T = drawn_T[: _until_one_is_empty(drawn_T, self._room_S)]
            self._room_S = self._room_S - np.bincount(drawn_T, minlength=len(self._room_S))
            self._bounds_S = self._bounds()
            parts.append(self._first + drawn_T)
            v_T = v_T[len(drawn_T) :]
        return np.concatenate(parts)

    def _bounds(self) -> npt.NDArray[np.float64]:
        """Upper bounds of v for each source that is in the draw, the last one's exactly 1."""
        if self._room_S is None or (self._room_S > 0).all():
            bounds_S = np.cumsum(self._probability_S)
            bounds_S[-1:] = 1.0
            return bounds_S
        left_S = np.where(self._room_S > 0, self._probability_S, 0.0)
        last = int(np.flatnonzero(self._room_S > 0).max(initial=0))
        bounds_S = np.cumsum(left_S) / max(left_S.sum(), np.finfo(np.float64).tiny)
        bounds_S[last:] = 1.0
        return np.asarray(bounds_S)


def _until_one_is_empty(drawn_T: Int64Array, room_S: Int64Array) -> int:
    """How many of the draws pass until a source has given all it may: that many are drawn as they stand."""
    counts_S = np.bincount(drawn_T, minlength=len(room_S))
    assert (counts_S[room_S == 0] == 0).all(), "no source of the kind is left, and the plan has steps of it"
    emptied = np.flatnonzero((counts_S >= room_S) & (room_S > 0))
    return min((int(np.flatnonzero(drawn_T == s)[room_S[s] - 1]) + 1 for s in emptied), default=len(drawn_T))


def _count(number: int, noun: str) -> str:
    return f"its {number} {noun}s" if number != 1 else f"its one {noun}"
