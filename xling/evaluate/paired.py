"""Two systems' values on the same queries, summed by question: what the tests of significance work on.

A system is a per-query table, as ``per_query.parquet`` has it: columns query, query_language,
passage_language (``*``: the pool) and one a measure.

Shapes: C questions, P cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xling.errors import DataError
from xling.evaluate.measures import Values
from xling.evaluate.per_query import POOL_LANGUAGE
from xling.evaluate.runfile import POOL
from xling.languages import check_language

ALL = "-"  # in place of both languages, for a run of no known pair
_KEY = ("query", "query_language", "passage_language")
_SHOWN = 3
_NAME_RUNS = " (the pair of a run is its file's name: en-de.run, or en-de.run.gz)"


@dataclass(frozen=True, slots=True)
class Cell:
    """A query language and what its queries were scored against: a language's passages, or the pool."""

    query: str
    passage: str

    @property
    def is_pool(self) -> bool:
        return self.passage == POOL_LANGUAGE

    @property
    def name(self) -> str:
        return "all" if self.query == ALL else f"{self.query}-{POOL if self.is_pool else self.passage}"


def macro_groups(cells: Iterable[Cell]) -> Mapping[str, tuple[Cell, ...]]:
    """The cells that each macro mean (Mo, Cr, Mul) is over; without those over none."""
    named = [cell for cell in cells if cell.query != ALL]
    groups = {
        "Mo": tuple(cell for cell in named if cell.query == cell.passage),
        "Cr": tuple(cell for cell in named if cell.query != cell.passage and not cell.is_pool),
        "Mul": tuple(cell for cell in named if cell.is_pool),
    }
    return {name: members for name, members in groups.items() if members}


@dataclass(frozen=True, slots=True, eq=False)
class PairedValues:
    """Differences a - b summed over each question's queries, by cell; ``a_P`` and ``b_P`` are the cells' means."""

    measure: str
    questions: tuple[str, ...]
    cells: tuple[Cell, ...]
    sums_CP: NDArray[np.float64]
    counts_CP: NDArray[np.float64]
    a_P: Values
    b_P: Values

    @property
    def groups(self) -> Mapping[str, tuple[Cell, ...]]:
        """The cells that each macro mean is over."""
        return macro_groups(self.cells)


def question_of(query: str, language: str) -> str:
    """The question that a query asks in its language: its id without the language in front (``ar/``).

    In a run of no known pair that is whatever language code stands there.
    """
    code, slash, rest = query.partition("/")
    return rest if slash and code in (language, _code_or_nothing(code) if language == ALL else language) else query


def _code_or_nothing(text: str) -> str | None:
    try:
        return check_language(text)
    except ValueError:
        return None


def common_pairs(a: pa.Table, b: pa.Table) -> tuple[pa.Table, pa.Table, tuple[list[str], list[str]]]:
    """Leave out what only one system was measured on at all: language pairs, and pools.

    Returns:
        Both tables, and the names of the pairs that each alone has. Systems that share none are
        given back as they are.
    """
    pairs_a, pairs_b = _pairs(a), _pairs(b)
    common = set(pairs_a.unique().to_pylist()) & set(pairs_b.unique().to_pylist())
    if not common:
        return a, b, ([], [])
    alone = _only(pairs_a, common), _only(pairs_b, common)
    kept = pa.array(sorted(common))
    return a.filter(pc.is_in(pairs_a, value_set=kept)), b.filter(pc.is_in(pairs_b, value_set=kept)), alone


