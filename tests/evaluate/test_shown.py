"""The nearest passages of a few queries, beside the ranks that evaluation gives."""

import pytest
from toy_encoders import toy_model
from toy_sets import toy_set, toy_tokens

from xling.config.evaluation import EvaluationConfig
from xling.evaluate.pairs import evaluate_local
from xling.evaluate.shown import nearest_passages
from xling.languages import LangPair


@pytest.mark.parametrize("pair", ["de-de", "ru-en"])
def test_relevant_passages_stand_where_evaluation_ranks_them(pair):
    pair, model, retrieval = LangPair.parse(pair), toy_model(), toy_set(0)
    tokens, settings = toy_tokens(retrieval, 0), EvaluationConfig()
    queries = [query.id for query in retrieval.queries[pair.query]]
    found = nearest_passages(model, retrieval, tokens, queries, pair, 100, settings)
    rows = evaluate_local(model, retrieval, tokens, settings).per_query.to_pylist()
    of_pair = {
        row["query"]: row["mAP"]
        for row in rows
        if (row["query_language"], row["passage_language"]) == (pair.query, pair.passage)
    }
    assert of_pair
    for query, value in of_pair.items():
        relevant = [name for name, grade in retrieval.qrels[query].items() if grade and name.endswith(pair.passage)]
        ranks = sorted(found[query].index(name) + 1 for name in relevant)
        assert value == pytest.approx(sum(place / rank for place, rank in enumerate(ranks, start=1)) / len(ranks))


def test_no_more_are_given_than_asked_for():
    retrieval = toy_set(0)
    found = nearest_passages(
        toy_model(), retrieval, toy_tokens(retrieval, 0), ["q1-de"], LangPair("de", "en"), 2, EvaluationConfig()
    )
    assert len(found["q1-de"]) == 2
