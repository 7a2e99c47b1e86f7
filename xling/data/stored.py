"""A retrieval set on storage, so that any node can score on it without the raw files.

data/<fingerprint>/queries.parquet, passages.parquet, qrels.parquet, set.json (written last)
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xling.data.records import Passage, Query, RetrievalSet
from xling.storage import Storage


def store_retrieval(storage: Storage, retrieval: RetrievalSet) -> None:
    """Write a set below ``data/<fingerprint>``; nothing happens when it is there already."""
    folder = f"data/{retrieval.fingerprint}"
    if storage.exists(f"{folder}/set.json"):
        return
    queries = [query for language in retrieval.languages for query in retrieval.queries[language]]
    passages = [passage for language in retrieval.languages for passage in retrieval.passages[language]]
    judged = [(query, passage, grade) for query, row in retrieval.qrels.items() for passage, grade in row.items()]
    _write(
        storage,
        f"{folder}/queries.parquet",
        {
            "id": [query.id for query in queries],
            "language": [query.language for query in queries],
            "text": [query.text for query in queries],
            "strata": [json.dumps(dict(query.strata), sort_keys=True) for query in queries],
        },
    )
    fields = ("id", "language", "text", "context", "article")
    _write(storage, f"{folder}/passages.parquet", {f: [getattr(passage, f) for passage in passages] for f in fields})
    _write(
        storage,
        f"{folder}/qrels.parquet",
        dict(zip(("query", "passage", "grade"), map(list, zip(*judged, strict=True)), strict=True)),
    )
    about = {
        "name": retrieval.name,
        "languages": retrieval.languages,
        "fingerprint": retrieval.fingerprint,
        "zero_shot_levels": retrieval.zero_shot_levels,
        "cross_lingual": retrieval.cross_lingual,
    }
    storage.write_json(f"{folder}/set.json", about)


def load_retrieval(storage: Storage, fingerprint: str) -> RetrievalSet:
    """Read back what :func:`store_retrieval` wrote. Raises FileNotFoundError when it never did."""
    folder = f"data/{fingerprint}"
    about = storage.read_json(f"{folder}/set.json")
    languages = tuple(about["languages"])
    queries: dict[str, list[Query]] = {language: [] for language in languages}
    for row in _read(storage, f"{folder}/queries.parquet"):
        queries[row["language"]].append(Query(**{**row, "strata": json.loads(row["strata"])}))
    passages: dict[str, list[Passage]] = {language: [] for language in languages}
    for row in _read(storage, f"{folder}/passages.parquet"):
        passages[row["language"]].append(Passage(**row))
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
    )


def _write(storage: Storage, path: str, columns: Mapping[str, list[Any]]) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), sink, compression="zstd")
    storage.write(path, sink.getvalue())


def _read(storage: Storage, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(storage.read(path))).to_pylist()
    return rows
