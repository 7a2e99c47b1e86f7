"""What a file is by its first bytes, where it is not the UTF-8 text, or the rows of JSON, that a reader takes."""

from __future__ import annotations

import codecs
from pathlib import Path
from shlex import quote

from xling.errors import DataError

HEAD_BYTES = 4096  # that a file's kind is judged by

_MARKS = (  # the longer first: UTF-32's begins as UTF-16's
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_PACKED = "is compressed with {}, must be text, plain or gzipped; unpack it"
_NO_TEXT = {
    b"PAR1": "is a Parquet file, must be text; write its rows as text (pandas: `read_parquet`, `to_json(lines=True, "
    "orient='records')`), with the keys that docs/datasets.md names",
    b"PK\x03\x04": "is a ZIP archive or a workbook, must be text; unpack it, or save the sheet as text in UTF-8",
    b"BZh": _PACKED.format("bzip2"),
    b"\xfd7zXZ\x00": _PACKED.format("xz"),
    b"\x28\xb5\x2f\xfd": _PACKED.format("zstd"),
}
_SEPARATORS = {b"\t": "tabs (TSV)", b",": "commas (CSV)", b";": "semicolons (CSV)"}


def require_text(path: Path, head: bytes, *, zipped: bool) -> None:
    """Raise DataError when a file is in another encoding than UTF-8, or no text, as far as its beginning shows.

    Args:
        head: its first bytes, unzipped.
    """
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None) or _unmarked_utf16(head)
    if encoding is not None:
        name = quote(path.name)
        source, file = (f"gzip -dc {name} | ", "") if zipped else ("", f" {name}")
        raise DataError(
            f"{path}: is {encoding}, must be UTF-8; `{source}iconv -f {encoding} -t UTF-8{file} > NEW` converts it"
        )
    for magic, what in _NO_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path}: {what}")


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that are not UTF-8, and the fix."""
    return (
        f"is not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start}: {error.reason}); "
        "is it Latin-1? `iconv -f LATIN1 -t UTF-8 FILE` converts it"
    )


def is_json_array(line: bytes) -> bool:
    """Whether a file's first line begins an array of objects. A text may begin with a bracket too."""
    line = line.strip()
    return line.startswith(b"[") and line[1:].lstrip()[:1] in (b"", b"{")


def refuse_json_array(path: Path) -> DataError:
    """The error for a file whose first line :func:`is_json_array`."""
    return DataError(
        f"{path}: is one JSON document, must be a row a line; `jq -c '.[]' {quote(path.name)}` makes it so"
    )


def other_than_rows(path: Path, line: bytes) -> DataError | None:
    """What a file seems to be whose first line is no JSON object; None where that may be a mistake in a row."""
    line = line.strip()
    if is_json_array(line):
        return refuse_json_array(path)
    if line.startswith(b"{") and line.endswith((b"{", b"[", b",")):
        return DataError(
            f"{path}: is JSON written over several lines, must be one object a line; "
            f"`jq -c . {quote(path.name)}` makes it so"
        )
    if line.startswith((b"{", b"[")) or b"{" in line:
        return None
    for separator, what in _SEPARATORS.items():
        if separator in line:
            return DataError(
                f"{path}: seems to be a table with columns separated by {what}, must be one JSON object a line; write "
                "its rows so (pandas: `to_json(lines=True, orient='records')`), with the keys that docs/datasets.md "
                "names"
            )
    return None


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 shows in the zero halves of its ASCII characters, all of them at even places or all at odd ones.

    A line without any before the first one is no UTF-16: zeros in a later line are that line's mistake.
    """
    zeros = [place for place, byte in enumerate(head) if not byte]
    if len(zeros) < 2 or len(zeros) * 64 < len(head) or 0 <= head.find(b"\n") < zeros[0] - 1:
        return None
    sides = {place % 2 for place in zeros}
    return None if len(sides) > 1 else "UTF-16LE" if sides == {1} else "UTF-16BE"
