"""mMARCO (Bonifacio et al. 2021): MS MARCO's queries and passages in 14 languages, parallel by their ids.

Files as on the hub, below ``data/google`` or side by side: ``{language}_collection.tsv`` (passage id,
text), ``{language}_queries.train.tsv`` (query id, text), with full English names of languages, and
``triples.train.ids.small.tsv``, which all languages share. Only a sample of the triples is read
(``limit``), and of each collection only the passages it names, in one pass, kept as UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from xling.config.schema import DatasetConfig
from xling.data.dev_split import linked
from xling.data.files import BadRows, read_tsv
from xling.data.hub import fetch, find
from xling.data.records import MadeItems, ParallelItem, TextPair
from xling.data.registry import Problem, register
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.data.sets.msmarco_triples import IntArray, Triples, sample_triples
from xling.errors import DataError
from xling.languages import normalise

HUB = "unicamp-dl/mmarco"
NAMES = (
    *("arabic", "chinese", "dutch", "english", "french", "german", "hindi"),
    *("indonesian", "italian", "japanese", "portuguese", "russian", "spanish", "vietnamese"),
)
BY_CODE = {normalise(name): name for name in NAMES}
TRIPLES = "data/triples.train.ids.small.tsv"
LIMIT = 100_000  # items, unless the configuration says more or fewer
HARD_NEGATIVES = 1  # of an item, likewise

_WRITE_ROWS = 1 << 14  # texts turned into UTF-8 at once


@register
class Mmarco(ItemAdapter):
    """MS MARCO in translation, with hard negatives."""

    name: ClassVar[str] = "mmarco"
    summary: ClassVar[str] = "mMARCO: MS MARCO's queries and passages in 14 languages, with hard negatives"
    licence: ClassVar[str] = "MS MARCO's terms: non-commercial research only; may not be passed on"
    files: ClassVar[str] = f"{{language}}_collection.tsv, {{language}}_queries.train.tsv and {TRIPLES} of {HUB}"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "limit", "hard_negatives", "bad_rows"})
    path_needed: ClassVar[str] = "the folder with *_collection.tsv, *_queries.train.tsv and triples.train.ids.small.tsv"
    path_optional: ClassVar[bool] = True

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        if config.path is None:
            return tuple(sorted(BY_CODE))
        folder = Path(config.path).expanduser()
        kinds = (_collection, _queries)
        return tuple(code for code in sorted(BY_CODE) if all(find(folder, _places(kind(code))) for kind in kinds))

    def check(self, config: DatasetConfig) -> list[Problem]:
        if config.path is not None and not self.available_languages(config):
            return [("path", f"is {config.path!r}, which holds no language's files; it must name {self.path_needed}")]
        return []

    def read_items(self, config: DatasetConfig) -> Items:
        languages = tuple(sorted(config.languages or self.available_languages(config)))
        if not languages:
            raise DataError(f"{config.path}: holds no language's files; it must be {self.path_needed}")
        bad = BadRows.of(config)
        wanted = HARD_NEGATIVES if config.hard_negatives is None else config.hard_negatives
        triples = sample_triples(fetch(config, HUB, TRIPLES), config.limit or LIMIT, wanted, bad)
        passages = np.union1d(triples.positives_I, triples.negatives_N)
        queries, collections = {}, {}
        for code in languages:
            queries[code] = _read_texts(_file(config, _queries(code)), np.unique(triples.queries_I), bad)
            collections[code] = _read_texts(_file(config, _collection(code)), passages, bad)
        bad.tell(self.name)
        items = _Items(triples, queries, collections)
        if not len(items):
            raise DataError(f"{config.path or HUB}: no triple has its query and positive in any language")
        return Items(languages, items, _Negatives(triples, collections))


def _queries(code: str) -> str:
    return f"data/google/queries/train/{BY_CODE[code]}_queries.train.tsv"


def _collection(code: str) -> str:
    return f"data/google/collections/{BY_CODE[code]}_collection.tsv"


def _places(filename: str) -> tuple[str, ...]:
    """Where a file may stand below ``path``: as the hub lays it out, or side by side with the others."""
    name = filename.rpartition("/")[2]
    return filename, name, filename.removeprefix("data/google/"), f"{name}.gz"


def _file(config: DatasetConfig, filename: str) -> Path:
    return fetch(config, HUB, filename, names=_places(filename))


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts by id: ids sorted, texts as UTF-8 in one array, in the order they were read."""

    ids: IntArray
    rows: IntArray  # of each id, in ``texts``; -1 where the file lacks it
    texts: pa.Array

    def rows_of(self, ids: IntArray) -> IntArray:
        """Rows of ids that are among those asked for."""
        return np.asarray(self.rows[np.searchsorted(self.ids, ids)])

    def text(self, row: int) -> str:
        return str(self.texts[row].as_py())


