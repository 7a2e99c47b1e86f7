"""Files of rows: plain or gzipped JSON Lines and tab-separated text, streamed, every row checked.

Numbers of lines count from 1. What is wrong with a whole file (missing, cut, a folder) is a
:class:`DataError` at once; what is wrong with a row goes to :class:`BadRows`, which stops or
counts, as ``bad_rows`` of the data set says.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xling.config.schema import DatasetConfig
from xling.data.formats import not_utf8, other_than_rows
from xling.data.opening import BYTE_ORDER_MARK, open_bytes
from xling.errors import DataError

LONGEST_LINE = 64 << 20  # bytes; a line beyond it is another format (a JSON document, a binary file)
EXAMPLES = 20
SHOWN_CHARACTERS = 60  # of a wrong value

_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")

log = logging.getLogger(__name__)


class BadRow(Exception):
    """What is wrong with one row: value, rule, fix. Checks of a row raise it, :class:`BadRows` reports it."""


class BadRows:
    """What becomes of rows that break the format: the first one stops, or all are left out and counted.

    Attributes:
        count: rows left out so far.
        examples: messages of the first 20.
    """

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.count = 0
        self.examples: list[str] = []

    @classmethod
    def of(cls, config: DatasetConfig) -> BadRows:
        """As ``bad_rows`` of a data set asks."""
        return cls(strict=config.bad_rows == "stop")

    def report(self, path: Path, line: int | str, text: str) -> None:
        """One wrong row; ``line`` is its number, or the place in a JSON document.

        Raises:
            DataError: in strict mode.
        """
        message = f"{path}:{line}: {text}"
        if self.strict:
            raise DataError(message)
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(message)

    def add(self, count: int, examples: list[str]) -> None:
        """Rows that were left out in an earlier reading of the same files, which is not repeated."""
        self.count += count
        self.examples = (self.examples + examples)[:EXAMPLES]

    @contextmanager
    def row(self, path: Path, line: int | str) -> Iterator[None]:
        """Report a :class:`BadRow` that the block raises; the block is left there."""
        try:
            yield
        except BadRow as error:
            self.report(path, line, str(error))

    def notes(self) -> tuple[str, ...]:
        """How many rows were left out, with the first few, for the user to see; nothing when none were."""
        if not self.count:
            return ()
        shown = "".join(f"\n  {example}" for example in self.examples[:3])
        more = f"\n  and {self.count - 3} more" if self.count > 3 else ""
        return (f"{self.count} bad rows left out (bad_rows: skip):{shown}{more}",)

    def tell(self, name: str) -> None:
        """Log the notes, where there are any, for data set ``name``."""
        for note in self.notes():
            log.warning("%s: %s", name, note)


def open_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of a plain or gzipped file with their numbers, without line ends and a UTF-8 byte order mark.

    Whether a file is gzipped shows in its first bytes, not in its name.

    Raises:
        DataError: it is missing, a folder, cut short, damaged or no UTF-8 text, or a line is longer than 64 MB.
    """
    number = 0
    try:
        with open_bytes(path) as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise DataError(
                        f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MB; is the file one row a line?"
                    )
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                yield number, line.rstrip(b"\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}:{number + 1}: the gzip stream is cut short or damaged ({error}); copy the file again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def read_text(path: Path) -> str:
    """A whole file, plain or gzipped, as text without a byte order mark.

    Raises:
        DataError: as :func:`open_lines`, or it is not UTF-8.
    """
    try:
        with open_bytes(path) as file:
            content = file.read()
        return content.decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip stream is cut short or damaged ({error}); copy the file again") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: {not_utf8(error)}") from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: does not exist; put the file there or correct the path")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: is a folder, must be a file")
    return DataError(f"{path}: cannot be read: {error.strerror or error}")


