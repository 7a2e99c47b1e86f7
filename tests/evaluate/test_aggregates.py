"""Aggregates against means taken from the per-query table by hand."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from toy_sets import score_vectors, tied_vectors, toy_set

from xling.data.records import RetrievalSet
from xling.evaluate.layout import build_layout
from xling.evaluate.result import EvaluationResult, dev_measure
from xling.languages import LangPair


def scored(retrieval: RetrievalSet, seed: int = 0) -> EvaluationResult:
    return score_vectors(retrieval, tied_vectors(build_layout(retrieval), seed))


def cells(rows: list[dict], column: str) -> dict[tuple[str, str], float]:
    """Mean of a column by query and passage language."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row[column] is not None:
            values.setdefault((row["query_language"], row["passage_language"]), []).append(row[column])
    return {cell: fmean(of_cell) for cell, of_cell in values.items()}


def by_hand(rows: list[dict]) -> dict[str, float]:
    cyrillic = {"de": False, "en": False, "ru": True}
    result = {}
    for name in ("mAP", "MRR@10", "nDCG@10", "R@1", "R@10", "R@100"):
        means = cells(rows, name)
        pairs = {cell: mean for cell, mean in means.items() if cell[1] != "*"}
        groups = {
            "Mo": [mean for (query, passage), mean in pairs.items() if query == passage],
            "Cr": [mean for (query, passage), mean in pairs.items() if query != passage],
            "Cr_same_script": [m for (q, p), m in pairs.items() if q != p and cyrillic[q] == cyrillic[p]],
            "Cr_different_script": [m for (q, p), m in pairs.items() if cyrillic[q] != cyrillic[p]],
            "Mul": [mean for (_, passage), mean in means.items() if passage == "*"],
        }
        result |= {f"{name}/{group}": fmean(members) for group, members in groups.items() if members}
    for name in ("rank_distance", "own_language_share"):
        result[name] = fmean(cells(rows, name).values())
    return result


def test_headline_pairs_and_pool_are_macro_means_of_the_per_query_values() -> None:
    result = scored(toy_set(0))
    rows = result.per_query.to_pylist()
    headline = dict(result.headline)
    assert headline.pop("own_language_share_expected") == pytest.approx(1 / 3)
    assert headline == pytest.approx(by_hand(rows))
    for (query, passage), mean in cells(rows, "mAP").items():
        if passage == "*":
            assert result.pool is not None
            assert result.pool.values["mAP"][result.languages.index(query)] == pytest.approx(mean)
        else:
            assert result.pair("mAP", LangPair(query, passage)) == pytest.approx(mean)
    assert dev_measure(result) == pytest.approx((headline["mAP/Mo"] + headline["mAP/Cr"]) / 2)


XQUAD_R = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MLQA_R = ("ar", "de", "en", "es", "hi", "vi", "zh")


@pytest.mark.parametrize(("languages", "mono", "cross"), [(XQUAD_R, 11, 110), (MLQA_R, 7, 42)])
def test_each_pair_weighs_the_same_in_mo_and_cr_however_many_queries_it_has(
    languages: tuple[str, ...], mono: int, cross: int
) -> None:
    retrieval = toy_set(7, languages=languages, queries=5, strata=False)
    result = scored(retrieval)
    off_diagonal = ~np.eye(len(languages), dtype=bool)
    assert (np.count_nonzero(~off_diagonal), np.count_nonzero(off_diagonal)) == (mono, cross)
    assert len(set(result.pair_queries[off_diagonal].tolist())) > 1  # a mean over queries would be another number
    means = cells(result.per_query.to_pylist(), "mAP")
    assert len([cell for cell in means if cell[1] != "*"]) == mono + cross
    assert result.headline["mAP/Mo"] == pytest.approx(sum(means[code, code] for code in languages) / mono)
    pairs = [means[query, passage] for query in languages for passage in languages if query != passage]
    assert result.headline["mAP/Cr"] == pytest.approx(sum(pairs) / cross)
    assert result.headline["mAP/Mul"] == pytest.approx(fmean(means[code, "*"] for code in languages))


