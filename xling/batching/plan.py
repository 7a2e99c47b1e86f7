"""The mixing plan: which items, in which languages, make up the batch of each step.

A pure function of (data, mix, batch size, seed, step): nothing has to be replayed to start at a
step, every rank computes the same batch, and runs that differ in their mix only share their random
numbers. Monolingual batches with one probability and cross-lingual ones with the rest are hybrid
batch training (arXiv 2408.10536).

Shape suffixes: B items of a batch, I items, L languages, N items of a source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xling.batching.composition import Composition, SetCounts, SourceCounts
from xling.batching.counter_hash import UInt64Array, counter_hash, hash_texts, uniform
from xling.batching.epoch import Epoch
from xling.batching.passages import passage_keys_for
from xling.batching.schedule import Schedule
from xling.batching.sources import DRAWN, KINDS, SetShare, Source, divide
from xling.config.schema import MixConfig
from xling.data.records import TrainingSet
from xling.errors import DataError

__all__ = ["KINDS", "Batch", "Composition", "Plan", "Source", "plan_for"]

Int64Array = npt.NDArray[np.int64]

ORDER_STREAM = 2
LANGUAGE_STREAM = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """The pairs of one step, or a rank's slice of them. Arrays are int64."""

    step: int
    kind: str  # one of KINDS
    source: str  # its label
    items_B: Int64Array
    query_languages_B: Int64Array
    passage_languages_B: Int64Array
    passage_keys_B: Int64Array  # equal for equal passages, whatever the rank or step


