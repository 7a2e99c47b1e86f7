"""Several training sets as one: ids and passages under each set's name, one dev split, nothing held out trained on.

Names of sets are those of the data sets; of two with one name (two files of ``parallel-jsonl``)
the later is numbered.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from xling.config.labels import make_unique
from xling.config.schema import DatasetConfig, TrainingEntry
from xling.data import registry
from xling.data.fingerprint import fingerprint_items, fingerprint_retrieval
from xling.data.mined import with_mined
from xling.data.overlap import HeldOut
from xling.data.records import (
    MadeItems,
    ParallelItem,
    Passage,
    Query,
    RetrievalSet,
    TextPair,
    TrainingSet,
    sorted_passages,
)
from xling.errors import DataError

SEPARATOR = " + "  # between the names of merged sets

log = logging.getLogger(__name__)


def load_training(entries: Sequence[DatasetConfig]) -> TrainingSet:
    """The one set there is, or all merged, in the order given; each with the negatives mined for it, if any.

    Raises:
        DataError: files are wrong, two entries are the same data, one is held out whole by the others, or
            negatives were mined for other data.
    """
    if len(entries) == 1:
        return _with_mined(entries[0], registry.get(entries[0].dataset).load_training(entries[0]))
    names = set_names(entries)
    trainings, held_out = [], []
    for entry in entries:
        adapter = registry.get(entry.dataset)
        trainings.append(adapter.load_training(entry))
        held_out.append(HeldOut.of(adapter.load_dev(entry)))
    _refuse_twins(names, trainings)
    parts = []
    for number, (name, training) in enumerate(zip(names, trainings, strict=True)):
        others = [held for other, held in enumerate(held_out) if other != number]
        parts.append((name, training, _kept(name, training, others)))
    merged = _merged(parts)
    mined = [
        (name, _with_mined(entry, training, kept), kept)
        for entry, (name, training, kept) in zip(entries, parts, strict=True)
    ]
    if not any(training.unmined for _, training, _ in mined):
        return merged
    return replace(_merged(mined), unmined=merged.fingerprint)


def _with_mined(entry: DatasetConfig, training: TrainingSet, kept: Sequence[int] | None = None) -> TrainingSet:
    folder = entry.mined_folder if isinstance(entry, TrainingEntry) else None
    return training if folder is None else with_mined(training, folder, kept)


def load_dev(entries: Sequence[DatasetConfig]) -> RetrievalSet:
    """The dev split of :func:`load_training`: all queries and candidates of the sets, each pool with the others."""
    devs = [registry.get(entry.dataset).load_dev(entry) for entry in entries]
    if len(devs) == 1:
        return devs[0]
    names = set_names(entries)
    languages = tuple(sorted({code for dev in devs for code in dev.languages}))
    queries: dict[str, list[Query]] = {code: [] for code in languages}
    passages: dict[str, list[Passage]] = {code: [] for code in languages}
    qrels: dict[str, Mapping[str, int]] = {}
    for name, dev in zip(names, devs, strict=True):
        for code in dev.languages:
            strata = {"set": name}
            queries[code] += (
                replace(query, id=f"{name}/{query.id}", strata={**query.strata, **strata})
                for query in dev.queries[code]
            )
            passages[code] += (replace(passage, id=f"{name}/{passage.id}") for passage in dev.passages[code])
        for query_id, grades in dev.qrels.items():
            qrels[f"{name}/{query_id}"] = {f"{name}/{passage_id}": grade for passage_id, grade in grades.items()}
    candidates = {code: sorted_passages(passages[code]) for code in languages}
    digest = fingerprint_retrieval(languages, queries, candidates, qrels)
    cross_lingual = any(dev.cross_lingual for dev in devs)
    return RetrievalSet(
        f"{SEPARATOR.join(names)} dev", languages, queries, candidates, qrels, digest, cross_lingual=cross_lingual
    )


def set_names(entries: Sequence[DatasetConfig]) -> list[str]:
    """A name for each entry, all different."""
    return make_unique([entry.dataset for entry in entries])


def _refuse_twins(names: Sequence[str], trainings: Sequence[TrainingSet]) -> None:
    first: dict[str, str] = {}
    for name, training in zip(names, trainings, strict=True):
        twin = first.setdefault(training.fingerprint, name)
        if twin != name:
            raise DataError(f"data.train: {twin} and {name} are the same data, which is to be listed once; remove one")


def _kept(name: str, training: TrainingSet, others: Sequence[HeldOut]) -> list[int]:
    """Indices of the items that share nothing with the dev split of another set."""
    kept = [i for i, item in enumerate(training.items) if not any(held.touches(item) for held in others)]
    if not kept:
        raise DataError(f"data.train: all items of {name} are held out by the dev splits of the other sets; remove it")
    if left_out := len(training.items) - len(kept):
        log.warning("%s: %d items left out, which the dev splits of the other sets hold out", name, left_out)
    return kept


def _merged(parts: Sequence[tuple[str, TrainingSet, list[int]]]) -> TrainingSet:
    items = _MergedItems([(name, training.items, kept) for name, training, kept in parts])
    languages = tuple(sorted({code for _, training, _ in parts for code in training.languages}))
    negatives = _MergedNegatives({name: training.negatives for name, training, _ in parts if training.negatives})
    names = [_renamed(name, item) for name, training, _ in parts for item in training.names]
    return TrainingSet(
        name=SEPARATOR.join(name for name, _, _ in parts),
        languages=languages,
        items=items,
        fingerprint=fingerprint_items(languages, items, negatives),
        names=names,
        names_fingerprint=fingerprint_items(languages, names) if names else "",
        negatives=negatives,
        sets=tuple((name, len(kept)) for name, _, kept in parts),
    )


class _MergedItems(MadeItems):
    """The items of all sets, one set after the other, renamed when they are asked for."""

    def __init__(self, parts: Sequence[tuple[str, Sequence[ParallelItem], list[int]]]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(len(kept) for _, _, kept in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def make(self, index: int) -> ParallelItem:
        part = bisect_right(self._starts, index) - 1
        name, items, kept = self._parts[part]
        return _renamed(name, items[kept[index - self._starts[part]]])


class _MergedNegatives(Mapping[str, str]):
    """Texts of the hard negatives of all sets."""

    def __init__(self, parts: Mapping[str, Mapping[str, str]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def __iter__(self) -> Iterator[str]:
        for name, texts in self._parts.items():
            yield from (f"{name}/{passage_id}" for passage_id in texts)

    def __getitem__(self, passage_id: str) -> str:
        name, _, own = passage_id.partition("/")
        return self._parts[name][own]


def _renamed(name: str, item: ParallelItem) -> ParallelItem:
    texts = {
        code: TextPair(
            pair.question,
            pair.passage,
            f"{name}/{pair.passage_id}",
            tuple(f"{name}/{passage_id}" for passage_id in pair.negatives),
        )
        for code, pair in item.texts.items()
    }
    return ParallelItem(f"{name}/{item.id}", item.article, texts)
