"""A retrieval set as positions: what every scoring step works on, without the texts.

Shapes: X texts, N candidates of all languages, R relevant (query, candidate) entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xling.data.records import Passage, Query, RetrievalSet
from xling.errors import DataError

Indices = NDArray[np.int64]


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
    passage_ids: tuple[str, ...]
    passage_offsets: tuple[int, ...]
    tie_order_N: Indices
    queries: tuple[JudgedQueries, ...]
    cross_lingual: bool
    pooled: bool  # whether there is an all-language pool to score against

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
    passages = [passage for language in retrieval.languages for passage in retrieval.passages[language]]
    offsets = [0]
    for language in retrieval.languages:
        offsets.append(offsets[-1] + len(retrieval.passages[language]))
    keys = [passage.id.encode() for passage in passages]
    for start, stop in pairwise(offsets):
        assert keys[start:stop] == sorted(keys[start:stop], reverse=True), "candidates must be sorted by id descending"
    column_of = {passage.id: column for column, passage in enumerate(passages)}
    _refuse_duplicates(retrieval, passages)
    tie_order_N = np.empty(len(keys), np.int64)
    tie_order_N[sorted(range(len(keys)), key=keys.__getitem__, reverse=True)] = np.arange(len(keys))
    target_of = np.repeat(np.arange(len(retrieval.languages)), np.diff(offsets))
    judged = tuple(
        _judge(retrieval, list(retrieval.queries[language]), column_of, target_of) for language in retrieval.languages
    )
    if not any(len(queries.rows_R) for queries in judged):
        raise DataError(f"{retrieval.name}: no query has a relevant passage; there is nothing to score")
    return Layout(
        languages=retrieval.languages,
        passage_ids=tuple(passage.id for passage in passages),
        passage_offsets=tuple(offsets),
        tie_order_N=tie_order_N,
        queries=judged,
        cross_lingual=retrieval.cross_lingual,
        pooled=retrieval.pooled and retrieval.cross_lingual and len(retrieval.languages) > 1,
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


def _refuse_duplicates(retrieval: RetrievalSet, passages: Sequence[Passage]) -> None:
    queries = [query.id for language in retrieval.languages for query in retrieval.queries[language]]
    for role, ids in (("passage", [passage.id for passage in passages]), ("query", queries)):
        name, count = Counter(ids).most_common(1)[0] if ids else ("", 0)
        if count > 1:
            raise DataError(
                f"{retrieval.name}: {role} id {name!r} occurs {count} times; ids must be unique over all languages"
            )