def as_one_pair(a: pa.Table, b: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Two runs that one file judges are of the same queries: where their names tell other pairs, neither tells one."""
    if set(_pairs(a).unique().to_pylist()) == set(_pairs(b).unique().to_pylist()):
        return a, b
    return _unnamed(a), _unnamed(b)


def _unnamed(table: pa.Table) -> pa.Table:
    for name in _KEY[1:]:
        table = table.set_column(table.column_names.index(name), name, pa.array([ALL] * len(table), pa.string()))
    return table


def _only(pairs: pa.ChunkedArray, common: set[str]) -> list[str]:
    return [Cell(*pair.split(" ")).name for pair in pairs.unique().to_pylist() if pair not in common]


def _pairs(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*(table[name].cast(pa.string()) for name in _KEY[1:]), " ")


def pair_up(a: pa.Table, b: pa.Table, measure: str, names: tuple[str, str] = ("A", "B")) -> PairedValues:
    """Bring two systems' per-query values together.

    Args:
        names: what the messages call the systems.

    Raises:
        DataError: a system lacks the measure, or they were not measured on the same queries.
    """
    of_a, of_b = _known(a, measure, names[0]), _known(b, measure, names[1])
    keys_a, keys_b = _keys(of_a), _keys(of_b)
    place = pc.index_in(keys_a, value_set=keys_b)
    missing = place.null_count
    extra = len(keys_b) - (len(keys_a) - missing)
    if missing or extra:
        raise DataError(_differ(keys_a, keys_b, names))
    _same_judgements(of_a, of_b.take(place), names)
    values_a = of_a[measure].to_numpy()
    values_b = of_b[measure].to_numpy()[place.to_numpy()]
    return _summed(of_a, values_a, values_b, measure)


def alone(table: pa.Table, measure: str, name: str) -> PairedValues:
    """One system's own values, as held against one that has 0 everywhere.

    Raises:
        DataError: it lacks the measure.
    """
    known = _known(table, measure, name)
    values = known[measure].to_numpy()
    return _summed(known, values, np.zeros_like(values), measure)


def _known(table: pa.Table, measure: str, name: str) -> pa.Table:
    """The rows that have the measure."""
    if measure not in table.column_names:
        have = [column for column in table.column_names if column not in (*_KEY, "n_rel") and "." not in column]
        raise DataError(
            f"{name} has no values of {measure}, only of {', '.join(have)}: name one of these with --measure"
        )
    kept = table.select([*_KEY, "n_rel", measure]).filter(pc.is_valid(table[measure]))
    if not len(kept):
        raise DataError(f"{name} has no query with a value of {measure}: there is nothing to compare")
    return kept


def _same_judgements(of_a: pa.Table, of_b: pa.Table, names: tuple[str, str]) -> None:
    """Raises DataError where the same queries have other numbers of relevant passages."""
    other = of_a.filter(pc.not_equal(of_a["n_rel"], of_b["n_rel"]))
    if len(other):
        raise DataError(
            f"{names[0]} and {names[1]} were judged differently: query {other['query'][0]} has another number of"
            f" relevant passages in each ({len(other)} such queries); score both by the same qrels"
        )


def _keys(table: pa.Table) -> pa.Array:
    columns = [table[name].cast(pa.string()) for name in _KEY]
    keys = pc.binary_join_element_wise(*columns, " ").combine_chunks()  # ids hold no white space
    assert pc.count_distinct(keys).as_py() == len(keys), "a query has one value a passage language"
    return keys


def _differ(keys_a: pa.Array, keys_b: pa.Array, names: tuple[str, str]) -> str:
    parts = []
    for mine, other, name in ((keys_a, keys_b, names[0]), (keys_b, keys_a, names[1])):
        only = mine.filter(pc.invert(pc.is_in(mine, value_set=other)))
        if len(only):
            shown = ["{} against {}".format(*key.split(" ")[::2]) for key in only[:_SHOWN].to_pylist()]
            more = f", … ({len(only)} in all)" if len(only) > _SHOWN else ""
            parts.append(f"{name} alone has {', '.join(shown)}{more}")
    return (
        f"{names[0]} and {names[1]} were not measured on the same queries: {'; '.join(parts)}; compare systems that"
        " were evaluated on the same data, languages and pairs"
        f"{_NAME_RUNS if any(_is_all(keys) for keys in (keys_a, keys_b)) else ''}"
    )


def _is_all(keys: pa.Array) -> bool:
    return bool(pc.all(pc.ends_with(keys, f" {ALL} {ALL}")).as_py())


def _summed(table: pa.Table, values_a: Values, values_b: Values, measure: str) -> PairedValues:
    queries = table["query"].cast(pa.string()).combine_chunks().dictionary_encode()
    languages = table["query_language"].cast(pa.string()).combine_chunks().dictionary_encode()
    targets = table["passage_language"].cast(pa.string()).combine_chunks().dictionary_encode()
    query_R, language_R, target_R = (np.asarray(column.indices) for column in (queries, languages, targets))
    names, codes, target_names = (column.dictionary.to_pylist() for column in (queries, languages, targets))
    language_of = np.zeros(len(names), np.int64)
    language_of[query_R] = language_R
    asked = [question_of(name, codes[language]) for name, language in zip(names, language_of.tolist(), strict=True)]
    questions, question_of_query = np.unique(np.array(asked, np.object_), return_inverse=True)
    cells, cell_R = np.unique(language_R * len(target_names) + target_R, return_inverse=True)
    shape = (len(questions), len(cells))
    place_R = question_of_query[query_R] * shape[1] + cell_R

    def total(weights_R: Values | None) -> NDArray[np.float64]:
        sums = np.bincount(place_R, weights=weights_R, minlength=shape[0] * shape[1])
        return sums.reshape(shape).astype(np.float64)

    counts_CP = total(None)
    counts_P = counts_CP.sum(axis=0)
    return PairedValues(
        measure=measure,
        questions=tuple(questions.tolist()),
        cells=tuple(Cell(codes[c // len(target_names)], target_names[c % len(target_names)]) for c in cells.tolist()),
        sums_CP=total(values_a - values_b),
        counts_CP=counts_CP,
        a_P=total(values_a).sum(axis=0) / counts_P,
        b_P=total(values_b).sum(axis=0) / counts_P,
    )
