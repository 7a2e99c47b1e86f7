from dataclasses import replace

import pytest
from toy_sets import LANGUAGES, toy_set

from xling.data.records import Passage, Query
from xling.errors import DataError
from xling.evaluate.layout import build_layout


def test_candidates_are_numbered_by_language_and_tied_by_id_over_all() -> None:
    retrieval = toy_set(0, passages=11)
    layout = build_layout(retrieval)
    for index, language in enumerate(retrieval.languages):
        assert tuple(layout.passage_ids[layout.columns(index)]) == tuple(p.id for p in retrieval.passages[language])
    merged = sorted(layout.passage_ids, key=str.encode, reverse=True)
    assert [merged[place] for place in layout.tie_order_N] == list(layout.passage_ids)


def test_judgements_of_grade_zero_do_not_count() -> None:
    retrieval = toy_set(1)
    layout = build_layout(retrieval)
    for index, language in enumerate(retrieval.languages):
        judged = layout.queries[index]
        entries = {
            (judged.ids[row], layout.passage_ids[column])
            for row, column in zip(judged.rows_R, judged.columns_R, strict=True)
        }
        assert entries == {
            (query.id, passage)
            for query in retrieval.queries[language]
            for passage, grade in retrieval.qrels[query.id].items()
            if grade > 0
        }


def test_texts_are_named_by_role_and_id() -> None:
    layout = build_layout(toy_set(0, queries=2, passages=3))
    assert layout.name_text(2) == "query 'q0-en'"
    assert layout.name_text(6) == "passage '2-de'"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qrels": {"q0-de": {"gone": 1}}}, "'q0-de' is judged on passage 'gone', which is not among the candidates"),
        ({"qrels": {"q0-de": {"1-de": 0}}}, "no query has a relevant passage"),
        ({"qrels": {}}, "no query has a relevant passage"),
        (
            {"queries": {code: [Query("same", code, "?")] for code in LANGUAGES}},
            "query id 'same' occurs 3 times",
        ),
        (
            {"passages": {code: [Passage("same", code, "!")] for code in LANGUAGES}},
            "passage id 'same' occurs 3 times",
        ),
    ],
)
def test_inconsistent_sets_are_refused(change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_layout(replace(toy_set(0), **change))


def test_a_judgement_of_grade_zero_may_name_a_missing_passage() -> None:
    retrieval = toy_set(0)
    layout = build_layout(replace(retrieval, qrels={**retrieval.qrels, "q0-de": {"gone": 0, "1-de": 1}}))
    assert 0 in layout.queries[0].rows_R
