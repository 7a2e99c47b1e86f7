"""Some language pairs only: their figures are those of the whole set, and nothing else is scored or kept."""

import numpy as np
import pytest
from toy_encoders import toy_model
from toy_sets import score_vectors, tied_vectors, toy_set, toy_tokens

from xling.config.schema import EvaluationConfig, IndexConfig
from xling.data.selected import languages_of, parse_pairs, select_pairs
from xling.errors import ConfigError
from xling.evaluate.layout import build_layout
from xling.evaluate.measures import measures
from xling.evaluate.pairs import evaluate_local
from xling.evaluate.run_values import find_runs, measure_runs
from xling.languages import LangPair
from xling.storage import Storage


def vectors_of(retrieval, vectors_by_text):
    """The texts' vectors in the layout's order: queries, then passages."""
    layout = build_layout(retrieval)
    names = [name for queries in layout.queries for name in queries.ids] + list(layout.passage_ids)
    return np.stack([vectors_by_text[name] for name in names])


@pytest.mark.parametrize("text", ["de-en", "de-en,en-en", "en-de,ru-ru,de-ru", "ru-en,de-en"])
def test_a_pair_asked_for_has_the_figures_of_the_whole_set(text):
    whole = toy_set(7)
    layout = build_layout(whole)
    names = [name for queries in layout.queries for name in queries.ids] + list(layout.passage_ids)
    vectors = dict(zip(names, tied_vectors(layout, 7), strict=True))
    expected = score_vectors(whole, vectors_of(whole, vectors))

    pairs = parse_pairs(text)
    part = select_pairs(whole, pairs)
    found = score_vectors(part, vectors_of(part, vectors))

    assert set(found.languages) == set(languages_of(pairs))
    for query in found.languages:
        for passage in found.languages:
            pair = LangPair(query, passage)
            value = found.pair("mAP", pair)
            assert value == expected.pair("mAP", pair) if pair in pairs else np.isnan(value)
    assert found.pool is None
    assert not any(name.endswith("Mul") for name in found.headline)
    crossing = [expected.pair("mAP", pair) for pair in pairs if not pair.is_monolingual]
    assert found.headline.get("mAP/Cr") == (pytest.approx(np.mean(crossing)) if crossing else None)
    assert part.fingerprint != whole.fingerprint


@pytest.mark.parametrize("index", [None, IndexConfig(kind="flat")])
def test_run_files_are_of_the_pairs_asked_for_alone(tmp_path, index):
    part = select_pairs(toy_set(7), parse_pairs("de-en,ru-ru"))
    settings = EvaluationConfig(index=index, run_files=True, depth=20)
    evaluate_local(toy_model(), part, toy_tokens(part, 7), settings, run_folder=Storage(str(tmp_path)))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"de-en.run.gz", "de-en.qrels", "ru-ru.run.gz", "ru-ru.qrels"}
    scored = measure_runs(find_runs(tmp_path, None), measures())
    assert set(scored.per_query["query_language"].to_pylist()) == {"de", "ru"}


def test_only_what_the_pairs_need_is_kept():
    part = select_pairs(toy_set(7), parse_pairs("de-en"))
    assert {code: len(texts) > 0 for code, texts in part.queries.items()} == {"de": True, "en": False}
    assert {code: len(texts) > 0 for code, texts in part.passages.items()} == {"de": False, "en": True}
    assert all(passage.endswith("-en") for row in part.qrels.values() for passage in row)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("de", "--pairs 'de' is not a language pair"),
        ("de-EN", "'EN' is not a language code"),
        ("de-en,de-en", "names de-en more than once"),
        ("", "is not a language pair"),
    ],
)
def test_what_is_not_a_list_of_pairs_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_pairs(text)


def test_a_pair_that_the_set_cannot_have_is_refused():
    with pytest.raises(ConfigError, match="needs 'fr', which toy lacks; it has de, en, ru"):
        select_pairs(toy_set(7), parse_pairs("de-fr"))
    with pytest.raises(
        ConfigError, match="pair de-en: toy is judged within each language only; ask for pairs like de-de"
    ):
        select_pairs(toy_set(7, cross_lingual=False), parse_pairs("de-en"))
