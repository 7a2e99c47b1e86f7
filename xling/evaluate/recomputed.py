"""A result's means, computed again from its per-query values and from nothing else.

What ``xling report --verify`` holds stored results against: its own arithmetic (pyarrow's grouped means over rows, not
the counts over a layout that made the summary), so that a fault of either shows.

Shapes: L languages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xling.evaluate.bias import POOL_FIGURES
from xling.evaluate.measures import Values
from xling.evaluate.per_query import POOL_LANGUAGE, STRATUM
from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair

_KEYS = ("query", "query_language", "passage_language", "n_rel")
_CELL = ["query_language", "passage_language"]
_CLOSE = 1e-9  # relative, and absolute below 1: another order of summation, never another value

Means = dict[tuple[str, str], float]  # by query language and target
NOT_KEPT = (
    "own_language_share_expected",
    "search_depth",
    "index_recall",
)  # of a headline: no query has a value of them


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Means by cell and measure, and macro means, of all queries or of one stratum."""

    queries: int
    counts: dict[tuple[str, str], int]
    cells: Mapping[str, Means]
    headline: Mapping[str, float]

    def pairs(self, measure: str, languages: Sequence[str]) -> Values:
        """A measure's matrix, L x L, NaN where no query counts."""
        of_measure = self.cells.get(measure, {})
        return np.array([[of_measure.get((q, p), math.nan) for p in languages] for q in languages])

    def pool(self, measure: str, languages: Sequence[str]) -> Values:
        """Each query language's mean against the pool, L values."""
        of_measure = self.cells.get(measure, {})
        return np.array([of_measure.get((code, POOL_LANGUAGE), math.nan) for code in languages])


@dataclass(frozen=True, slots=True)
class Compared:
    """A stored number and what its queries give. None: not there, or not known."""

    name: str
    stored: float | None
    recomputed: float | None

    @property
    def agrees(self) -> bool:
        if self.stored is None or self.recomputed is None:
            return self.stored is self.recomputed
        return math.isclose(self.stored, self.recomputed, rel_tol=_CLOSE, abs_tol=_CLOSE)

    def __str__(self) -> str:
        stored, recomputed = ("none" if v is None else f"{v:.6g}" for v in (self.stored, self.recomputed))
        return f"{self.name} is {stored}, its queries give {recomputed}"


def recompute(per_query: pa.Table) -> tuple[Recomputed, dict[str, Recomputed]]:
    """The means of all queries, and of each stratum by its label (``entity=unseen,wording=seen``)."""
    table = _plain(per_query)
    keys = sorted(name for name in table.column_names if name.startswith(STRATUM))
    groups = {}
    for label, chosen in _strata(table, keys):
        groups[label] = _of_rows(table.filter(chosen))
    return _of_rows(table), groups


def compare_stored(
    result: EvaluationResult, overall: Recomputed, groups: Mapping[str, Recomputed]
) -> Iterator[Compared]:
    """Every number of a stored result that its queries have, beside what they give."""
    yield from _headlines("", result.headline, overall.headline)
    for label in sorted({*result.strata, *groups}):
        stored, ours = result.strata.get(label), groups.get(label)
        queries = (math.nan if of is None else of.queries for of in (stored, ours))
        yield compared(f"queries of {label}", *queries)
        headlines: list[Mapping[str, float]] = [{} if of is None else of.headline for of in (stored, ours)]
        yield from _headlines(f"{label}: ", *headlines)
    for measure, values_LL in result.pair_values.items():
        yield from compare_pairs(measure, result.languages, values_LL, overall.pairs(measure, result.languages))
    counts_LL = np.array([[overall.counts.get((q, p), 0) for p in result.languages] for q in result.languages], float)
    yield from compare_pairs("queries", result.languages, result.pair_queries.astype(float), counts_LL)
    if result.pool is not None:
        stored_L = {**result.pool.values, **{name: getattr(result.pool, name) for name in POOL_FIGURES}}
        for measure, values_L in stored_L.items():
            ours_L = overall.pool(measure, result.languages)
            for code, value, ours_of in zip(result.languages, values_L.tolist(), ours_L.tolist(), strict=True):
                yield compared(f"{measure} of {code} in the pool", value, ours_of)
        yield from _by_rank(result, overall)


