from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.files import BadRows
from xling.data.records import RetrievalSet
from xling.data.samples.files import write_jsonl, write_table
from xling.data.samples.retrieval import xor_retrieve
from xling.data.selected import parse_pairs, select_pairs
from xling.data.sets.collection import body
from xling.data.sets.xor_retrieve import QUESTIONS, XorRetrieve, read_questions
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "xor-tydi"


def load(folder: Path, **options: Any) -> RetrievalSet:
    return XorRetrieve().load_evaluation(DatasetConfig(dataset="xor-retrieve", path=str(folder), **options))


def test_questions_have_answers_and_english_candidates(tmp_path: Path) -> None:
    xor_retrieve(tmp_path)
    retrieval = load(tmp_path)
    assert retrieval.languages == ("ar", "bn", "fi", "ja", "ko", "ru", "te", "en")
    assert retrieval.qrels == {}
    assert retrieval.answers == {"ar/-10": ["Nairobi", "Nairobi"], "fi/11": ["yes"]}  # as published
    assert [query.id for query in retrieval.queries["ar"]] == ["ar/-10"]  # `lang` was " ar"
    assert [passage.id for passage in retrieval.passages["en"]] == ["en/2", "en/1"]
    assert retrieval.passages["en"][1].text == 'Nairobi Nairobi is the "capital" of Kenya.'
    assert body(retrieval.passages["en"][1]) == 'Nairobi is the "capital" of Kenya.'
    assert not retrieval.passages["ar"]
    with pytest.raises(DataError, match="names none with questions"):
        load(tmp_path, languages=("en",))
    assert load(tmp_path, languages=("fi", "en")).fingerprint == load(tmp_path, languages=("fi",)).fingerprint
    pairs = select_pairs(retrieval, parse_pairs("fi-en"))
    assert (pairs.languages, pairs.answers, len(pairs.passages["en"])) == (("fi", "en"), {"fi/11": ["yes"]}, 2)
    assert pairs.fingerprint == load(tmp_path, languages=("fi",)).fingerprint
    part = load(tmp_path, languages=("fi",))
    assert (part.languages, list(part.answers)) == (("fi", "en"), ["fi/11"])


def test_the_corpus_may_be_json_lines(tmp_path: Path) -> None:
    xor_retrieve(tmp_path)
    table = load(tmp_path)
    (tmp_path / "psgs_w100.tsv.gz").unlink()
    passages = [("2", "Oulu", "Oulu lies in the north."), ("1", "Nairobi", 'Nairobi is the "capital" of Kenya.')]
    for key in ("docid", "_id", "id"):
        rows = [{key: number, "title": title, "text": text} for number, title, text in passages]
        write_jsonl(tmp_path / "corpus.jsonl.gz", rows)
        assert load(tmp_path).fingerprint == table.fingerprint


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("3\tno title", "has 2 columns separated by tabs, must have 3: id, text, title"),
        ("3\t\t", "passage '3' is empty"),
        ("1\tx\ty", "passage id 'en/1' is that of"),
        ("3 4\tx\ty", "`id` is"),
    ],
)
def test_wrong_rows_of_the_table(tmp_path: Path, line: str, rule: str) -> None:
    xor_retrieve(tmp_path)
    (tmp_path / "psgs_w100.tsv.gz").unlink()
    path = write_table(tmp_path / "psgs_w100.tsv", [("title", "id", "text"), ("T", "1", "x"), ("T", "2", "y")])
    if rule.startswith("has 2"):
        rule = rule.replace("id, text, title", "title, id, text")
    else:
        number, text, title = line.split("\t")
        line = "\t".join((title, number, text))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path}:4: {rule}")
    assert len(load(tmp_path, bad_rows="skip").passages["en"]) == 2


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"lang": "elvish"}, "`lang`: 'elvish' is no language"),
        ({"lang": "de"}, "`lang` is 'de', must be one of ar"),
        ({"answers": "yes"}, "`answers` is"),
        ({"id": "11", "lang": "fi"}, "which an earlier row has too"),
        ({"question": ""}, "`question` is"),
    ],
)
def test_wrong_questions(tmp_path: Path, row: dict[str, Any], rule: str) -> None:
    xor_retrieve(tmp_path)
    path = tmp_path / QUESTIONS
    good = {"id": "11", "question": "?", "answers": ["a"], "lang": "fi"}
    write_jsonl(path, [good, {"id": "12", "question": "?", "answers": [], "lang": "ru"} | row])
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path}:2: {rule}"[: len(str(path)) + 4])
    assert rule in str(caught.value)
    assert list(load(tmp_path, bad_rows="skip").answers) == ["fi/11"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"has no {QUESTIONS}"):
        load(tmp_path)
    config = xor_retrieve(tmp_path)
    (tmp_path / "psgs_w100.tsv.gz").unlink()
    with pytest.raises(DataError, match=r"has no corpus; put one of psgs_w100\.tsv, corpus\.jsonl"):
        load(tmp_path)
    assert "has no corpus" in dict(registry.problems(config, "evaluate"))["path"]
    with pytest.raises(DataError, match="is 'de', must be one of ar"):
        load(tmp_path, languages=("de",))


@pytest.mark.skipif(not REAL.exists(), reason="needs the XOR-Retrieve questions beside the repository")
def test_the_dev_questions_have_the_published_counts() -> None:
    rows = list(read_questions(REAL / QUESTIONS, BadRows(strict=True)))
    counts = Counter(query.language for query, _ in rows)
    assert len(rows) == 2110
    assert counts == {"ar": 350, "bn": 312, "fi": 360, "ja": 296, "ko": 299, "ru": 255, "te": 238}


@pytest.mark.skipif(not REAL.exists(), reason="needs the XOR-Retrieve questions beside the repository")
def test_arabic_is_arabic_in_the_training_questions_too() -> None:
    rows = list(read_questions(REAL / "xor_train_retrieve_eng_span.jsonl", BadRows(strict=False)))
    assert len(rows) == 15_250
    assert {query.language for query, _ in rows} == {"ar", "bn", "fi", "ja", "ko", "ru", "te"}
