"""Big files of plain lines, a block of them at a time, for parsers that take many lines at once."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from xling.data.files import LONGEST_LINE, unreadable
from xling.data.opening import BYTE_ORDER_MARK, open_bytes
from xling.errors import DataError


def open_blocks(path: Path, size: int = 1 << 24) -> Iterator[tuple[int, bytes]]:
    """A plain or gzipped file in blocks of whole lines, each with the number of its first line.

    Args:
        size: bytes read at once.

    Raises:
        DataError: as :func:`open_lines`.
    """
    number, rest = 1, b""
    try:
        with open_bytes(path) as file:
            while part := file.read(size):
                block = rest + (part if number > 1 or rest else part.removeprefix(BYTE_ORDER_MARK))
                cut = block.rfind(b"\n") + 1
                if cut:
                    yield number, block[:cut]
                    number += block.count(b"\n")
                elif len(block) > LONGEST_LINE:
                    raise DataError(
                        f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MB; is the file one row a line?"
                    )
                rest = block[cut:]
        if rest:
            yield number, rest
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}:{number}: the gzip stream is cut short or damaged after this line ({error}); copy the file again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