def read_jsonl(path: Path, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON Lines file with their line numbers; blank lines are passed over.

    A line that is not a JSON object in UTF-8, has a key twice, or holds a number that JSON has not or half of a
    surrogate pair, is a bad row.

    Raises:
        DataError: as :func:`json_rows`, or a row is bad and ``bad`` is strict.
    """
    for number, row in json_rows(path):
        if isinstance(row, BadRow):
            bad.report(path, number, str(row))
        else:
            yield number, row


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """As :func:`read_jsonl`, with what is wrong with a row in its place, for whoever reports it in another way.

    Raises:
        DataError: the file cannot be read, or its first row shows that it is of another format.
    """
    first = True
    for number, line in open_lines(path):
        if not line or line.isspace():
            continue
        try:
            yield number, _json_object(line)
        except BadRow as error:
            other = other_than_rows(path, line) if first else None
            if other is not None:
                raise other from None
            yield number, error
        first = False


def read_tsv(
    path: Path, columns: int, bad: BadRows, *, only: Container[bytes] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Rows of a tab-separated file without a header or quotes; blank lines are passed over.

    A line that is not UTF-8, has another number of columns, or an empty one, is a bad row.

    Args:
        only: pass over lines whose first column is not among these, without checking them further.
    """
    for number, line in open_lines(path):
        if not line or line.isspace() or (only is not None and line.partition(b"\t")[0] not in only):
            continue
        try:
            row = _columns(line, columns)
        except BadRow as error:
            bad.report(path, number, str(error))
            continue
        yield number, row


def text_of(row: dict[str, Any], key: str, *, optional: bool = False) -> str:
    """A text of a row, as it stands there.

    Args:
        optional: take an empty, missing or null text too, as "".

    Raises:
        BadRow: it is missing, no text, or empty.
    """
    value = row.get(key)
    if optional and value is None:
        return ""
    if not isinstance(value, str) or not (optional or value.strip()):
        raise BadRow(f"`{key}` {what_is(row, key)}, must be a text{'' if optional else ' that is not empty'}")
    return value


def id_of(row: dict[str, Any], key: str) -> str:
    """An id of a row: a text without white space, or a whole number.

    Raises:
        BadRow: it is neither.
    """
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or value.split() != [value]:
        raise BadRow(f"`{key}` {what_is(row, key)}, must be an id without white space")
    return value


def list_of(row: dict[str, Any], key: str, kind: type) -> list[Any]:
    """A list in a row whose entries are all of one kind (str, dict, int); may be empty.

    Raises:
        BadRow: it is missing, no list, or an entry is of another kind.
    """
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
        name = "texts" if kind is str else "objects" if kind is dict else "numbers"
        raise BadRow(f"`{key}` {what_is(row, key)}, must be a list of {name}")
    return value


def shown(value: Any) -> str:
    """A wrong value for a message: ASCII, so that half of a surrogate pair can be printed, and short."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def what_is(row: dict[str, Any], key: str) -> str:
    """That a value is wrong, or missing, for a message."""
    return f"is {shown(row[key])}" if key in row else "is missing"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadRow(f"has the key {shown(key)} twice in one object; keep one of them")
            seen.add(key)
    return made


def _no_number(text: str) -> None:
    raise BadRow(f"holds {text}, which is no JSON; write null, or leave it out")


_ROW = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_number)


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        value = _ROW.decode(decoded(line))
        if _HALF_PAIR.search(line):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRow("holds half of a surrogate pair; write it as UTF-8") from None
    except RecursionError:
        raise BadRow("is JSON nested too deeply to be a row") from None
    except ValueError as error:
        raise BadRow(f"is not a whole JSON object ({error}); is the line cut short?") from None
    if not isinstance(value, dict):
        raise BadRow(f"is {shown(value)}, must be a JSON object")
    return value


def _columns(line: bytes, columns: int) -> list[str]:
    values = decoded(line).split("\t")
    if len(values) != columns:
        raise BadRow(f"has {len(values)} columns separated by tabs, must have {columns}")
    empty = [str(place) for place, value in enumerate(values, start=1) if not value.strip()]
    if empty:
        raise BadRow(f"column {', '.join(empty)} is empty, must hold a text")
    return values


def decoded(line: bytes) -> str:
    """A line as text. Raises BadRow: it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadRow(not_utf8(error)) from None
