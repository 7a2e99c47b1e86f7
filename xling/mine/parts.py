"""What is mined so far, block by block on storage, so that a mine that was killed goes on from there.

``mined-<what>/<pair>-<start>.jsonl`` beside the model's embeddings: a line with the counts and a checksum,
then the rows. One that is damaged is as good as none.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from typing_extensions import TypedDict

from xling.errors import DataError
from xling.mine.choose import Counts
from xling.storage import Storage
from xling.stored_json import DamagedFile, parsed, shaped


class _Head(TypedDict):
    crc32: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Parts:
    """The blocks of one mine: ``url`` is the model's embeddings', ``key`` says what is mined, and how."""

    url: str
    key: str

    def has(self, name: str) -> bool:
        return self._read(name) is not None

    def read(self, name: str) -> tuple[list[bytes], Counts]:
        """A block's rows and counts. Raises DataError: it has gone, or was damaged meanwhile."""
        found = self._read(name)
        if found is None:
            raise DataError(f"{self.url}/{self._path(name)} has gone or is damaged; give the same command again")
        return found

    def write(self, name: str, lines: Sequence[bytes], counts: Counts) -> None:
        rows = b"".join(lines)
        head = json.dumps({"crc32": zlib.crc32(rows), "counts": asdict(counts)}).encode()
        Storage(self.url).write(self._path(name), head + b"\n" + rows)

    def clear(self) -> None:
        Storage(self.url).delete(f"mined-{self.key}")

    def _read(self, name: str) -> tuple[list[bytes], Counts] | None:
        try:
            head, _, rows = Storage(self.url).read(self._path(name)).partition(b"\n")
            about: _Head = parsed(head, name, _Head)
            counts: Counts = shaped(about["counts"], Counts, name)
        except (FileNotFoundError, DamagedFile):
            return None
        return (rows.splitlines(keepends=True), counts) if zlib.crc32(rows) == about["crc32"] else None

    def _path(self, name: str) -> str:
        return f"mined-{self.key}/{name}.jsonl"
