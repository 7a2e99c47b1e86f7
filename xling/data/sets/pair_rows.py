"""Rows of questions with passages and hard negatives, as the field's training libraries write them.

A row is an object of JSON Lines or of Parquet. Sentence Transformers call its parts ``anchor``, ``positive`` and
``negative`` (``negative_1``, ``negative_2``, …), FlagEmbedding ``query``, ``pos`` and ``neg``, Tevatron ``query``,
``positive_passages`` and ``negative_passages``, whose entries are objects with a title and a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.data.files import BadRow, BadRows, id_of, read_jsonl, shown, text_of, unreadable
from xling.data.parquet_rows import column_names, read_parquet
from xling.errors import DataError
from xling.languages import is_known, is_region_or_script, normalise

# Names of each part; a row has at most one of each.
QUESTION = ("query", "question", "anchor")
POSITIVES = ("positive", "positives", "pos", "positive_passages", "passage")
NEGATIVES = ("negative", "negatives", "neg", "negative_passages")
LANGUAGE = ("language", "lang")
ID = ("id", "query_id")

_NUMBERED = re.compile(r"negative_([0-9]{1,9})")
_ENDS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One question in one language, with its relevant passages and others that are not."""

    id: str  # "" where the row has none
    language: str
    question: str
    positives: tuple[tuple[str, str], ...]  # text and title, the row's or else its own, "" without; at least one
    negatives: tuple[str, ...]  # none of them a positive, each once


def files_of(path: Path) -> list[Path]:
    """The file itself, or those of a folder that hold rows, by name; hidden ones are nobody's business.

    Raises:
        DataError: the folder has none, or cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        found = sorted(file for file in path.iterdir() if file.name.endswith(_ENDS) and file.is_file())
    except OSError as error:
        raise unreadable(path, error) from error
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        raise DataError(f"{path}: has no file that ends in {', '.join(_ENDS)}; put at least one there")
    return found


def read_pairs(path: Path, language: str | None, bad: BadRows) -> Iterator[tuple[Path, str, Row]]:
    """Rows of a file or folder, with the file and the place in it.

    Args:
        language: of rows that do not tell theirs: of a file, and in a folder of files that are not named after one.

    Raises:
        DataError: a file cannot be read; in strict mode, a row is wrong.
    """
    for file in files_of(path):
        own = (language if file == path else None) or _language_of(file) or language
        is_table = file.name.endswith(".parquet")
        for number, value in _table(file) if is_table else read_jsonl(file, bad):
            place = f"row {number}" if is_table else str(number)
            with bad.row(file, place):
                yield file, place, _row(value, own)


def _table(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a Parquet file, of the columns that may be read alone: others can be large, or hold anything."""
    names = column_names(file)
    for part in (QUESTION, POSITIVES):
        if not set(part) & set(names):
            raise DataError(f"{file}: {_lacks(part, names)}")
    known = {*QUESTION, *POSITIVES, *NEGATIVES, *LANGUAGE, *ID, "title"}
    return read_parquet(file, [name for name in names if name in known or _NUMBERED.fullmatch(name)])


def _language_of(file: Path) -> str | None:
    """The language that a file is named after: ``sw.jsonl``, ``swahili.jsonl.gz``, ``zh_CN.parquet``."""
    try:
        code = normalise(file.name.partition(".")[0])
    except ValueError:
        return None
    _, *rest = code.split("_")
    return code if is_known(code) and all(map(is_region_or_script, rest)) else None


def _row(value: dict[str, Any], language: str | None) -> Row:
    """Raises BadRow."""
    question = _only(value, QUESTION)
    positives = _only(value, POSITIVES)
    for key, names in ((question, QUESTION), (positives, POSITIVES)):
        if key is None:
            raise BadRow(_lacks(names, value))
    assert question is not None
    assert positives is not None
    relevant = _passages(value, positives)
    if not relevant:
        raise BadRow(f"`{positives}` is {shown(value[positives])}, must hold at least one text")
    title = text_of(value, "title", optional=True).strip()
    kept = {text: title or own for text, own in relevant}
    others = [text for key in _negative_keys(value) for text, _ in _passages(value, key)]
    identifier = _only(value, ID)
    return Row(
        id="" if identifier is None else id_of(value, identifier),
        language=_language(value, language),
        question=text_of(value, question),
        positives=tuple(kept.items()),
        negatives=tuple(text for text in dict.fromkeys(others) if text not in kept),
    )


def _only(value: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The one of these names that a row has; what is null is not there, as in tables. Raises BadRow for two."""
    found = [name for name in names if value.get(name) is not None]
    if len(found) > 1:
        raise BadRow(f"has both `{found[0]}` and `{found[1]}`, must have one of them; remove one")
    return found[0] if found else None


def _negative_keys(value: dict[str, Any]) -> list[str]:
    """The list of negatives, or one key each, in the order of their numbers."""
    listed = _only(value, NEGATIVES)
    numbered = {int(match[1]): key for key in value if (match := _NUMBERED.fullmatch(key)) and value[key] is not None}
    return [*([listed] if listed else []), *(numbered[number] for number in sorted(numbered))]


def _passages(value: dict[str, Any], key: str) -> list[tuple[str, str]]:
    """Text and title of the passages under a key: one, or a list; texts, or objects with ``text`` and ``title``."""
    entries = value[key] if isinstance(value[key], list) else [value[key]]
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            title, text = text_of(entry, "title", optional=True).strip(), text_of(entry, "text")
            found.append((f"{title} {text}" if title else text, title))
        elif isinstance(entry, str) and entry.strip():
            found.append((entry, ""))
        else:
            raise BadRow(f"`{key}` holds {shown(entry)}, must hold texts that are not empty")
    return found


def _language(value: dict[str, Any], language: str | None) -> str:
    key = _only(value, LANGUAGE)
    if key is None:
        if language is None:
            raise BadRow(
                "has no `language`, must have one; add it, name the file after its language (sw.jsonl), or give "
                "`languages` one code"
            )
        return language
    try:
        return normalise(text_of(value, key))
    except ValueError as error:
        raise BadRow(f"`{key}`: {error}") from None


def _lacks(names: tuple[str, ...], there: Iterable[str]) -> str:
    has = ", ".join(f"`{key}`" for key in list(there)[:8]) or "nothing"
    return f"has no `{names[0]}`, must have one (or {', '.join(names[1:])}); it has {has}"