def _by_rank(result: EvaluationResult, overall: Recomputed) -> Iterator[Compared]:
    """The mean over ranks of the share in the query's language, where a passage stands at every rank."""
    assert result.pool is not None, "the caller looks"
    if result.pool.languages_at_ranks is None or result.search is not None:
        return
    own_L = np.diagonal(result.pool.languages_at_ranks, axis1=0, axis2=2).mean(axis=0)
    ours_L = overall.pool("own_language_share", result.languages)
    for code, value, ours in zip(result.languages, own_L.tolist(), ours_L.tolist(), strict=True):
        yield compared(f"share of {code} over all ranks, queries in {code}", value, ours)


def compare_pairs(name: str, languages: Sequence[str], stored_LL: Values, ours_LL: Values) -> Iterator[Compared]:
    """A matrix, pair by pair."""
    for i, query in enumerate(languages):
        for j, passage in enumerate(languages):
            yield compared(f"{name} of {query}-{passage}", float(stored_LL[i, j]), float(ours_LL[i, j]))


def compared(name: str, stored: float | None, ours: float | None) -> Compared:
    """NaN is what is not known."""
    return Compared(name, *(None if value is None or math.isnan(value) else value for value in (stored, ours)))


def _plain(table: pa.Table) -> pa.Table:
    """Languages as texts, which pairs are grouped by."""
    for name in _CELL:
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    return table


def _strata(table: pa.Table, keys: Sequence[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Each group's label and rows: a key's values, and the combinations of all keys."""
    columns = {key: table[key].cast(pa.string()) for key in keys}
    single = {
        key: {
            value: pc.fill_null(pc.equal(columns[key], value), False)
            for value in columns[key].unique().to_pylist()
            if value is not None
        }
        for key in keys
    }
    for key in keys:
        for value, chosen in single[key].items():
            yield f"{key.removeprefix(STRATUM)}={value}", chosen
    if len(keys) > 1:
        combined = pc.binary_join_element_wise(
            *(pc.binary_join_element_wise(key.removeprefix(STRATUM), columns[key], "=") for key in keys), ","
        )
        for label in combined.unique().to_pylist():
            if label is not None:  # a query that lacks a key is in no combination
                yield label, pc.fill_null(pc.equal(combined, label), False)


def _of_rows(table: pa.Table) -> Recomputed:
    names = [name for name in table.column_names if name not in _KEYS and not name.startswith(STRATUM)]
    asked = [(name, function) for name in names for function in ("mean", "count")]
    rows = table.group_by(_CELL).aggregate([*asked, ("query_language", "count")]).to_pylist()
    counts = {(row["query_language"], row["passage_language"]): row["query_language_count"] for row in rows}
    cells: dict[str, Means] = {}
    for name in names:
        # A cell with a query whose value is not known is not known: only rank distances are ever missing.
        cells[name] = {
            (row["query_language"], row["passage_language"]): row[f"{name}_mean"]
            for row in rows
            if row[f"{name}_count"] == row["query_language_count"]
        }
    queries = table.select(["query", "query_language"]).group_by(["query", "query_language"]).aggregate([])
    return Recomputed(len(queries), counts, cells, _macro_means(cells, counts))


def _macro_means(cells: Mapping[str, Means], counts: Mapping[tuple[str, str], int]) -> dict[str, float]:
    """The headline, by the evaluator's names; what is over nothing, or not known, is left out."""
    found: dict[str, float] = {}
    asked = [cell for cell in counts if cell[1] == POOL_LANGUAGE]
    for name, means in cells.items():
        if name in POOL_FIGURES:
            if asked and all(cell in means for cell in asked):
                found[name] = fmean(means[cell] for cell in asked)
            continue
        for group in ("Mo", "Cr", "Cr_same_script", "Cr_different_script", "Mul"):
            members = [value for cell, value in means.items() if group in _groups(*cell)]
            if members:
                found[f"{name}/{group}"] = fmean(members)
    return found


def _groups(query: str, passage: str) -> tuple[str, ...]:
    """The macro means that a cell counts in."""
    if passage == POOL_LANGUAGE:
        return ("Mul",)
    pair = LangPair(query, passage)
    script = "Cr_same_script" if pair.is_same_script else "Cr_different_script"
    return ("Mo",) if pair.is_monolingual else ("Cr", script)


def _headlines(what: str, stored: Mapping[str, float], ours: Mapping[str, float]) -> Iterator[Compared]:
    for name in sorted({*stored, *ours} - set(NOT_KEPT)):
        yield compared(f"{what}{name}", stored.get(name), ours.get(name))
