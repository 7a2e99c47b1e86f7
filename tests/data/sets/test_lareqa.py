from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from xling.config.schema import DatasetConfig
from xling.data.records import RetrievalSet, sorted_passages
from xling.data.sets.lareqa import Lareqa, MlqaR, XquadR
from xling.errors import DataError
from xling.languages import all_pairs

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "xquad-r"
MLQA_R = os.environ.get("XLING_MLQA_R")

XQUAD_R_CANDIDATES = {
    "ar": 1222, "de": 1276, "el": 1234, "en": 1180, "es": 1215, "hi": 1244,
    "ru": 1219, "th": 852, "tr": 1167, "vi": 1209, "zh": 1196,
}  # fmt: skip
MLQA_R_CANDIDATES = {"ar": 2545, "de": 2362, "en": 6264, "es": 1787, "hi": 2426, "vi": 2828, "zh": 2322}
MLQA_R_USABLE = {
    "ar-ar": 517, "ar-de": 207, "ar-en": 517, "ar-es": 161, "ar-hi": 186, "ar-vi": 163, "ar-zh": 188,
    "de-de": 512, "de-en": 512, "de-es": 196, "de-hi": 163, "de-vi": 182, "de-zh": 190, "en-en": 1148,
    "en-es": 500, "en-hi": 507, "en-vi": 511, "en-zh": 504, "es-es": 500, "es-hi": 187, "es-vi": 189,
    "es-zh": 161, "hi-hi": 507, "hi-vi": 177, "hi-zh": 189, "vi-vi": 511, "vi-zh": 184, "zh-zh": 504,
}  # fmt: skip


def question(identifier: str, answer_start: int, text: str = "wer?") -> dict[str, Any]:
    return {"id": identifier, "question": text, "answers": [{"text": "unused", "answer_start": answer_start}]}


def paragraph(context: str, breaks: list[list[int]], *questions: dict[str, Any]) -> dict[str, Any]:
    sentences = [context[start:end].strip() for start, end in breaks]  # not to be trusted
    return {"context": context, "sentence_breaks": breaks, "sentences": sentences, "qas": list(questions)}


