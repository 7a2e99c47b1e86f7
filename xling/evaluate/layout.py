"""A retrieval set as positions: what every scoring step works on, without the texts.

Shapes: X texts, N candidates of all languages, R relevant (query, candidate) entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xling.data.corpus import Corpus, positions
from xling.data.records import Query, RetrievalSet
from xling.errors import DataError

Indices = NDArray[np.int64]
ANSWER_DEPTH = 200  # passages read a query where answers are looked for: 5,000 tokens are some 45 of 100 words


class PassageIds(Sequence[str]):
    """Ids by candidate column, in Arrow: of a big corpus they stay in its file until asked for."""

    def __init__(self, ids: pa.ChunkedArray) -> None:
        self.arrow = ids

    def __len__(self) -> int:
        return len(self.arrow)

    def __getitem__(self, column: Any) -> Any:
        """The id of a column; of a slice of columns their ids, without copying."""
        if isinstance(column, slice):
            start, stop, step = column.indices(len(self))
            assert step == 1, "columns are sliced without a step"
            return PassageIds(self.arrow.slice(start, max(0, stop - start)))
        return self.arrow[int(column)].as_py()

    def __iter__(self) -> Iterator[str]:
        for chunk in self.arrow.chunks:
            yield from chunk.to_pylist()


@dataclass(frozen=True, slots=True)
class JudgedQueries:
    """The queries of one language and their relevant candidates, as parallel arrays over R entries.

    ``rows_R`` is the query, ``columns_R`` the candidate's column, ``targets_R`` the candidate's
    language and ``grades_R`` its grade (1 or more; a grade of 0 is as good as no judgement).
    """

    ids: tuple[str, ...]
    strata: tuple[Mapping[str, str], ...]
    rows_R: Indices
    columns_R: Indices
    targets_R: Indices
    grades_R: Indices


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands.

    Texts are numbered queries first, then passages, each language by language in the order of
    ``languages``; candidate column n is text ``number of queries + n``. Within a language
    candidates keep the set's order, id descending; ``tie_order_N`` is the place each would have
    if all languages were merged in that order, which decides ties in the pool.
    """

    languages: tuple[str, ...]
    passage_ids: PassageIds
    passage_offsets: tuple[int, ...]
    tie_order_N: Indices
    queries: tuple[JudgedQueries, ...]
    cross_lingual: bool
    pooled: bool  # whether there is an all-language pool to score against
    answer_depth: int = 0  # passages to find a query, whose texts are looked through for answers

    @property
    def query_count(self) -> int:
        return sum(len(queries.ids) for queries in self.queries)

    def query_texts(self, language: int) -> slice:
        """The texts that are queries of a language."""
        start = sum(len(queries.ids) for queries in self.queries[:language])
        return slice(start, start + len(self.queries[language].ids))

    def columns(self, language: int) -> slice:
        """The candidate columns of a language."""
        return slice(self.passage_offsets[language], self.passage_offsets[language + 1])

    def run_targets(self, language: int) -> list[int | None]:
        """What the queries of a language have run files against: languages, and None for the all-language pool.

        Those they are judged on; where answers are looked for instead, those that have passages.
        """
        if self.answer_depth:
            return [target for target, count in enumerate(np.diff(self.passage_offsets)) if count]
        judged = np.unique(self.queries[language].targets_R).tolist()
        return [*judged, None] if self.pooled and judged else judged

    def name_text(self, text: int) -> str:
        """What an error calls a text."""
        if text >= self.query_count:
            return f"passage {self.passage_ids[text - self.query_count]!r}"
        return f"query {[name for queries in self.queries for name in queries.ids][text]!r}"


def build_layout(retrieval: RetrievalSet) -> Layout:
    """Number the texts of a retrieval set and look its judgements up.

    Raises:
        DataError: an id occurs twice, a relevant passage is not among the candidates, or no
            query has a relevant passage.
    """
    ids = [_ids(retrieval, language) for language in retrieval.languages]
    offsets = [0, *np.cumsum([len(of_language) for of_language in ids]).tolist()]
    passage_ids = PassageIds(pa.chunked_array([chunk for each in ids for chunk in each.chunks], pa.large_string()))
    _refuse_duplicate_queries(retrieval)
    tie_order_N = _tie_order(retrieval.name, ids, offsets, passage_ids.arrow)
    judged_ids = {name for row in retrieval.qrels.values() for name, grade in row.items() if grade >= 1}
    column_of = positions(passage_ids.arrow, judged_ids)
    target_of = np.repeat(np.arange(len(retrieval.languages)), np.diff(offsets))
    judged = tuple(
        _judge(retrieval, list(retrieval.queries[language]), column_of, target_of) for language in retrieval.languages
    )
    if retrieval.answers:
        _require_one_corpus(retrieval, offsets)
    elif not any(len(queries.rows_R) for queries in judged):
        raise DataError(f"{retrieval.name}: no query has a relevant passage; there is nothing to score")
    return Layout(
        languages=retrieval.languages,
        passage_ids=passage_ids,
        passage_offsets=tuple(offsets),
        tie_order_N=tie_order_N,
        queries=judged,
        cross_lingual=retrieval.cross_lingual,
        pooled=retrieval.pooled and retrieval.cross_lingual and len(retrieval.languages) > 1,
        answer_depth=ANSWER_DEPTH if retrieval.answers else 0,
    )