class Plan:
    """The batches of a run. See the module's text; the algorithm is design decision 4."""

    def __init__(
        self,
        *,
        item_ids: Sequence[str],
        languages: Sequence[str],
        passages_IL: Int64Array,
        mix: MixConfig,
        batch_size: int,
        seed: int,
        sets: Sequence[SetShare] = (),
    ) -> None:
        """
        Args:
            item_ids: unique; batches depend on the ids, not on the items' positions.
            languages: codes of the columns.
            passages_IL: the passage of each item in each language, equal numbers for the same
                passage, -1 where the item lacks the language.
            mix: shares of the kinds.
            batch_size: pairs a step, over all ranks.
            seed: any integer, taken modulo 2^64.
            sets: where the items are of several training sets: these, in the items' order.

        Raises:
            DataError: ids repeat, or a kind with a share has no source of ``batch_size`` items.
        """
        assert passages_IL.shape == (len(item_ids), len(languages)), "passages_IL is not items x languages"
        assert batch_size > 0
        assert not sets or sum(share.items for share in sets) == len(item_ids), "sets do not add up to the items"
        self.item_ids = item_ids
        self.languages = tuple(languages)
        self.mix = mix
        self.batch_size = batch_size
        self.seed = seed
        self.sets = tuple(sets)
        self._passages_IL = passages_IL.astype(np.int64, copy=False)
        self._has_IL = self._passages_IL >= 0
        self._ids_I = _hash_ids(item_ids)
        self.sources, excluded = divide(self._has_IL, self.languages, mix, batch_size, self.sets)
        self.excluded: tuple[tuple[str, int], ...] = tuple((source.label, source.items) for source in excluded)
        self._source_words = [int(word) for word in hash_texts(source.label for source in self.sources)]
        self._schedule = Schedule(seed=seed, mix=mix, sources=self.sources)
        self._open: dict[int, tuple[int, Epoch]] = {}  # by source: the epoch last drawn from

    def batch(self, step: int) -> Batch:
        """The batch of ``step``, from 0 on."""
        index, earlier = self._schedule.at(step)
        source = self.sources[index]
        epoch, number = divmod(earlier, self._batches_an_epoch(index))
        items_B = self._epoch(index, epoch).batch(number)
        query_languages_B, passage_languages_B = self._languages_of(source, step, items_B)
        return Batch(
            step=step,
            kind=source.kind,
            source=source.label,
            items_B=items_B,
            query_languages_B=query_languages_B,
            passage_languages_B=passage_languages_B,
            passage_keys_B=self._passages_IL[items_B, passage_languages_B],
        )

    def composition(self, start: int, stop: int) -> Composition:
        """Count what the steps [start, stop) are made of.

        Counting conflicts lays out all their batches, other counts are vectorised.
        """
        assert 0 <= start <= stop, f"[{start}, {stop}) is no stretch of steps"
        before_S, within_S = self._schedule.counts(0, start), self._schedule.counts(start, stop)
        kinds = dict.fromkeys(KINDS, 0)
        sources: dict[str, SourceCounts] = {}
        for index, source in enumerate(self.sources):
            first, count = int(before_S[index]), int(within_S[index])
            kinds[source.kind] += count
            sources[source.label] = self._count(index, first, first + count)
        batches = Counter({source.set: 0 for source in self.sources})
        for source in self.sources:
            batches[source.set] += sources[source.label].batches
        sets = {
            s.name: SetCounts(s.items, s.weight, batches[s.name], batches[s.name] * self.batch_size) for s in self.sets
        }
        return Composition(start, stop, self.batch_size, kinds, sources, dict(self.excluded), sets)

    def _count(self, index: int, first: int, end: int) -> SourceCounts:
        """Counts over the batches ``first`` to ``end - 1`` of a source."""
        source, period = self.sources[index], self._batches_an_epoch(index)
        ended = end // period - first // period
        conflicts = 0
        for epoch in range(first // period, -(-end // period)):
            start, stop = max(first - epoch * period, 0), min(end - epoch * period, period)
            conflicts += self._epoch(index, epoch).conflicts(start, stop) if start < stop else 0
        return SourceCounts(
            kind=source.kind,
            items=source.items,
            batches=end - first,
            epochs_begun=-(-end // period) + -first // period,
            repeated=(max(end, period) - max(first, period)) * self.batch_size,
            dropped=ended * (source.items - period * self.batch_size),
            conflicts=conflicts,
        )

    def _batches_an_epoch(self, index: int) -> int:
        return self.sources[index].items // self.batch_size

    def _epoch(self, index: int, epoch: int) -> Epoch:
        number, opened = self._open.get(index, (-1, None))
        if opened is None or number != epoch:
            opened = self._begin(index, epoch)
            self._open[index] = (epoch, opened)
        return opened

    def _begin(self, index: int, epoch: int) -> Epoch:
        source = self.sources[index]
        members_N = source.members(self._has_IL)
        hashes_N = counter_hash(self.seed, ORDER_STREAM, self._source_words[index], epoch, self._ids_I[members_N])
        column = source.passage_language
        # where languages are drawn for each item, two conflict that share a passage in any language
        keys_IC = self._passages_IL if column == DRAWN else self._passages_IL[:, column : column + 1]
        return Epoch(members_N[np.argsort(hashes_N)], keys_IC, self.batch_size)

    def _languages_of(self, source: Source, step: int, items_B: Int64Array) -> tuple[Int64Array, Int64Array]:
        if source.query_language != DRAWN:
            return np.full_like(items_B, source.query_language), np.full_like(items_B, source.passage_language)
        u_B = uniform(counter_hash(self.seed, LANGUAGE_STREAM, step, self._ids_I[items_B]))
        has_BL = self._has_IL[items_B]
        counts_B = has_BL.sum(axis=1)
        if source.kind == "mixed_monolingual":
            languages_B = _nth_language(has_BL, (u_B * counts_B).astype(np.int64))
            return languages_B, languages_B
        # the k (k - 1) ordered pairs of different languages, numbered by query, then passage
        query_B, passage_B = np.divmod((u_B * (counts_B * (counts_B - 1))).astype(np.int64), counts_B - 1)
        passage_B += passage_B >= query_B
        return _nth_language(has_BL, query_B), _nth_language(has_BL, passage_B)


def plan_for(
    training: TrainingSet,
    mix: MixConfig,
    batch_size: int,
    seed: int,
    names: bool = False,
    weights: Sequence[float] | None = None,
) -> Plan:
    """The plan over a training set's items, or over its parallel names.

    Args:
        weights: of the sets that ``training`` was merged from, all 1 by default; names have none.

    Raises:
        DataError: as :class:`Plan`; or ``names`` is asked for and the set has none.
    """
    if names and not training.names:
        raise DataError(
            f"data set {training.name} has 0 parallel names, a warm start needs some; "
            f"remove model.warm_start or train on a data set with names"
        )
    items = training.names if names else training.items
    sets = () if names else training.sets
    return Plan(
        item_ids=[item.id for item in items],
        languages=training.languages,
        passages_IL=passage_keys_for(training, names=names),
        mix=mix,
        batch_size=batch_size,
        seed=seed,
        sets=[SetShare(*of, weight) for of, weight in zip(sets, weights or [1.0] * len(sets), strict=True)],
    )


def _nth_language(has_BL: npt.NDArray[np.bool_], nth_B: Int64Array) -> Int64Array:
    """Index of each row's n-th language, counting those it has from 0."""
    reached_BL = np.cumsum(has_BL, axis=1) > nth_B[:, None]
    return np.asarray(reached_BL.argmax(axis=1), dtype=np.int64)


def _hash_ids(item_ids: Sequence[str]) -> UInt64Array:
    ids_I = hash_texts(item_ids)
    if len(np.unique(ids_I)) < len(ids_I):
        repeated, times = Counter(item_ids).most_common(1)[0]
        assert times > 1, "two different item ids have one 64-bit hash"
        raise DataError(f"item id {repeated!r} occurs {times} times, ids must be unique; rename the items")
    return ids_I