def test_published_measures_are_computed_besides_the_usual_ones_and_come_first() -> None:
    retrieval = toy_set(0)
    usual, published = scored(retrieval), scored(replace(retrieval, measures=("MRR@100", "R@100", "success@5")))
    assert published.measures[:3] == published.published == ("MRR@100", "R@100", "success@5")
    assert next(iter(published.headline)) == "MRR@100/Mo"
    assert set(published.measures) == {*usual.measures, "MRR@100", "success@5"}
    assert {name: published.headline[name] for name in usual.headline} == dict(usual.headline)
    assert published.headline["success@5/Mo"] >= published.headline["R@1/Mo"]


def test_each_stratum_and_their_combination_has_the_headline_of_its_queries() -> None:
    result = scored(toy_set(1, queries=8))
    rows = result.per_query.to_pylist()
    assert set(result.strata) == {
        *("entity=seen", "entity=unseen", "wording=seen", "wording=unseen"),
        *(f"entity={entity},wording={wording}" for entity in ("seen", "unseen") for wording in ("seen", "unseen")),
    }
    for label, stratum in result.strata.items():
        wanted = dict(part.split("=") for part in label.split(","))
        members = [row for row in rows if all(row[f"stratum.{key}"] == value for key, value in wanted.items())]
        assert stratum.queries == len({row["query"] for row in members})
        assert dict(stratum.headline) == pytest.approx(by_hand(members))


def test_queries_without_a_relevant_passage_in_a_pair_are_skipped_and_counted_out() -> None:
    retrieval = toy_set(2)
    gone = {"q0-de", "q3-de"}
    qrels = {
        query: {p: g for p, g in row.items() if not (query in gone and p.endswith("-en"))}
        for query, row in retrieval.qrels.items()
    }
    retrieval = replace(retrieval, qrels=qrels)
    result = scored(retrieval)
    used = [
        query.id
        for query in retrieval.queries["de"]
        if any(p.endswith("-en") and g > 0 for p, g in qrels[query.id].items())
    ]
    assert not gone & set(used)
    assert result.pair_queries[0, 1] == len(used)
    rows = result.per_query.to_pylist()
    assert [r["query"] for r in rows if (r["query_language"], r["passage_language"]) == ("de", "en")] == used


def test_a_pair_without_any_query_is_nan_and_enters_no_mean() -> None:
    retrieval = toy_set(3)
    qrels = {
        q: {p: g for p, g in row.items() if q.endswith("ru") or not p.endswith("ru")}
        for q, row in retrieval.qrels.items()
    }
    result = scored(replace(retrieval, qrels=qrels))
    assert np.isnan(result.pair("mAP", LangPair("de", "ru")))
    assert result.pair_queries[0, 2] == 0
    assert result.headline["mAP/Cr"] == pytest.approx(by_hand(result.per_query.to_pylist())["mAP/Cr"])


@pytest.mark.parametrize("options", [{"cross_lingual": False}, {"languages": ("en",)}])
def test_without_cross_lingual_judgements_there_is_neither_pool_nor_cr(options: dict) -> None:
    result = scored(toy_set(4, **options))
    assert result.pool is None
    assert {name.partition("/")[2] for name in result.headline} == {"Mo"}
    assert dev_measure(result) == result.headline["mAP/Mo"]


def test_own_language_share_and_rank_distance_see_a_biased_model() -> None:
    retrieval = toy_set(5, queries=4, passages=12)
    layout = build_layout(retrieval)
    language_of = [*np.repeat(range(3), 4), *np.repeat(range(3), 12)]
    biased = np.eye(3, dtype=np.float32)[language_of]  # a vector tells nothing but the language
    assert biased.shape == (layout.query_count + len(layout.passage_ids), 3)
    result = score_vectors(retrieval, biased)
    assert result.headline["own_language_share"] == 1.0
    assert result.headline["own_language_share_expected"] == pytest.approx(1 / 3)
    blind = score_vectors(retrieval, np.ones_like(biased))
    assert blind.headline["own_language_share"] < 0.6


def test_languages_of_unknown_script_share_it_with_none() -> None:
    result = scored(toy_set(3, languages=("xq", "xr")))
    assert result.headline["mAP/Cr_different_script"] == result.headline["mAP/Cr"]
    assert "mAP/Cr_same_script" not in result.headline