def write(folder: Path, language: str, *articles: tuple[str, list[dict[str, Any]]]) -> None:
    data = [{"title": title, "paragraphs": paragraphs} for title, paragraphs in articles]
    content = json.dumps({"version": "1.1", "data": data}, ensure_ascii=False)
    (folder / f"{language}.json").write_text(content, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three languages: a byte order mark, outer white space, astral characters, equal sentences, ids in some."""
    write(
        tmp_path,
        "en",
        ("Rhine", [
            paragraph("One. Two.", [[0, 4], [5, 9]], question("q1", 0), question("q2", 5)),
            paragraph("One. End.", [[0, 4], [5, 9]], question("q3", 8)),
        ]),
        ("Kenya", [paragraph("Aa. Bb.", [[0, 4], [4, 7]], question("q4", 4))]),
    )  # fmt: skip
    write(
        tmp_path,
        "de",
        ("Rhine", [paragraph("\ufeff Eins. Zwei. ", [[0, 7], [8, 14]], question("q1", 2), question("q2", 8))]),
        ("Kenya", [paragraph("😀 Ja. Nein.", [[0, 5], [6, 11]], question("q4", 6))]),
    )
    write(tmp_path, "zh", ("Kenya", [paragraph("一。二。", [[0, 2], [2, 4]], question("q4", 1))]))
    return tmp_path


def load(folder: Path, adapter: Lareqa | None = None, **options: Any) -> RetrievalSet:
    adapter = adapter or MlqaR()
    return adapter.load_evaluation(DatasetConfig(dataset=adapter.name, path=str(folder), **options))


def usable(retrieval: RetrievalSet, query_language: str, passage_language: str) -> int:
    there = {passage.id for passage in retrieval.passages[passage_language]}
    return sum(bool(there & retrieval.qrels[query.id].keys()) for query in retrieval.queries[query_language])


def test_sentences_are_slices_of_the_untouched_context(folder: Path) -> None:
    retrieval = load(folder)
    texts = {passage.id: passage.text for code in retrieval.languages for passage in retrieval.passages[code]}
    assert retrieval.languages == ("de", "en", "zh")
    assert texts["de/0.0"] == "\ufeff Eins."
    assert texts["de/1.0"] == "😀 Ja."[:5]  # offsets count code points
    assert texts["de/1.1"] == "Nein."
    assert texts["en/0.0"] == texts["en/1.0"] == "One."  # never deduplicated
    assert texts["en/2.0"] == "Aa. "
    assert len(texts) == 4 + 6 + 2


def test_passages_carry_paragraph_and_article(folder: Path) -> None:
    retrieval = load(folder)
    passage = next(passage for passage in retrieval.passages["de"] if passage.id == "de/0.1")
    assert passage.context == "\ufeff Eins. Zwei. "
    assert passage.article == "Rhine"
    for code in retrieval.languages:
        assert list(retrieval.passages[code]) == sorted_passages(retrieval.passages[code])


def test_relevance_joins_on_the_question_id(folder: Path) -> None:
    qrels = load(folder).qrels
    assert qrels["en/q1"] == qrels["de/q1"] == {"en/0.0": 1, "de/0.0": 1}
    assert qrels["en/q3"] == {"en/1.1": 1}  # in English only
    assert qrels["zh/q4"] == {"en/2.1": 1, "de/1.1": 1, "zh/0.0": 1}


def test_answer_at_a_border_belongs_to_the_sentence_it_starts(folder: Path) -> None:
    assert "en/2.1" in load(folder).qrels["en/q4"]  # answer_start 4 with breaks [0, 4) and [4, 7)


def test_queries_without_a_passage_in_a_language_have_no_judgement_there(folder: Path) -> None:
    retrieval = load(folder)
    counts = {str(pair): usable(retrieval, pair.query, pair.passage) for pair in all_pairs(retrieval.languages)}
    assert counts == {
        "de-de": 3, "de-en": 3, "de-zh": 1, "en-de": 3, "en-en": 4, "en-zh": 1, "zh-de": 1, "zh-en": 1, "zh-zh": 1,
    }  # fmt: skip


def test_languages_and_titles_restrict_and_keep_ids(folder: Path) -> None:
    retrieval = load(folder, languages=("en", "de"), titles=("Kenya",))
    assert retrieval.languages == ("de", "en")
    assert [passage.id for passage in retrieval.passages["en"]] == ["en/2.1", "en/2.0"]
    assert [query.id for query in retrieval.queries["de"]] == ["de/q4"]
    assert retrieval.fingerprint != load(folder).fingerprint == load(folder).fingerprint


def test_order_of_languages_in_the_configuration_changes_nothing(folder: Path) -> None:
    assert load(folder, languages=("en", "de")) == load(folder, languages=("de", "en"))


def test_wrong_titles_and_languages(folder: Path) -> None:
    with pytest.raises(DataError, match="is 'Keny', must be one of Rhine, Kenya; did you mean 'Kenya'"):
        load(folder, titles=("Keny",))
    with pytest.raises(DataError, match=r"zh\.json: has no article with one of the `titles`"):
        load(folder, titles=("Rhine",))
    with pytest.raises(DataError, match=r"has no ar\.json; add it"):
        load(folder, languages=("ar",))
    with pytest.raises(DataError, match="is 'th', must be one of ar, de, en"):
        load(folder, languages=("th",))
    problems = MlqaR().check(DatasetConfig(dataset="mlqa-r", path=str(folder), titles=("Rhin", "Kenya")))
    assert [field for field, _ in problems] == ["titles"]
    assert "did you mean 'Rhine'" in problems[0][1]


def test_where_the_files_come_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs `path`.*github\.com/google-research-datasets/lareqa"):
        XquadR().load_evaluation(DatasetConfig(dataset="xquad-r"))
    with pytest.raises(DataError, match=r"holds none of ar\.json.*google-research-datasets/lareqa"):
        load(tmp_path, XquadR())


def test_file_with_byte_order_mark_is_read(folder: Path) -> None:
    whole = load(folder)
    content = (folder / "en.json").read_bytes()
    (folder / "en.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert load(folder) == whole


ONE = [[0, 4]]


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (paragraph("One. Two.", [[0, 4], [5, 9]], question("q", 4)), "answer_start 4 lies in 0 sentences"),
        (paragraph("One. Two.", [[0, 6], [5, 9]], question("q", 5)), "answer_start 5 lies in 2 sentences"),
        (paragraph("One.", [[0, 5]], question("q", 0)), "must lie within the context's 4 characters"),
        (paragraph("One.", ONE, question("q", 0)) | {"sentence_breaks": [[0]]}, "must be two character offsets"),
        (paragraph("One.", ONE, question("q", 0), question("q", 0)), "question id 'q' occurs twice"),
        (paragraph("One.", ONE, question("a b", 0)), "must be a text without white space"),
        (paragraph("One.", ONE, question("q", 0, " ")), "question is ' ', must be a text that is not empty"),
        (paragraph("One.", ONE, question("q", 0) | {"answers": []}), "has 0 answers, must have exactly one"),
        (paragraph("One.", ONE, {"id": "q", "answers": []}), "has 0 answers"),
        ({"context": "One.", "qas": []}, "has no 'sentence_breaks'"),
        (paragraph("One.", ONE, question("q", 0)) | {"context": 3}, "context is a int, must be a str"),
        (paragraph("One.", ONE), "holds no questions"),
    ],
)  # fmt: skip
def test_malformed_files_name_file_and_rule(folder: Path, broken: dict[str, Any], rule: str) -> None:
    write(folder, "en", ("Rhine", [broken]))
    with pytest.raises(DataError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{folder / 'en.json'}: ")
    assert rule in str(caught.value)


def test_cut_file_is_detected(folder: Path) -> None:
    content = (folder / "de.json").read_bytes()
    (folder / "de.json").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"de\.json:1: is not whole JSON .* is the file cut short"):
        load(folder)


@pytest.mark.skipif(not REAL.exists(), reason="needs the XQuAD-R files beside the repository")
def test_xquad_r_has_the_published_counts() -> None:
    retrieval = load(REAL, XquadR())
    assert {code: len(retrieval.passages[code]) for code in retrieval.languages} == XQUAD_R_CANDIDATES
    assert {len(retrieval.queries[code]) for code in retrieval.languages} == {1190}
    pairs = all_pairs(retrieval.languages)
    assert len(pairs) == 110 + 11
    assert {usable(retrieval, pair.query, pair.passage) for pair in pairs} == {1190}
    assert all(len(relevant) == 11 for relevant in retrieval.qrels.values())
    assert len(retrieval.qrels) == 13_090


@pytest.mark.skipif(MLQA_R is None, reason="XLING_MLQA_R does not name a folder with the MLQA-R files")
def test_mlqa_r_has_the_published_counts() -> None:
    retrieval = load(Path(str(MLQA_R)))
    assert {code: len(retrieval.passages[code]) for code in retrieval.languages} == MLQA_R_CANDIDATES
    counts = {str(pair): usable(retrieval, pair.query, pair.passage) for pair in all_pairs(retrieval.languages)}
    assert len(counts) == 49
    for name, expected in MLQA_R_USABLE.items():
        query, passage = name.split("-")
        assert counts[name] == counts[f"{passage}-{query}"] == expected
