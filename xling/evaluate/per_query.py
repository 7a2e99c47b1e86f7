"""The values of every query as a table: what per_query.parquet holds, and paired tests read."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from xling.evaluate.aggregates import QueryValues
from xling.evaluate.layout import Indices, Layout
from xling.storage import Storage
from xling.stored_json import DamagedFile

PER_QUERY = "per_query.parquet"
STRATUM = "stratum."  # begins the names of columns that queries are grouped by
_TEXTS = ("query", "query_language", "passage_language")
_KEY = (*_TEXTS, "n_rel")
POOL_LANGUAGE = "*"  # where a passage language would stand


def per_query_table(layout: Layout, queries: QueryValues) -> pa.Table:
    """A row for each query and target it has a value for; see ``EvaluationResult.per_query``."""
    ids = [name for judged in layout.queries for name in judged.ids]
    first_L = np.array([layout.query_texts(language).start for language in range(len(layout.languages))])
    text_P = first_L[queries.languages_P] + queries.rows_P
    columns: dict[str, Any] = {
        "query": pa.DictionaryArray.from_arrays(pa.array(text_P, pa.int32()), pa.array(ids, pa.string())),
        "query_language": _named(queries.languages_P, layout.languages),
        "passage_language": _named(queries.targets_P, (*layout.languages, POOL_LANGUAGE)),
        "n_rel": pa.array(queries.relevant_P, pa.int32()),
    }
    for name, values_P in queries.values.items():
        columns[name] = pa.array(values_P, pa.float64(), from_pandas=True)  # NaN becomes null
    strata_of = [query for judged in layout.queries for query in judged.strata]
    for key in sorted({key for query in strata_of for key in query}):
        values = pa.array([query.get(key) for query in strata_of], pa.string())
        columns[f"{STRATUM}{key}"] = values.take(pa.array(text_P)).dictionary_encode()
    return pa.table(columns)


def _named(indices_P: Indices, names: tuple[str, ...]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(indices_P, pa.int32()), pa.array(names, pa.string()))


def read_queries(storage: Storage, measures: Collection[str], others: Collection[str] | None = None) -> pa.Table:
    """The table that lies beside a result's summary.

    Args:
        measures: those that the summary has means of, rank distance and the like among them.
        others: columns that are read besides the keys and those measures, where they are there; None: all.

    Raises:
        DamagedFile: it is not there, cannot be read, or lacks a column.
    """
    place = storage.locate(PER_QUERY)
    try:
        data = storage.read(PER_QUERY)
        there = pq.read_schema(io.BytesIO(data)).names
        wanted = dict.fromkeys((*_KEY, *measures, *(there if others is None else others)))
        table = pq.read_table(io.BytesIO(data), columns=[name for name in there if name in wanted])
    except FileNotFoundError as error:
        raise DamagedFile(f"{place} is missing, the values that its summary has means of", fix_of(storage)) from error
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DamagedFile(f"{place} is damaged ({error})", fix_of(storage)) from error
    if fault := _fault_of(table, measures):
        raise DamagedFile(f"{place} is damaged ({fault})", fix_of(storage))
    return table


def fix_of(storage: Storage) -> str:
    """What to do about a result that is damaged."""
    return f"delete the folder {storage.url}, then score again: xling resume SWEEP, or xling evaluate --out"


def _fault_of(table: pa.Table, measures: Collection[str]) -> str:
    """What is wrong with its columns; empty where nothing is."""
    if missing := [name for name in (*_KEY, *measures) if name not in table.column_names]:
        return f"it has no column {', '.join(missing)}, must have all of {', '.join((*_KEY, *measures))}"
    texts = [*_TEXTS, *(name for name in table.column_names if name.startswith(STRATUM))]
    for name in (*texts, "n_rel", *measures):
        column, kind = table[name], table[name].type
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        of_kind = (kinds.is_string, kinds.is_large_string) if name in texts else (kinds.is_integer, kinds.is_floating)
        if not any(right(kind) for right in (*of_kind, kinds.is_null)):
            return f"its column {name} holds {kind}, must hold {'texts' if name in texts else 'numbers'}"
        if name in _KEY and column.null_count:
            return f"its column {name} has no value in {column.null_count} of {len(column)} rows, must have one in all"
    return ""