def _read_texts(path: Path, ids: IntArray, bad: BadRows) -> _Texts:
    """The texts with some ids, of a file of (id, text); an id it lacks is a bad row."""
    number_of = {str(text_id).encode(): number for number, text_id in enumerate(ids.tolist())}
    rows = np.full(len(ids), -1, np.int64)
    chunks: list[pa.Array] = []
    texts: list[str] = []
    count = 0
    for line, (text_id, text) in read_tsv(path, 2, bad, only=number_of):
        number = number_of[text_id.encode()]
        if rows[number] >= 0:
            bad.report(path, line, f"has the id {text_id}, which an earlier line has too; keep one")
            continue
        rows[number] = count
        count += 1
        texts.append(text)
        if len(texts) == _WRITE_ROWS:
            chunks.append(pa.array(texts, pa.large_string()))
            texts = []
    chunks.append(pa.array(texts, pa.large_string()))
    for missing in ids[rows < 0].tolist():
        bad.report(path, "end", f"has no line with the id {missing}, which the triples name; copy the file again")
    return _Texts(ids, rows, pa.chunked_array(chunks).combine_chunks())


class _Items(MadeItems):
    """The items that have a language, made when they are asked for."""

    def __init__(self, triples: Triples, queries: Mapping[str, _Texts], passages: Mapping[str, _Texts]) -> None:
        self._triples, self._queries, self._passages = triples, queries, passages
        self._rows = {
            code: tuple(
                texts.rows_of(ids)
                for texts, ids in (
                    (queries[code], triples.queries_I),
                    (passages[code], triples.positives_I),
                    (passages[code], triples.negatives_N),
                )
            )
            for code in queries
        }
        has = [(query_I >= 0) & (positive_I >= 0) for query_I, positive_I, _ in self._rows.values()]
        self._kept = np.flatnonzero(np.any(has, axis=0))
        pairs = zip(triples.queries_I[self._kept].tolist(), triples.positives_I[self._kept].tolist(), strict=True)
        # a query and its passages, and the other queries they answer, are held out together
        groups = {str(i): [f"query-{query}", f"passage-{passage}"] for i, (query, passage) in enumerate(pairs)}
        self._articles = [f"msmarco-{article}" for article in linked(groups).values()]

    def __len__(self) -> int:
        return len(self._kept)

    def make(self, index: int) -> ParallelItem:
        triples, i = self._triples, int(self._kept[index])
        query, positive = int(triples.queries_I[i]), int(triples.positives_I[i])
        hard = slice(int(triples.offsets[i]), int(triples.offsets[i + 1]))
        negatives = triples.negatives_N[hard].tolist()
        texts = {}
        for code, (query_I, positive_I, negative_N) in self._rows.items():
            if query_I[i] < 0 or positive_I[i] < 0:
                continue
            found = zip(negatives, negative_N[hard].tolist(), strict=True)
            texts[code] = TextPair(
                self._queries[code].text(query_I[i]),
                self._passages[code].text(positive_I[i]),
                f"{code}/{positive}",
                tuple(f"{code}/{pid}" for pid, row in found if row >= 0),
            )
        return ParallelItem(f"{query}-{positive}", self._articles[index], texts)


class _Negatives(Mapping[str, str]):
    """Texts of the hard negatives by passage id, ``en/123``."""

    def __init__(self, triples: Triples, passages: Mapping[str, _Texts]) -> None:
        self._passages = passages
        self._ids = np.unique(triples.negatives_N)
        self._known = frozenset(self._ids.tolist())

    def __len__(self) -> int:
        return sum(int((passages.rows_of(self._ids) >= 0).sum()) for passages in self._passages.values())

    def __iter__(self) -> Iterator[str]:
        for code, passages in self._passages.items():
            yield from (f"{code}/{pid}" for pid in self._ids[passages.rows_of(self._ids) >= 0].tolist())

    def __getitem__(self, passage_id: str) -> str:
        code, _, pid = passage_id.partition("/")
        passages = self._passages[code]
        row = int(passages.rows_of(np.asarray([int(pid)]))[0]) if int(pid) in self._known else -1
        if row < 0:
            raise KeyError(passage_id)
        return passages.text(row)
