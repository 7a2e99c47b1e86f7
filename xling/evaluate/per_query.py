"""The values of every query as a table: what per_query.parquet holds, and paired tests read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from xling.evaluate.aggregates import QueryValues
from xling.evaluate.layout import Indices, Layout

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
        columns[f"stratum.{key}"] = values.take(pa.array(text_P)).dictionary_encode()
    return pa.table(columns)


def _named(indices_P: Indices, names: tuple[str, ...]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(indices_P, pa.int32()), pa.array(names, pa.string()))
