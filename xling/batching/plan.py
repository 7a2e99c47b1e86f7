"""The mixing plan: which items, in which languages, make up the batch of each step.

A pure function of (data, mix, batch size, budget, seed, step): nothing has to be replayed to start at a
step, every rank computes the same batch, and runs that differ in their mix only share their random
numbers. Monolingual batches with one probability and cross-lingual ones with the rest are hybrid
batch training (arXiv 2408.10536).

Shape suffixes: B items of a batch, I items, L languages (of two the query's first), N items of a source,
S sources, T steps, X items of any batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xling.batching.composition import Composition, PairCounts, SetCounts, SourceCounts
from xling.batching.counter_hash import UInt64Array, counter_hash, hash_texts, uniform
from xling.batching.epoch import Epoch
from xling.batching.pairs import draw_pairs, expected_pairs, pairs_by_kind
from xling.batching.passages import passage_keys_for
from xling.batching.schedule import Schedule
from xling.batching.shares import KINDS
from xling.batching.sources import DRAWN, SetShare, Source, divide
from xling.config.schema import MixConfig
from xling.data.records import TrainingSet
from xling.errors import DataError
from xling.languages import LangPair

__all__ = ["KINDS", "Batch", "Composition", "Plan", "Source", "plan_for"]

Int64Array = npt.NDArray[np.int64]

ORDER_STREAM = 2
LANGUAGE_STREAM = 3

_ROWS = 1 << 16  # items whose languages are drawn at once in counting


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
    """The batches of a run. See the module's text; docs/mixing.md has the algorithm."""

    def __init__(
        self,
        *,
        item_ids: Sequence[str],
        languages: Sequence[str],
        passages_IL: Int64Array,
        mix: MixConfig,
        batch_size: int,
        total_steps: int,
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
            total_steps: the budget, which positions of a schedule are shares of. Only a schedule and
                ``mix.max_epochs`` make the batches depend on it.
            seed: any integer, taken modulo 2^64.
            sets: where the items are of several training sets: these, in the items' order.

        Raises:
            DataError: ids repeat; a kind with a share has no source of ``batch_size`` items; ``mix.pairs``
                names what the data lack; or ``mix.max_epochs`` leaves too few batches for the budget.
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
        self._pairs = pairs_by_kind(mix, self.languages)
        self.sources, excluded = divide(self._has_IL, self.languages, mix, self._pairs, batch_size, self.sets)
        self.excluded: tuple[tuple[str, int], ...] = tuple((source.label, source.items) for source in excluded)
        self._source_words = [int(word) for word in hash_texts(source.label for source in self.sources)]
        self._limits_S = None
        if mix.max_epochs is not None:
            self._limits_S = mix.max_epochs * np.asarray([source.items // batch_size for source in self.sources])
        self._schedule = Schedule(
            seed=seed, mix=mix, sources=self.sources, total_steps=total_steps, limits_S=self._limits_S
        )
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

        Counting conflicts, and languages drawn by item, lays out all their batches; other counts are vectorised.
        """
        assert 0 <= start <= stop, f"[{start}, {stop}) is no stretch of steps"
        before_S = self._schedule.counts(0, start)
        asked = dict(zip(KINDS, self._schedule.asked(start, stop).tolist(), strict=True))
        kinds = dict.fromkeys(KINDS, 0)
        sources: dict[str, SourceCounts] = {}
        given_LL = np.zeros((len(self.languages), len(self.languages)), dtype=np.int64)
        asked_LL = np.zeros(given_LL.shape)
        for index, source in enumerate(self.sources):
            first, steps_T = int(before_S[index]), self._schedule.steps_of(index, start, stop)
            conflicts, of_source_LL = self._lay_out(index, first, steps_T)
            expected = asked[source.kind] * source.probability
            kinds[source.kind] += len(steps_T)
            sources[source.label] = self._count(index, first, first + len(steps_T), expected, conflicts)
            given_LL += of_source_LL
            asked_LL += self._pairs_asked(source) * expected * self.batch_size
        batches = Counter({source.set: 0 for source in self.sources})
        for source in self.sources:
            batches[source.set] += sources[source.label].batches
        sets = {
            s.name: SetCounts(s.items, s.weight, batches[s.name], batches[s.name] * self.batch_size) for s in self.sets
        }
        pairs = {
            str(LangPair(self.languages[q], self.languages[p])): PairCounts(int(given_LL[q, p]), float(asked_LL[q, p]))
            for q, p in np.argwhere((given_LL > 0) | (asked_LL > 0)).tolist()
        }
        return Composition(start, stop, self.batch_size, kinds, asked, pairs, sources, dict(self.excluded), sets)

    def _count(self, index: int, first: int, end: int, asked: float, conflicts: int) -> SourceCounts:
        """Counts over the batches ``first`` to ``end - 1`` of a source."""
        source, period = self.sources[index], self._batches_an_epoch(index)
        limit = int(self._limits_S[index]) if self._limits_S is not None else None
        ended = end // period - first // period
        return SourceCounts(
            kind=source.kind,
            items=source.items,
            batches=end - first,
            asked=asked,
            epochs_begun=-(-end // period) + -first // period,
            repeated=(max(end, period) - max(first, period)) * self.batch_size,
            dropped=ended * (source.items - period * self.batch_size),
            conflicts=conflicts,
            left=int(limit is not None and first < limit == end),
        )

    def _lay_out(self, index: int, first: int, steps_T: Int64Array) -> tuple[int, Int64Array]:
        """Of what a source gives at these steps, from its batch ``first`` on: conflicts, and examples by pair LL."""
        source, period, end = self.sources[index], self._batches_an_epoch(index), first + len(steps_T)
        conflicts, given_LL = 0, np.zeros((len(self.languages), len(self.languages)), dtype=np.int64)
        for number in range(first // period, -(-end // period)):
            start, stop = max(first - number * period, 0), min(end - number * period, period)
            now_T, steps_T = np.split(steps_T, [stop - start])
            if len(now_T):
                epoch = self._epoch(index, number)
                conflicts += epoch.conflicts(start, stop)
                given_LL += self._pairs_given(source, epoch, start, now_T)
        return conflicts, given_LL

    def _pairs_given(self, source: Source, epoch: Epoch, start: int, steps_T: Int64Array) -> Int64Array:
        """Examples by language pair in the batches of an epoch that are given at these steps, from ``start`` on. LL."""
        given_LL = np.zeros((len(self.languages), len(self.languages)), dtype=np.int64)
        if source.query_language != DRAWN:
            given_LL[source.query_language, source.passage_language] = len(steps_T) * self.batch_size
            return given_LL
        size = max(1, _ROWS // self.batch_size)
        for at in range(0, len(steps_T), size):
            now_T = steps_T[at : at + size]
            items_TB = np.stack([epoch.batch(start + at + number) for number in range(len(now_T))])
            query_X, passage_X = self._languages_of(source, np.repeat(now_T, self.batch_size), items_TB.ravel())
            numbered_X = query_X * len(self.languages) + passage_X
            given_LL += np.bincount(numbered_X, minlength=given_LL.size).reshape(given_LL.shape)
        return given_LL

    def _pairs_asked(self, source: Source) -> npt.NDArray[np.float64]:
        """The share of each language pair among the examples of a source. LL."""
        pairs_LL = self._pairs[source.kind]
        if source.query_language == DRAWN:
            return expected_pairs(self._has_IL[source.members(self._has_IL, pairs_LL)], pairs_LL)
        asked_LL = np.zeros(pairs_LL.shape)
        asked_LL[source.query_language, source.passage_language] = 1.0
        return asked_LL

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
        members_N = source.members(self._has_IL, self._pairs[source.kind])
        hashes_N = counter_hash(self.seed, ORDER_STREAM, self._source_words[index], epoch, self._ids_I[members_N])
        column = source.passage_language
        # where languages are drawn for each item, two conflict that share a passage in any language
        keys_IC = self._passages_IL if column == DRAWN else self._passages_IL[:, column : column + 1]
        return Epoch(members_N[np.argsort(hashes_N)], keys_IC, self.batch_size)

    def _languages_of(
        self, source: Source, steps: int | Int64Array, items_X: Int64Array
    ) -> tuple[Int64Array, Int64Array]:
        """Of items that a source gives at a step, or each at a step of its own: the query's and the passage's."""
        if source.query_language != DRAWN:
            return np.full_like(items_X, source.query_language), np.full_like(items_X, source.passage_language)
        u_X = uniform(counter_hash(self.seed, LANGUAGE_STREAM, steps, self._ids_I[items_X]))
        return draw_pairs(self._has_IL[items_X], self._pairs[source.kind], u_X)


def plan_for(
    training: TrainingSet,
    mix: MixConfig,
    batch_size: int,
    total_steps: int,
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
        total_steps=total_steps,
        seed=seed,
        sets=[SetShare(*of, weight) for of, weight in zip(sets, weights or [1.0] * len(sets), strict=True)],
    )


def _hash_ids(item_ids: Sequence[str]) -> UInt64Array:
    ids_I = hash_texts(item_ids)
    if len(np.unique(ids_I)) < len(ids_I):
        repeated, times = Counter(item_ids).most_common(1)[0]
        assert times > 1, "two different item ids have one 64-bit hash"
        raise DataError(f"item id {repeated!r} occurs {times} times, ids must be unique; rename the items")
    return ids_I