def _require_one_corpus(retrieval: RetrievalSet, offsets: Sequence[int]) -> None:
    """What is judged by answers has passages in one language, and no other judgements."""
    filled = [code for code, (start, stop) in zip(retrieval.languages, pairwise(offsets), strict=True) if stop > start]
    if len(filled) != 1 or retrieval.qrels:
        raise DataError(
            f"{retrieval.name} is judged by answers and has passages in {', '.join(filled) or 'no language'} and"
            f" {len(retrieval.qrels)} judged queries; it must have passages in one language, and no judgements"
        )


def _judge(
    retrieval: RetrievalSet, queries: Sequence[Query], column_of: Mapping[str, int], target_of: Indices
) -> JudgedQueries:
    rows: list[int] = []
    columns: list[int] = []
    grades: list[int] = []
    for row, query in enumerate(queries):
        for passage, grade in retrieval.qrels.get(query.id, {}).items():
            if grade < 1:
                continue
            if passage not in column_of:
                raise DataError(
                    f"{retrieval.name}: query {query.id!r} is judged on passage {passage!r}, which is not among the"
                    " candidates: leave the judgement out, or bring the passage in"
                )
            rows.append(row)
            columns.append(column_of[passage])
            grades.append(grade)
    columns_R = np.array(columns, np.int64)
    return JudgedQueries(
        ids=tuple(query.id for query in queries),
        strata=tuple(dict(query.strata) for query in queries),
        rows_R=np.array(rows, np.int64),
        columns_R=columns_R,
        targets_R=target_of[columns_R],
        grades_R=np.array(grades, np.int64),
    )


def _ids(retrieval: RetrievalSet, language: str) -> pa.ChunkedArray:
    """Ids of a language's candidates, checked to be sorted; equal ones are next to each other then."""
    passages = retrieval.passages[language]
    if isinstance(passages, Corpus):
        ids = passages.ids
    else:
        ids = pa.chunked_array([pa.array([passage.id for passage in passages], pa.large_string())])
    if len(ids) > 1:
        earlier, later = ids.slice(0, len(ids) - 1), ids.slice(1)
        assert pc.all(pc.greater_equal(earlier, later)).as_py(), "candidates must be sorted by id descending"
        _refuse_equal(retrieval.name, ids)
    return ids


def _refuse_equal(name: str, ids: pa.ChunkedArray) -> None:
    """Refuse equal neighbours among sorted ids."""
    equal = pc.equal(ids.slice(0, len(ids) - 1), ids.slice(1))
    if pc.any(equal).as_py():
        twice = ids[pc.index(equal, True).as_py()].as_py()
        count = pc.sum(pc.equal(ids, pa.scalar(twice, pa.large_string()))).as_py()
        raise _duplicate(name, "passage", twice, count)


def _tie_order(name: str, ids: Sequence[pa.ChunkedArray], offsets: Sequence[int], together: pa.ChunkedArray) -> Indices:
    """The place of every candidate if the languages, each sorted, were merged by id descending."""
    full = [number for number, of_language in enumerate(ids) if len(of_language)]
    full.sort(key=lambda number: ids[number][0].as_py().encode(), reverse=True)
    tie_order_N = np.empty(offsets[-1], np.int64)
    # Ids begin with their language in most sets: then merging them is putting one behind the other.
    if all(ids[one][-1].as_py().encode() > ids[other][0].as_py().encode() for one, other in pairwise(full)):
        place = 0
        for number in full:
            start, stop = offsets[number], offsets[number + 1]
            tie_order_N[start:stop] = np.arange(place, place + stop - start)
            place += stop - start
        return tie_order_N
    order = pc.sort_indices(together, sort_keys=[("", "descending")])
    _refuse_equal(name, together.take(order))
    tie_order_N[order.to_numpy()] = np.arange(len(order))
    return tie_order_N


def _refuse_duplicate_queries(retrieval: RetrievalSet) -> None:
    ids = [query.id for language in retrieval.languages for query in retrieval.queries[language]]
    name, count = Counter(ids).most_common(1)[0] if ids else ("", 0)
    if count > 1:
        raise _duplicate(retrieval.name, "query", name, count)


def _duplicate(name: str, role: str, twice: str, count: int) -> DataError:
    return DataError(f"{name}: {role} id {twice!r} occurs {count} times; ids must be unique over all languages")
