"""A corpus as a user has it lying about: rows of JSON with a text somewhere, or plain text, a passage a line.

Nothing but line numbers is kept of it. Which of the two a file is shows in its first line, not in its name.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple

from xling.data.files import BadRow, BadRows, decoded, open_lines, read_jsonl, text_of
from xling.data.fingerprint import fingerprint
from xling.data.formats import is_json_array, refuse_json_array
from xling.errors import DataError

TEXT_FIELDS = ("text", "passage", "contents")  # the first one that a row has; `title`, where there is one, before it
_ID_FIELDS = ("id", "_id", "docid")
_LANGUAGE_FIELDS = ("language", "lang")


class FilePassage(NamedTuple):
    """A row of the file. ``id`` and ``language`` are empty where it has none."""

    line: int
    text: str
    id: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What one reading of a file found: where its passages are, and a digest of their texts, in order."""

    lines: Sequence[int]
    digest: str
    changed_ns: int  # when the file was last changed


@dataclass(frozen=True, slots=True)
class PassageFile:
    """JSON Lines or plain text, gzipped or not; read anew each time, a row at a time.

    Attributes:
        field: the field of a row that holds its whole text, in place of ``TEXT_FIELDS``.
    """

    path: Path
    field: str | None = None

    def read(self, bad: BadRows) -> Iterator[FilePassage]:
        """All passages. Blank lines are passed over; a row without a text is a bad row.

        Raises:
            DataError: the file cannot be read or not twice, is one JSON document, or has a bad row and ``bad`` is
                strict.
        """
        if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
            raise DataError(
                f"{self.path}: is a pipe or a device, must be a file, as it is read more than once; write its rows to "
                "one and name that"
            )
        first = next((line.lstrip() for _, line in open_lines(self.path) if line.strip()), b"")
        if is_json_array(first):
            raise refuse_json_array(self.path)
        if first.startswith(b"{") or self.field is not None:
            return self._rows(bad)
        return self._lines(bad)

    def scan(self, bad: BadRows) -> Scan:
        """Read all of it once. Raises DataError: as :meth:`read`, or there is no passage."""
        changed_ns = self.path.stat().st_mtime_ns if self.path.exists() else 0
        lines = array("q")

        def texts() -> Iterator[str]:
            for passage in self.read(bad):
                lines.append(passage.line)
                yield passage.text

        digest = fingerprint(texts())
        if not lines:
            raise DataError(f"{self.path}: holds no passage, must hold at least one")
        return Scan(lines, digest, changed_ns)

    def at(self, wanted: Collection[int], scan: Scan) -> dict[int, FilePassage]:
        """The passages on some lines. Raises DataError when the file was changed since it was scanned."""
        if self.path.stat().st_mtime_ns != scan.changed_ns:
            raise DataError(f"{self.path}: was changed while it was searched; give the command again")
        found: dict[int, FilePassage] = {}
        for passage in self.read(BadRows(strict=False)):
            if passage.line in wanted:
                found[passage.line] = passage
                if len(found) == len(wanted):
                    break
        return found

    def _rows(self, bad: BadRows) -> Iterator[FilePassage]:
        for line, row in read_jsonl(self.path, bad):
            try:
                text = self._text(row)
            except BadRow as error:
                bad.report(self.path, line, str(error))
                continue
            yield FilePassage(line, text, _first(row, _ID_FIELDS), _first(row, _LANGUAGE_FIELDS))

    def _lines(self, bad: BadRows) -> Iterator[FilePassage]:
        for number, line in open_lines(self.path):
            if not line or line.isspace():
                continue
            try:
                text = decoded(line)
            except BadRow as error:
                bad.report(self.path, number, str(error))
                continue
            yield FilePassage(number, text)

    def _text(self, row: dict[str, Any]) -> str:
        if self.field is not None:
            if self.field not in row:
                raise BadRow(f"has no field `{self.field}`; name one of its own with --field: {_listed(row)}")
            return text_of(row, self.field)
        field = next(dropwhile(lambda name: name not in row, TEXT_FIELDS), None)
        if field is None:
            raise BadRow(
                f"has none of the fields {', '.join(TEXT_FIELDS)}; name its own with --field, one of: {_listed(row)}"
            )
        title = text_of(row, "title", optional=True)
        text = text_of(row, field, optional=bool(title))
        return f"{title} {text}" if title else text


def _first(row: dict[str, Any], fields: tuple[str, ...]) -> str:
    value = next((row[name] for name in fields if name in row), None)
    return str(value) if isinstance(value, str | int) else ""


def _listed(row: dict[str, Any]) -> str:
    return ", ".join(map(str, list(row)[:12])) or "it is empty"
