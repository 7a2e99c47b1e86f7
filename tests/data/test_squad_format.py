from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xling.data.files import BadRows
from xling.data.squad_format import SquadQuestion, read_squad, read_squad_parquet
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tydiqa" / "goldp-sample"


def qa(identifier: Any, text: str, start: Any, question: Any = "wer?") -> dict[str, Any]:
    return {"id": identifier, "question": question, "answers": [{"text": text, "answer_start": start}]}


def write(path: Path, *paragraphs: Any, title: Any = "Rhein") -> Path:
    document = {"version": "1.1", "data": [{"title": title, "paragraphs": list(paragraphs)}]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "squad.json"


def load(path: Path, **options: Any) -> list[SquadQuestion]:
    return list(read_squad(path, BadRows(strict=True), **options))


def test_offsets_count_characters(path: Path) -> None:
    context = "\ufeff 😀 Käse ist gelb."
    write(path, {"context": context, "qas": [qa("a", "gelb", 13), qa("b", "Käse", 4)]})
    first, second = load(path)
    assert first == SquadQuestion("a", "Rhein", context, "wer?", (("gelb", 13),), "data[0].paragraphs[0].qas[0]")
    assert first.context is second.context  # a paragraph's text is held once


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (qa("a", "gelb", 15), "counts UTF-8 bytes, must count characters"),
        (qa("a", "gelb", 99), "lies outside the context's 16 characters"),
        (qa("a", "gelb", -1), "lies outside the context's 16 characters"),
        (qa("a", "Rot", 0), 'points at "\\ud83d\\ude00 K", must point at the answer "Rot"'),
        (qa("a", "gelb", "11"), '`answer_start` is "11", must be a number of characters'),
        (qa("a", "gelb", True), "`answer_start` is true"),
        (qa("a", "", 0), "`text` is"),
        (qa("a b", "gelb", 11), "must be an id without white space"),
        (qa("ok", "gelb", 11), "an earlier question has too"),
        (qa("a", "gelb", 11, question=" "), "`question` is"),
        (qa("a", "gelb", 11, question="\ud83d"), "half of a surrogate pair"),
        ({"id": "a", "question": "q"}, "`answers` is missing"),
        ({"id": "a", "question": "q", "answers": ["x"]}, "must be a list of objects"),
    ],
)
def test_wrong_questions_stop_or_are_counted(path: Path, entry: dict[str, Any], rule: str) -> None:
    paragraph = {"context": "😀 Käse ist gelb.", "qas": [qa("ok", "gelb", 11), entry, qa("last", "ist", 7)]}
    write(path, paragraph)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:data[0].paragraphs[0].qas[1]: ")
    assert rule in str(caught.value)
    bad = BadRows(strict=False)
    assert [question.id for question in read_squad(path, bad)] == ["ok", "last"]
    assert bad.count == 1


def test_offsets_need_not_be_checked(path: Path) -> None:
    write(path, {"context": "abc", "qas": [qa("a", "z", -1)]})
    assert load(path, check_offsets=False)[0].answers == (("z", -1),)


def test_a_question_without_an_answer_has_none(path: Path) -> None:
    write(path, {"context": "abc", "qas": [{"id": 12345678901234567890, "question": "q", "answers": []}]})
    assert [(question.id, question.answers) for question in load(path)] == [("12345678901234567890", ())]


def test_a_wrong_paragraph_takes_its_questions_along(path: Path) -> None:
    write(path, {"context": " ", "qas": [qa("a", "x", 0)]}, {"context": "x", "qas": [qa("b", "x", 0)]})
    bad = BadRows(strict=False)
    assert [question.id for question in read_squad(path, bad)] == ["b"]
    assert bad.examples[0].startswith(f"{path}:data[0].paragraphs[0]: `context` is")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'{"data": [\n{"title": "x"', r"squad\.json:2: is not whole JSON .* is the file cut short"),
        (b'{"data": 3}', "is not in SQuAD's shape"),
        (b"[]", "is not in SQuAD's shape"),
        (b"\xff{", "squad.json:1: is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "is not whole JSON"),
    ],
)
def test_a_file_of_another_kind_is_refused_whole(path: Path, content: bytes, rule: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=rule):
        list(read_squad(path, BadRows(strict=False)))


def test_flat_rows_of_parquet_are_the_same_questions(tmp_path: Path, path: Path) -> None:
    write(path, {"context": "Käse", "qas": [qa("a", "se", 2), {"id": "b", "question": "q", "answers": []}]})
    rows = [
        {"id": q.id, "title": q.title, "context": q.context, "question": q.question,
         "answers": {"text": [text for text, _ in q.answers], "answer_start": [start for _, start in q.answers]}}
        for q in load(path)
    ]  # fmt: skip
    schema = pa.schema([
        *((name, pa.string()) for name in ("id", "title", "context", "question")),
        ("answers", pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])),
    ])  # fmt: skip
    flat = tmp_path / "flat.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), flat)
    read = list(read_squad_parquet(flat, BadRows(strict=True)))
    assert [(q.id, q.context, q.answers) for q in read] == [(q.id, q.context, q.answers) for q in load(path)]
    assert [q.where for q in read] == ["row 1", "row 2"]

    flat.write_bytes(flat.read_bytes()[:-10])
    with pytest.raises(DataError, match="is not a whole Parquet file"):
        list(read_squad_parquet(flat, BadRows(strict=True)))
    pq.write_table(pa.table({"id": ["a"]}), flat)
    with pytest.raises(DataError, match="has no column title, context, question, answers"):
        list(read_squad_parquet(flat, BadRows(strict=True)))
    rows[0]["answers"]["answer_start"] = [1]
    pq.write_table(pa.Table.from_pylist(rows, schema), flat)
    bad = BadRows(strict=False)
    assert [question.id for question in read_squad_parquet(flat, bad)] == ["b"]
    assert bad.examples[0].startswith(f"{flat}:row 1: `answer_start` 1 points at")


@pytest.mark.skipif(not REAL.exists(), reason="needs the TyDi QA samples beside the repository")
def test_samples_of_tydi_qa_are_read() -> None:
    for file in sorted(REAL.glob("*.json")):
        (question,) = load(file)
        assert question.answers
        assert all(question.context[start:].startswith(text) for text, start in question.answers)
