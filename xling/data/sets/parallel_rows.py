"""Reading and checking the rows of a parallel JSON Lines file (format: ``parallel_jsonl``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xling.data.files import BadRow, BadRows, id_of, json_rows, shown, what_is
from xling.errors import DataError
from xling.languages import normalise

SHOWN_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One line, checked."""

    id: str
    title: str  # "" where the row has none
    paragraph: str  # "" where the row has none
    texts: dict[str, tuple[str, str]]  # language -> question, passage


def read_rows(path: Path, bad: BadRows) -> list[Row]:
    """All rows of a file, plain or gzipped; blank lines and a byte order mark are passed over.

    Args:
        bad: where it is strict, wrong rows are told all at once, and not the first alone.

    Raises:
        DataError: the file cannot be read or is cut short, or rows are wrong: the first
            problems with their line, and how many more there are.
    """
    check = _FileCheck(path, bad)
    rows = [row for number, value in json_rows(path) if (row := check.row(number, value)) is not None]
    check.finish()
    if not rows:
        raise DataError(f"{path}: holds no rows, must hold at least one")
    return rows


@dataclass
class _FileCheck:
    """Problems of a file, and what its earlier rows oblige later ones to."""

    path: Path
    bad: BadRows
    problems: list[str] = field(default_factory=list)
    count: int = 0
    line_of_id: dict[str, int] = field(default_factory=dict)
    passages: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)  # text's hash, line

    def row(self, number: int, value: dict[str, Any] | BadRow) -> Row | None:
        if isinstance(value, BadRow):
            self._report(number, [str(value)])
            return None
        found: list[str] = []
        row = _row(value, found)
        if row is not None:
            self._check_against_earlier(row, number, found)
        if found:
            self._report(number, found)
            return None
        return row

    def finish(self) -> None:
        if self.count:
            hidden = self.count - len(self.problems)
            more = [f"and {hidden} more problems"] if hidden else []
            raise DataError("\n".join(self.problems + more))

    def _report(self, number: int, found: list[str]) -> None:
        if not self.bad.strict:
            self.bad.report(self.path, number, "; ".join(found))
            return
        self.count += len(found)
        first = found[: SHOWN_PROBLEMS - len(self.problems)]
        self.problems += [f"{self.path}:{number}: {problem}" for problem in first]

    def _check_against_earlier(self, row: Row, number: int, found: list[str]) -> None:
        first = self.line_of_id.setdefault(row.id, number)
        if first != number:
            found.append(f"`id` is {shown(row.id)}, which line {first} has too; give every row its own")
        if not (row.title and row.paragraph):
            return
        for language, (_, passage) in row.texts.items():
            digest = hash(passage)
            earlier, line = self.passages.setdefault((row.title, row.paragraph, language), (digest, number))
            if earlier != digest:
                found.append(
                    f"`texts.{language}.passage` is not that of line {line}, which has the same title and "
                    "paragraph; give different passages different `paragraph` values"
                )


def _row(value: dict[str, Any], found: list[str]) -> Row | None:
    """The row, or None when ``found`` gets problems that leave nothing to use."""
    row_id = ""
    try:
        row_id = id_of(value, "id")
    except BadRow as error:
        found.append(str(error))
    title = value.get("title")
    if title is not None and not _is_text(title):
        found.append(f"`title` is {shown(title)}, must be a text that is not empty; leave it out if there is none")
    paragraph = value.get("paragraph")
    if paragraph is not None and (isinstance(paragraph, bool) or not isinstance(paragraph, int | str)):
        found.append(f"`paragraph` is {shown(paragraph)}, must be a number or a text")
    texts = _texts(value, found)
    if found:
        return None
    return Row(row_id, title or "", "" if paragraph is None else str(paragraph), texts)


def _texts(value: dict[str, Any], found: list[str]) -> dict[str, tuple[str, str]]:
    texts = value.get("texts")
    if not (isinstance(texts, dict) and texts):
        found.append(f"`texts` {what_is(value, 'texts')}, must be an object with at least one language")
        return {}
    kept: dict[str, tuple[str, str]] = {}
    written: dict[str, str] = {}  # how the row writes a language
    for key, sides in texts.items():
        where = f"texts.{key}"
        try:
            language = normalise(key)
        except ValueError as error:
            found.append(f"`texts`: {error}")
            continue
        if written.setdefault(language, key) != key:
            found.append(f"`{where}` and `texts.{written[language]}` are both {language}; keep one of them")
        if not isinstance(sides, dict):
            found.append(f"`{where}` is {shown(sides)}, must be an object with question and passage")
            continue
        wrong = [name for name in ("question", "passage") if not _is_text(sides.get(name))]
        found += [f"`{where}.{name}` {what_is(sides, name)}, must be a text that is not empty" for name in wrong]
        answer = sides.get("answer")
        if answer is not None and not isinstance(answer, str):
            found.append(f"`{where}.answer` is {shown(answer)}, must be a text; leave it out if there is none")
        if not wrong:
            kept[language] = (sides["question"], sides["passage"])
    return kept


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
