"""Questions over paragraphs in the shape of SQuAD: nested JSON, or the hub's flat rows.

Nested: ``{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers":
[{"text", "answer_start"}]}]}]}]}``. A flat row is ``id, title, context, question, answers{text[],
answer_start[]}``. Offsets count characters (code points) of the context. A JSON document is
parsed whole: those published hold tens of megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.data.files import BadRow, BadRows, id_of, list_of, read_text, shown, text_of
from xling.data.parquet_rows import read_parquet
from xling.errors import DataError

_FLAT_COLUMNS = ("id", "title", "context", "question", "answers")


@dataclass(frozen=True, slots=True)
class SquadQuestion:
    """One question over one paragraph. Texts are as the file has them, not stripped."""

    id: str
    title: str  # "" where the article has none
    context: str  # the paragraph; the same object for all its questions
    question: str
    answers: tuple[tuple[str, int], ...]  # text, start in characters; () for a question without an answer
    where: str  # in the file: data[0].paragraphs[2].qas[1], or row 17


def read_squad(path: Path, bad: BadRows, *, check_offsets: bool = True) -> Iterator[SquadQuestion]:
    """Questions of a SQuAD-shaped JSON file, plain or gzipped, in its order.

    A paragraph or question that lacks a part, a second question with an id, and an answer that
    does not stand at its offset are bad rows; a bad paragraph takes its questions along.

    Args:
        check_offsets: whether the context must have each answer's text at ``answer_start``.

    Raises:
        DataError: the file cannot be read, is not whole JSON, or has no list ``data``.
    """
    articles = _document(path)
    seen: set[str] = set()
    for a, article in enumerate(articles):
        try:
            if not isinstance(article, dict):
                raise BadRow(f"is {shown(article)}, must be a JSON object")
            title = _clean(text_of(article, "title", optional=True), "title")
            paragraphs = list_of(article, "paragraphs", dict)
        except BadRow as error:
            bad.report(path, f"data[{a}]", str(error))
            continue
        for p, paragraph in enumerate(paragraphs):
            yield from _paragraph(path, bad, paragraph, title, f"data[{a}].paragraphs[{p}]", seen, check_offsets)


def read_squad_parquet(path: Path, bad: BadRows, *, check_offsets: bool = True) -> Iterator[SquadQuestion]:
    """The same from flat rows in a Parquet file, read a batch at a time.

    Raises:
        DataError: the file cannot be read, is cut, or lacks a column.
    """
    seen: set[str] = set()
    for number, row in read_parquet(path, _FLAT_COLUMNS):
        try:
            question = _flat_question(row, f"row {number}", seen, check_offsets)
        except BadRow as error:
            bad.report(path, f"row {number}", str(error))
            continue
        yield question


def read_json(path: Path) -> Any:
    """What a whole file in SQuAD's shape holds, which may still be anything that JSON can be.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or is not one whole JSON document.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{path}: is JSON nested too deeply to be in SQuAD's shape") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise DataError(
                f"{path}:{error.lineno}: a second JSON document begins here, must be one in SQuAD's shape; "
                "is it JSON Lines?"
            ) from None
        raise DataError(
            f"{path}:{error.lineno}: is not whole JSON ({error.msg} at character {error.pos}); is the file cut short?"
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}: is not whole JSON ({error})") from None


def _document(path: Path) -> list[Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise DataError(f"{path}: is not in SQuAD's shape, must be a JSON object with a list `data`")
    return list(content["data"])


def _paragraph(
    path: Path, bad: BadRows, paragraph: dict[str, Any], title: str, where: str, seen: set[str], check_offsets: bool
) -> Iterator[SquadQuestion]:
    try:
        context = _clean(text_of(paragraph, "context"), "context")
        entries = list_of(paragraph, "qas", dict)
    except BadRow as error:
        bad.report(path, where, str(error))
        return
    for q, entry in enumerate(entries):
        place = f"{where}.qas[{q}]"
        try:
            answers = [_answer(answer) for answer in list_of(entry, "answers", dict)]
            question = _question(entry, title, context, answers, place, seen, check_offsets)
        except BadRow as error:
            bad.report(path, place, str(error))
            continue
        yield question


def _flat_question(row: dict[str, Any], where: str, seen: set[str], check_offsets: bool) -> SquadQuestion:
    sides = row["answers"]
    if not isinstance(sides, dict):
        raise BadRow(f"`answers` is {shown(sides)}, must hold `text` and `answer_start`")
    texts, starts = list_of(sides, "text", str), list_of(sides, "answer_start", int)
    if len(texts) != len(starts):
        raise BadRow(f"`answers` has {len(texts)} texts and {len(starts)} starts, must have as many")
    title = text_of(row, "title", optional=True)
    context = text_of(row, "context")
    return _question(row, title, context, list(zip(texts, starts, strict=True)), where, seen, check_offsets)


def _question(
    entry: dict[str, Any],
    title: str,
    context: str,
    answers: list[tuple[str, int]],
    where: str,
    seen: set[str],
    check_offsets: bool,
) -> SquadQuestion:
    question_id = _clean(id_of(entry, "id"), "id")
    if question_id in seen:
        raise BadRow(f"`id` is {question_id!r}, which an earlier question has too; give every question its own")
    question = _clean(text_of(entry, "question"), "question")
    for text, start in answers:
        _clean(text, "answers.text")
        if check_offsets:
            _check_offset(context, text, start)
    seen.add(question_id)
    return SquadQuestion(question_id, title, context, question, tuple(answers), where)


def _answer(answer: dict[str, Any]) -> tuple[str, int]:
    start = answer.get("answer_start")
    if not isinstance(start, int) or isinstance(start, bool):
        raise BadRow(f"`answer_start` is {shown(start)}, must be a number of characters")
    return text_of(answer, "text"), start


def _check_offset(context: str, text: str, start: int) -> None:
    if start >= 0 and context.startswith(text, start):
        return
    if not 0 <= start <= len(context):
        problem = f"lies outside the context's {len(context)} characters"
    else:
        problem = f"points at {shown(context[start : start + len(text)])}"
    if start >= 0 and context.encode().startswith(text.encode(), start):
        raise BadRow(f"`answer_start` {start} {problem}: it counts UTF-8 bytes, must count characters")
    raise BadRow(f"`answer_start` {start} {problem}, must point at the answer {shown(text)}")


def _clean(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRow(f"`{name}` holds half of a surrogate pair; write the file as UTF-8") from None
    return text
