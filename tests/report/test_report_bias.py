"""Tables of language bias, of a result whose figures are made up so that they can be read off."""

import io

import numpy as np
import pytest
from rich.console import Console
from toy_sets import score_vectors, tied_vectors, toy_set

from xling.evaluate.layout import build_layout
from xling.evaluate.scoring import score_language
from xling.report.bias import bias_by_language, by_training_language, languages_at_ranks, nearest_languages
from xling.report.tables import as_rich

XQUAD_R = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


@pytest.fixture
def result():
    """German, English, Russian; vectors that tell nothing but the language, and German and English alike."""
    retrieval = toy_set(5, queries=4, passages=12)
    likeness = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], np.float32)
    language_of = [*np.repeat(range(3), 4), *np.repeat(range(3), 12)]
    vectors = np.concatenate([likeness[language_of[:12]], np.eye(3, dtype=np.float32)[language_of[12:]]])
    return score_vectors(retrieval, vectors)


def test_the_pool_is_shown_by_rank_and_language(result):
    headings, body = languages_at_ranks(result, "de")
    assert headings == ["rank", "de", "en", "ru"]
    assert [line[0] for line in body] == [*map(str, range(1, 11)), "1–10", "expected"]
    assert body[0] == ["1", "1.000", ".000", ".000"]
    assert body[-1] == ["expected", ".333", ".333", ".333"]


def test_shares_at_the_ranks_are_those_of_the_nearest_passages():
    retrieval = toy_set(1, passages=20)
    vectors = tied_vectors(build_layout(retrieval), 1)
    result = score_vectors(retrieval, vectors)
    layout = build_layout(retrieval)
    language_of = np.repeat(range(3), 20)
    for i, judged in enumerate(layout.queries):
        rows = np.unique(judged.rows_R)
        scores = vectors[layout.query_texts(i)][rows] @ vectors[layout.query_count :].T
        order = np.array([np.lexsort((layout.tie_order_N, -row))[:10] for row in scores])
        expected = np.stack([np.bincount(language_of[column], minlength=3) / len(rows) for column in order.T])
        np.testing.assert_allclose(result.pool.languages_at_ranks[i], expected)
        own = result.pool.own_language_share[i]
        assert result.pool.languages_at_ranks[i].mean(axis=0)[i] == pytest.approx(own)


def test_bias_is_told_by_language_script_and_training_language(result):
    headings, body = bias_by_language(result, ("de", "ru"))
    assert headings == ["query", "rank dist.", "same\nscript", "other\nscripts",
                        *(f"{name}\nx exp." for name in ("own", "script", "others", "seen"))]  # fmt: skip
    lines = {line[0]: line[1:] for line in body}
    assert list(lines) == ["de", "en", "ru", "all", "seen", "unseen"]
    # All ten nearest are German: three times the third that is expected, 1.5 times that of German and Russian.
    assert lines["de"][3:] == ["3.00", ".00", ".00", "1.50"]
    assert lines["en"][3:] == ["3.00", ".00", ".00", ".00"]
    assert lines["ru"][4] == "–"  # Russian shares its script with no other
    assert lines["seen"][-1] == "1.50"
    assert lines["unseen"] == lines["en"]
    assert [line[0] for line in bias_by_language(result)[1]] == ["de", "en", "ru", "all"]


def test_rank_distances_by_script_are_those_within_the_group():
    retrieval = toy_set(3, passages=20)
    layout = build_layout(retrieval)
    vectors = tied_vectors(layout, 3)
    pool = score_vectors(retrieval, vectors).pool
    cyrillic = np.array([False, False, True])
    for language, judged in enumerate(layout.queries):
        ranks = score_language(layout, language, vectors, None).pool_ranks_R
        same = cyrillic[judged.targets_R] == cyrillic[language]
        for member, found in ((same, pool.rank_distance_same_script), (~same, pool.rank_distance_different_script)):
            groups = [ranks[member & (judged.rows_R == row)] for row in np.unique(judged.rows_R)]
            distances = [np.ptp(group) for group in groups if len(group) > 1]
            assert found[language] == pytest.approx(np.mean(distances))


def test_pairs_are_told_by_training_language(result):
    headings, body = by_training_language(result, ("de", "en"))
    assert headings[2] == "mAP\nMo."
    lines = {tuple(line[:2]): line[2:] for line in body}
    values = result.pair_values["mAP"]
    assert lines["seen", "seen"][0] == f"{(values[0, 0] + values[1, 1]) / 2:.3f}".removeprefix("0")
    assert lines["seen", "unseen"][:2] == ["–", f"{(values[0, 2] + values[1, 2]) / 2:.3f}".removeprefix("0")]
    assert lines["unseen", "unseen"][0] == f"{values[2, 2]:.3f}".removeprefix("0")
    assert by_training_language(result, ("de", "en", "ru")) is None
    assert by_training_language(result, ("fr",)) is None


def test_a_result_without_a_pool_has_no_bias():
    retrieval = toy_set(0, cross_lingual=False)
    result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), 0))
    assert languages_at_ranks(result, "de") is nearest_languages(result) is bias_by_language(result) is None


def test_eleven_languages_fit_a_terminal():
    retrieval = toy_set(0, languages=XQUAD_R, strata=False)
    result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), 0))
    grids = [languages_at_ranks(result, "ar"), nearest_languages(result), bias_by_language(result, ("en", "es"))]
    console = Console(width=80, file=io.StringIO())
    for grid in grids:
        console.print(as_rich(grid, "title", lead=1))
    lines = console.file.getvalue().splitlines()
    assert "…" not in console.file.getvalue()
    assert max(map(len, lines)) <= 80


def test_languages_trained_on_are_found_under_other_codes(result):
    assert by_training_language(result, ("deu", "en_gb")) == by_training_language(result, ("de", "en"))
    assert bias_by_language(result, ("deu", "en_gb")) == bias_by_language(result, ("de", "en"))
