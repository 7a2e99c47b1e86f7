"""Files of text opened as bytes, plain or gzipped; what is no UTF-8 text is refused before any of it is read."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO, Any

from xling.data.formats import HEAD_BYTES, require_text

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_BUFFER_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


def open_bytes(path: Path) -> IO[bytes]:
    """A plain or gzipped file of text, unzipped. Whether it is gzipped shows in its first bytes, not in its name.

    Raises:
        DataError: it is UTF-16, or of a format that is no text.
        OSError: the system does not give it; here and as it is read also whatever ``gzip`` raises.
    """
    with path.open("rb") as start:
        zipped = start.read(2) == _GZIP_MAGIC
    raw = _Unzipped(gzip.GzipFile(path, "rb")) if zipped else path.open("rb", buffering=0)
    file = io.BufferedReader(raw, _BUFFER_BYTES)
    try:
        require_text(path, file.peek()[:HEAD_BYTES], zipped=zipped)
    except BaseException:
        file.close()
        raise
    return file


class _Unzipped(io.RawIOBase):
    """A gzip stream in as large parts as it comes, so that all whole lines before a damage are read."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._stream.read1(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._stream.close()
        super().close()
