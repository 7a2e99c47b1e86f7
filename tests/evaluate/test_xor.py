"""R@2kt and R@5kt: by the official script's steps written out, on the real questions, and through an evaluation."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_sets import score_vectors

from xling.data.files import BadRows
from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.data.sets.xor_retrieve import read_questions
from xling.errors import DataError
from xling.evaluate.answers import save_predictions
from xling.evaluate.layout import build_layout
from xling.evaluate.scoring import RunRequest, score_language
from xling.evaluate.xor import (
    Gold,
    Prediction,
    hits,
    predictions_json,
    read_predictions,
    score_predictions,
    spans,
    word_tokens,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "xor-tydi"
DEV = DATA / "xor_dev_retrieve_eng_span_v1_1.jsonl"


def test_words_are_those_of_nltks_word_tokenize() -> None:
    """What word_tokenize gives for these with its own data (punkt_tab), written down."""
    assert list(word_tokens("Mr. Smith (b. 1931) can't pay $3,000. \"It's over,\" said J. R. Hall. He left...")) == [
        *("Mr.", "Smith", "(", "b", ".", "1931", ")", "ca", "n't", "pay", "$", "3,000", "."),
        *("``", "It", "'s", "over", ",", "''", "said", "J.", "R.", "Hall", ".", "He", "left", "..."),
    ]


def text_of(count: int, word: str = "word") -> str:
    return " ".join([word] * count)


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (1999, {"R@2kt": True, "R@5kt": True}),
        (2000, {"R@2kt": False, "R@5kt": True}),
        (4999, {"R@2kt": False, "R@5kt": True}),
        (5000, {"R@2kt": False, "R@5kt": False}),
    ],
)
def test_an_answer_counts_up_to_the_last_token(before: int, found: dict) -> None:
    assert hits([text_of(before // 2), text_of(before - before // 2), "Portland and more"], ["Portland"]) == found


def test_an_answer_is_looked_for_in_the_joined_tokens_in_its_own_case() -> None:
    assert hits(["It is Port-", "land"], ["Port- land"])["R@2kt"]  # across passages, by one blank
    assert not hits(["portland"], ["Portland"])["R@2kt"]
    assert hits(["It cost $ 3."], ["$ 3"])["R@2kt"]
    assert not hits(["the dog's tail"], ["dog's tail"])["R@2kt"]  # as in the official script: tokens are parted
    assert hits([], ["a"]) == {"R@2kt": False, "R@5kt": False}


def test_yes_and_no_are_no_spans_and_only_these_spellings() -> None:
    assert spans(["yes", "Yes", "no", "none"]) == ("Yes", "none")


GOLD = {
    "1": Gold("ar", ("Portland",)), "2": Gold("ar", ("yes",)), "3": Gold("ar", ("Rome", "no")),
    "4": Gold("te", ("Oslo",)), "5": Gold("te", ("Bern",)),
}  # fmt: skip


def test_shares_are_averaged_over_languages_and_missing_predictions_are_missed() -> None:
    predictions = [
        Prediction("1", "ar", ("in Portland",)),
        Prediction("2", "ar", ("yes",)),
        Prediction("4", "te", ("Oslo",)),
        Prediction("9", "te", ("Bern",)),
    ]
    scores = score_predictions(predictions, GOLD)
    assert scores.questions == {"ar": 2, "te": 2}
    assert scores.by_language["R@2kt"] == {"ar": 0.5, "te": 0.5}
    assert (scores.means["R@5kt"], scores.unanswered, scores.unknown) == (0.5, 2, 1)


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    predictions = [Prediction("1", "ar", ("é 日本", "two")), Prediction("2", "te", ())]
    (tmp_path / "p.json").write_bytes(predictions_json(predictions))
    assert read_predictions(tmp_path / "p.json") == predictions
    assert json.loads((tmp_path / "p.json").read_text())[0] == {"id": "1", "lang": "ar", "ctxs": ["é 日本", "two"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"id": "1", "lang": "ar", "ctxs": [1]}]', r"entry 0 \(id 1\): `ctxs` must be a list of passage texts"),
        ('[{"id": 7, "lang": "ar", "ctxs": []}]', r"entry 0: `id` is 7, must be a text"),
        (
            '[{"id": "1", "lang": "ar", "ctxs": []}, {"id": "1", "lang": "ar", "ctxs": []}]',
            r"entry 1: id '1' stands twice",
        ),
        ("[[]]", r"entry 0: is no object"),
        ("{}", r"is no list"),
        ('[{"id": "1"', r"is not JSON"),
        ("[" * 100_000, r"is not JSON"),
    ],
)
def test_malformed_predictions_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(DataError, match=r"p\.json: " + told):
        read_predictions(tmp_path / "p.json")


@pytest.mark.skipif(not DEV.is_file(), reason="XOR-Retrieve's questions are not beside the project")
def test_the_dev_set_has_its_eligible_questions() -> None:
    rows = list(read_questions(DEV, BadRows(strict=True)))
    eligible = Counter(query.language for query, answers in rows if spans(answers))
    assert eligible == {"ar": 309, "bn": 304, "fi": 314, "ja": 241, "ko": 285, "ru": 237, "te": 238}
    gold = {query.id.partition("/")[2]: Gold(query.language, tuple(answers)) for query, answers in rows}
    perfect = score_predictions((Prediction(name, of.language, of.answers) for name, of in gold.items()), gold)
    assert perfect.questions == eligible
    # The official script gives this for the answers themselves as passages: word_tokenize cuts many of them ("dog's").
    assert perfect.means["R@2kt"] == pytest.approx(0.8812996126)
    assert perfect.unanswered == 0


def answered_set() -> RetrievalSet:
    queries = {
        "ar": [Query("ar/1", "ar", "?"), Query("ar/2", "ar", "?"), Query("ar/3", "ar", "?")],
        "te": [Query("te/4", "te", "?"), Query("te/5", "te", "?")],
        "en": [],
    }
    passages = [
        Passage(f"en/{n}", "en", f"T {text}", article="T")
        for n, text in enumerate([f"{text_of(1998)} Portland", f"{text_of(1000, 'more')} Oslo", "Rome Bern"])
    ]
    answers = {f"{of.language}/{name}": of.answers for name, of in GOLD.items()}
    return RetrievalSet(
        "xor-retrieve", ("ar", "te", "en"), queries, {"ar": [], "te": [], "en": sorted_passages(passages)}, {},
        "c0ffee", answers=answers,
    )  # fmt: skip


def vectors(wanted: list[list[float]]) -> np.ndarray:
    """Queries that score the passages en/2, en/1, en/0 as wanted."""
    return np.concatenate([np.array(wanted), np.eye(3)]).astype(np.float32)


def test_an_evaluation_reads_the_passages_that_each_query_found() -> None:
    result = score_vectors(answered_set(), vectors([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 3, 2], [1, 2, 3]]))
    assert result.measures == result.published == ("R@2kt", "R@5kt")
    rows = {row["query"]: row for row in result.per_query.to_pylist()}
    assert set(rows) == {"ar/1", "ar/3", "te/4", "te/5"}  # ar/2 has no answer but "yes"
    # All start with 1,998 words, "Portland" and "more": Rome and Bern come after 3,000 tokens.
    assert {name: (row["R@2kt"], row["R@5kt"]) for name, row in rows.items()} == {
        "ar/1": (1, 1), "ar/3": (0, 1), "te/4": (1, 1), "te/5": (0, 1),
    }  # fmt: skip
    assert result.headline == {
        "R@2kt/Cr": 0.5, "R@2kt/Cr_different_script": 0.5, "R@5kt/Cr": 1.0, "R@5kt/Cr_different_script": 1.0,
    }  # fmt: skip
    assert result.pair_queries.tolist() == [[0, 0, 2], [0, 0, 2], [0, 0, 0]]


def test_the_predictions_file_of_an_evaluation_scores_as_the_evaluation(tmp_path: Path) -> None:
    retrieval = answered_set()
    layout = build_layout(retrieval)
    wanted = vectors([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 3, 2], [1, 2, 3]])
    scores = [score_language(layout, language, wanted, None) for language in range(3)]
    save_predictions(None, retrieval, layout, scores)
    save_predictions(RunRequest(str(tmp_path), 10), retrieval, layout, scores)
    predictions = read_predictions(tmp_path / "predictions.json")
    assert [(one.id, one.language) for one in predictions] == [
        ("1", "ar"), ("2", "ar"), ("3", "ar"), ("4", "te"), ("5", "te"),
    ]  # fmt: skip
    assert predictions[0].texts[0].endswith("Portland")  # its title, "T", left out
    assert predictions[0].texts[0].startswith("word")
    found = score_predictions(predictions, GOLD)
    assert found.means == {"R@2kt": 0.5, "R@5kt": 1.0}
    assert found.unanswered == 0


def test_a_set_is_judged_by_answers_in_one_language_or_by_qrels() -> None:
    with pytest.raises(DataError, match=r"is judged by answers and has passages in en and 1 judged queries"):
        build_layout(replace(answered_set(), qrels={"ar/1": {"en/0": 1}}))
