"""A retrieval set on storage, so that any node can score on it without the raw files.

data/<fingerprint>/queries.parquet, passages.parquet, qrels.parquet, set.json (written last), and
for each language whose candidates are a big corpus passages-<language>.arrow, mapped when read.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import TypedDict

from xling.data.corpus import Corpus, cache_folder
from xling.data.records import Passage, Query, RetrievalSet
from xling.errors import DataError
from xling.storage import Storage

_QUERIES = {name: pa.string() for name in ("id", "language", "text", "strata")}
_PASSAGES = {name: pa.string() for name in ("id", "language", "text", "context", "article")}
_QRELS = {"query": pa.string(), "passage": pa.string(), "grade": pa.int64()}


class _CorpusFile(TypedDict):
    digest: str
    size: int


class _Set(TypedDict):
    """``set.json``; sets of old lack the last ones."""

    name: str
    languages: list[str]
    zero_shot_levels: list[str]
    cross_lingual: bool
    measures: NotRequired[list[str]]
    pooled: NotRequired[bool]
    answers: NotRequired[dict[str, list[str]]]
    corpora: NotRequired[dict[str, _CorpusFile]]


def store_retrieval(storage: Storage, retrieval: RetrievalSet) -> None:
    """Write a set below ``data/<fingerprint>``; nothing happens when it is there already."""
    folder = f"data/{retrieval.fingerprint}"
    if storage.exists(f"{folder}/set.json"):
        return
    queries = [query for language in retrieval.languages for query in retrieval.queries[language]]
    strata = [json.dumps(dict(query.strata), sort_keys=True) for query in queries]
    columns = {field: [getattr(query, field) for query in queries] for field in ("id", "language", "text")}
    _write(storage, f"{folder}/queries.parquet", _QUERIES, {**columns, "strata": strata})
    corpora = {code: found for code, found in retrieval.passages.items() if isinstance(found, Corpus)}
    passages = [p for code in retrieval.languages if code not in corpora for p in retrieval.passages[code]]
    columns = {field: [getattr(passage, field) for passage in passages] for field in _PASSAGES}
    _write(storage, f"{folder}/passages.parquet", _PASSAGES, columns)
    judged = [(query, passage, grade) for query, row in retrieval.qrels.items() for passage, grade in row.items()]
    grades = {field: [entry[place] for entry in judged] for place, field in enumerate(_QRELS)}
    _write(storage, f"{folder}/qrels.parquet", _QRELS, grades)
    for code, corpus in corpora.items():
        storage.put(corpus.file, f"{folder}/{_corpus_name(code)}")
    about: dict[str, Any] = {
        "name": retrieval.name,
        "languages": retrieval.languages,
        "fingerprint": retrieval.fingerprint,
        "zero_shot_levels": retrieval.zero_shot_levels,
        "cross_lingual": retrieval.cross_lingual,
        "measures": retrieval.measures,
        "pooled": retrieval.pooled,
        "answers": {query: list(texts) for query, texts in retrieval.answers.items()},
        "corpora": {code: {"digest": corpus.digest, "size": _size(corpus.file)} for code, corpus in corpora.items()},
    }
    storage.write_json(f"{folder}/set.json", about)


def load_retrieval(storage: Storage, fingerprint: str) -> RetrievalSet:
    """Read back what :func:`store_retrieval` wrote; a big corpus is mapped, not read.

    Raises:
        FileNotFoundError: it was never written.
    """
    folder = f"data/{fingerprint}"
    about: _Set = storage.read_json(f"{folder}/set.json", _Set)
    languages = tuple(about["languages"])
    queries: dict[str, list[Query]] = {language: [] for language in languages}
    for row in _read(storage, f"{folder}/queries.parquet"):
        queries[row["language"]].append(Query(**{**row, "strata": json.loads(row["strata"])}))
    passages: dict[str, Any] = {language: [] for language in languages}
    for row in _read(storage, f"{folder}/passages.parquet"):
        passages[row["language"]].append(Passage(**row))
    for code, corpus in about.get("corpora", {}).items():
        file = _local_file(storage, f"{folder}/{_corpus_name(code)}", corpus["digest"], corpus["size"])
        passages[code] = Corpus(file, code, corpus["digest"])
    qrels: dict[str, dict[str, int]] = {}
    for row in _read(storage, f"{folder}/qrels.parquet"):
        qrels.setdefault(row["query"], {})[row["passage"]] = row["grade"]
    return RetrievalSet(
        name=about["name"],
        languages=languages,
        queries=queries,
        passages=passages,
        qrels=qrels,
        fingerprint=fingerprint,
        zero_shot_levels=tuple(about["zero_shot_levels"]),
        cross_lingual=about["cross_lingual"],
        # What older sets on storage lack:
        measures=tuple(about.get("measures", ())),
        pooled=about.get("pooled", True),
        answers={query: tuple(texts) for query, texts in about.get("answers", {}).items()},
    )


def _corpus_name(language: str) -> str:
    return f"passages-{language}.arrow"


def _size(file: Path) -> int:
    return file.stat().st_size


def _local_file(storage: Storage, path: str, digest: str, size: int) -> Path:
    """A corpus as a local file, of a remote store copied once to the cache folder."""
    if storage.is_local:
        return Path(storage.locate(path))
    if not re.fullmatch(r"[0-9a-f]+", digest):
        raise DataError(f"{storage.locate(path)} has the digest {digest!r}, must be hexadecimal; delete its folder")
    cached = cache_folder() / "stored" / f"{digest}.arrow"
    if cached.is_file() and _size(cached) == size:
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_name(f".{cached.name}-{os.getpid()}")
    with storage.local_copy(path) as copy:
        shutil.move(copy, partial)
    os.replace(partial, cached)
    return cached


def _write(storage: Storage, path: str, kinds: Mapping[str, pa.DataType], columns: Mapping[str, list[Any]]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(columns), schema=pa.schema(list(kinds.items()))), sink, compression="zstd")
    storage.write(path, sink.getvalue())


def _read(storage: Storage, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(storage.read(path))).to_pylist()
    return rows
