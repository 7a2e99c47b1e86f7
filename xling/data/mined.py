"""Mined hard negatives as a part of a training set.

An item's questions are translations of each other, so what is no answer to one of them is none to the
others: its negatives in a language of passages are the data set's own, then those mined for its
questions in any language, in turn by rank. Batches look them up by item and passage language alone.

Index legend: L languages; a *pair* is the number item * L + language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path

from xling.data.files import BadRow, shown
from xling.data.fingerprint import fingerprint
from xling.data.mined_file import MANIFEST, MinedRow, read_manifest, read_rows
from xling.data.records import MadeItems, ParallelItem, TrainingSet
from xling.errors import DataError
from xling.languages import LangPair

Negatives = Mapping[int, tuple[str, ...]]  # passage ids by pair


def with_mined(training: TrainingSet, folder: Path, kept: Sequence[int] | None = None) -> TrainingSet:
    """The set with the negatives that ``xling mine`` wrote to a folder added to its own.

    Its fingerprint is another one, decided by the set's and by which negatives its pairs have now.

    Args:
        training: the very set that was mined for.
        kept: indices of the items that are trained on, where other sets' dev splits hold some out; passages
            of those alone are no negatives then. All items stay.

    Raises:
        DataError: the folder is not whole, or does not fit the set; with file and line.
    """
    manifest = read_manifest(folder)
    if manifest.training != training.fingerprint:
        raise DataError(
            f"{folder / MANIFEST}: was mined for {manifest.name} with the fingerprint {manifest.training}, must be for "
            f"the set it is used with, {training.name} with {training.fingerprint}; give that the files, languages and "
            "options it was mined with, or mine again (`xling mine`)"
        )
    known = _Known(training, kept)
    mined: dict[int, list[tuple[str, ...]]] = {}
    for row in read_rows(folder, manifest, known.check):
        mined.setdefault(known.pair_of(row), []).append(row.negatives)
    merged: dict[int, tuple[str, ...]] = {}
    for pair in sorted(mined):
        item, language = divmod(pair, len(training.languages))
        own = training.items[item].texts[training.languages[language]].negatives
        in_turn = chain.from_iterable(zip_longest(*mined[pair]))
        added = [passage for passage in in_turn if passage is not None and passage in known.allowed]
        if added:
            merged[pair] = tuple(dict.fromkeys([*own, *added]))
    return replace(
        training,
        items=_Items(training.items, training.languages, merged),
        fingerprint=fingerprint(_parts(training.fingerprint, merged)),
        negatives=_Texts(training.negatives, _passage_texts(training, merged)),
        unmined=training.fingerprint,
    )


def _parts(digest: str, merged: Negatives) -> Iterator[str]:
    yield from ("mined negatives", digest)
    for pair, negatives in merged.items():
        yield from (str(pair), str(len(negatives)), *negatives)


def _passage_texts(training: TrainingSet, merged: Negatives) -> dict[str, str]:
    """Texts of the negatives that are items' passages."""
    wanted = set(chain.from_iterable(merged.values()))
    texts: dict[str, str] = {}
    for item in training.items:
        for pair in item.texts.values():
            if pair.passage_id in wanted:
                texts.setdefault(pair.passage_id, pair.passage)
    return texts


class _Known:
    """What a row may name.

    Attributes:
        allowed: ids of passages that may be negatives.
    """

    def __init__(self, training: TrainingSet, kept: Sequence[int] | None) -> None:
        self._training = training
        self._languages = {code: number for number, code in enumerate(training.languages)}
        self._items = {item.id: number for number, item in enumerate(training.items)}
        self._language_of: dict[str, str] = {}
        self._rows: set[tuple[str, LangPair]] = set()
        self.allowed: set[str] = set()
        trained = None if kept is None else frozenset(kept)
        for number, item in enumerate(training.items):
            for code, pair in item.texts.items():
                ids = (pair.passage_id, *pair.negatives)
                self._language_of.update(dict.fromkeys(ids, code))
                if trained is None or number in trained:
                    self.allowed.update(ids)

    def pair_of(self, row: MinedRow) -> int:
        return self._items[row.item] * len(self._languages) + self._languages[row.pair.passage]

    def check(self, row: MinedRow) -> None:
        """Raises BadRow."""
        if row.item not in self._items:
            raise BadRow(f"`item` is {shown(row.item)}, must be an item of {self._training.name}; mine again")
        texts = self._training.items[self._items[row.item]].texts
        for code in (row.pair.query, row.pair.passage):
            if code not in texts:
                raise BadRow(f"is of language {code!r}, which item {row.item!r} lacks; mine again")
        for passage in row.negatives:
            if self._language_of.get(passage) != row.pair.passage:
                raise BadRow(
                    f"names {shown(passage)}, must be a passage of {self._training.name} in {row.pair.passage!r}; "
                    "mine again"
                )
        if texts[row.pair.passage].passage_id in row.negatives:
            raise BadRow("names the item's own passage, must name others; mine again")
        if (row.item, row.pair) in self._rows:
            raise BadRow(f"is a second row of item {row.item!r} for {row.pair}, must be one; mine again")
        self._rows.add((row.item, row.pair))


class _Items(MadeItems):
    """The items with their negatives, made when they are asked for."""

    def __init__(self, items: Sequence[ParallelItem], languages: Sequence[str], merged: Negatives) -> None:
        self._items, self._languages, self._merged = items, languages, merged

    def __len__(self) -> int:
        return len(self._items)

    def make(self, index: int) -> ParallelItem:
        item = self._items[index]
        texts = dict(item.texts)
        for language, code in enumerate(self._languages):
            negatives = self._merged.get(index * len(self._languages) + language)
            if negatives is not None:
                texts[code] = replace(texts[code], negatives=negatives)
        return replace(item, texts=texts)


class _Texts(Mapping[str, str]):
    """Texts of the negatives: the data set's own, and the passages among the mined ones."""

    def __init__(self, own: Mapping[str, str], mined: Mapping[str, str]) -> None:
        self._own, self._mined = own, mined

    def __len__(self) -> int:
        return len(self._mined) + sum(passage not in self._mined for passage in self._own)

    def __iter__(self) -> Iterator[str]:
        yield from self._mined
        yield from (passage for passage in self._own if passage not in self._mined)

    def __getitem__(self, passage_id: str) -> str:
        return self._mined[passage_id] if passage_id in self._mined else self._own[passage_id]
