"""Rows of questions with passages and hard negatives, as the field's training libraries write them.

A row is an object of JSON Lines or of Parquet. Sentence Transformers call its parts ``anchor``, ``positive`` and
``negative`` (``negative_1``, ``negative_2``, …), FlagEmbedding ``query``, ``pos`` and ``neg``, Tevatron ``query``,
``positive_passages`` and ``negative_passages``, whose entries are objects with a title and a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.data.files import BadRow, BadRows, id_of, read_jsonl, shown, text_of
from xling.data.parquet_rows import read_parquet
from xling.errors import DataError
from xling.languages import is_known, normalise

# Names of each part; a row has at most one of each.
QUESTION = ("query", "question", "anchor")
POSITIVES = ("positive", "positives", "pos", "positive_passages", "passage")
NEGATIVES = ("negative", "negatives", "neg", "negative_passages")
LANGUAGE = ("language", "lang")
ID = ("id", "query_id")

_NUMBERED = re.compile(r"negative_(\d+)")
_ENDS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One question in one language, with its relevant passages and others that are not."""

    id: str  # "" where the row has none
    language: str
    title: str  # "" where neither the row nor its first passage has one
    question: str
    positives: tuple[str, ...]  # at least one, each once
    negatives: tuple[str, ...]  # none of them a positive, each once


def files_of(path: Path) -> list[Path]:
    """The file itself, or those of a folder that hold rows, by name.

    Raises:
        DataError: the folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and file.name.endswith(_ENDS))
    if not found:
        raise DataError(f"{path}: has no file that ends in {', '.join(_ENDS)}; put at least one there")
    return found


def read_pairs(path: Path, language: str | None, bad: BadRows) -> Iterator[tuple[Path, str, Row]]:
    """Rows of a file or folder, with the file and the place in it.

    Args:
        language: of rows that do not tell theirs, in files that are not named after one (``sw.jsonl``).

    Raises:
        DataError: a file cannot be read; in strict mode, a row is wrong.
    """
    for file in files_of(path):
        own = _language_of(file) or language
        rows = read_parquet(file) if file.name.endswith(".parquet") else read_jsonl(file, bad)
        for number, value in rows:
            place = f"row {number}" if file.name.endswith(".parquet") else str(number)
            with bad.row(file, place):
                yield file, place, _row(value, own)


def _language_of(file: Path) -> str | None:
    """The language that a file is named after: ``sw.jsonl``, ``swahili.jsonl.gz``."""
    try:
        code = normalise(file.name.partition(".")[0])
    except ValueError:
        return None
    return code if is_known(code) else None


def _row(value: dict[str, Any], language: str | None) -> Row:
    """Raises BadRow."""
    question = _only(value, QUESTION)
    positives = _only(value, POSITIVES)
    for key, names in ((question, QUESTION), (positives, POSITIVES)):
        if key is None:
            raise BadRow(f"has no `{names[0]}`, must have one (or {', '.join(names[1:])}); it has {_keys(value)}")
    assert question is not None
    assert positives is not None
    relevant = _passages(value, positives)
    if not relevant:
        raise BadRow(f"`{positives}` is {shown(value[positives])}, must hold at least one text")
    others = [text for key in _negative_keys(value) for text, _ in _passages(value, key)]
    kept = tuple(dict.fromkeys(text for text, _ in relevant))
    identifier = _only(value, ID)
    return Row(
        id="" if identifier is None else id_of(value, identifier),
        language=_language(value, language),
        title=text_of(value, "title", optional=True).strip() or relevant[0][1],
        question=text_of(value, question),
        positives=kept,
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


def _keys(value: dict[str, Any]) -> str:
    return ", ".join(f"`{key}`" for key in list(value)[:8]) or "nothing"
