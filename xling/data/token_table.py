"""Token ids of many texts in one Arrow file, read from a memory map.

``tokens/<key>/tokens.arrow`` holds one column ``ids`` (large_list<int32>), in record batches
of ``ROWS`` rows; ``tokens/<key>/meta.json`` is written last and holds the file's size and
checksum, so that a table exists whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import DamagedFile

ROWS = 4096  # a record batch, so also the texts tokenised at once
_READ_BYTES = 1 << 22

Int32Array = npt.NDArray[np.int32]
Encoded = tuple[list[list[int]], list[str]]  # token ids of some texts; the groups of those among them that were cut


class _Meta(TypedDict):
    """The marker of a finished table."""

    size: int
    crc32: int
    truncated: dict[str, int]


class TokenTable:
    """Row i holds the token ids of text i, special tokens included.

    Attributes:
        truncated: number of texts that were cut, by group; groups without any are left out.
        mean_length: tokens a text; 0 for an empty table.
    """

    def __init__(self, file: Path, truncated: dict[str, int]) -> None:
        """Map a finished file. Raises OSError or pyarrow.ArrowInvalid when it is none."""
        self.truncated = truncated
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        self._values: list[Int32Array] = []
        self._offsets: list[npt.NDArray[np.int64]] = []
        for number in range(reader.num_record_batches):
            column = reader.get_batch(number).column(0)
            self._values.append(column.values.to_numpy(zero_copy_only=True))
            self._offsets.append(column.offsets.to_numpy(zero_copy_only=True))
        parts = [np.diff(offsets).astype(np.int32) for offsets in self._offsets]
        self._lengths = np.concatenate(parts) if parts else np.zeros(0, np.int32)
        self.mean_length = float(self._lengths.mean()) if len(self._lengths) else 0.0

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, row: int) -> Int32Array:
        """Token ids of one text: a read-only view into the map."""
        if not 0 <= row < len(self._lengths):
            raise IndexError(f"row {row} of a table of {len(self._lengths)}")
        batch, position = divmod(int(row), ROWS)
        offsets = self._offsets[batch]
        return self._values[batch][offsets[position] : offsets[position + 1]]

    @property
    def lengths(self) -> Int32Array:
        """Tokens of every text."""
        return self._lengths

    def flat(self, start: int, stop: int) -> tuple[Int32Array, npt.NDArray[np.int64]]:
        """Token ids of texts ``start`` to ``stop`` one after another, and where each begins, with the end."""
        offsets = np.zeros(stop - start + 1, np.int64)
        np.cumsum(self._lengths[start:stop], out=offsets[1:])
        parts = [np.zeros(0, np.int32)]
        for batch in range(start // ROWS, -(-stop // ROWS)):
            first, last = max(start - batch * ROWS, 0), min(stop - batch * ROWS, ROWS)
            of_batch = self._offsets[batch]
            parts.append(self._values[batch][of_batch[first] : of_batch[last]])
        return np.concatenate(parts), offsets


@dataclass(frozen=True, slots=True)
class TokenSlice(Sequence[Int32Array]):
    """Rows ``start`` to ``stop`` of a table, counted from 0."""

    table: TokenTable
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a slice of {len(self)}")
        return self.table[self.start + int(row)]

    @property
    def lengths(self) -> Int32Array:
        """Tokens of every text of the slice."""
        return self.table.lengths[self.start : self.stop]

    def flat(self, start: int, stop: int) -> tuple[Int32Array, npt.NDArray[np.int64]]:
        """As :meth:`TokenTable.flat`, counted from the slice's start."""
        assert 0 <= start <= stop <= len(self), (start, stop, len(self))
        return self.table.flat(self.start + start, self.start + stop)


def ensure_table(storage: Storage, key: str, encoded: Callable[[], Iterable[Encoded]]) -> TokenTable:
    """The table stored under ``tokens/<key>``, built when it is not there or is damaged.

    Args:
        encoded: gives batches of ``ROWS`` texts (fewer in the last one); only called to build.
            Two builders at once write the same bytes, each in one piece, so neither harms.
    """
    meta = _read_meta(storage, key)
    if meta is not None:
        file = _local_file(storage, key, meta)
        if file is not None:
            return TokenTable(file, meta["truncated"])
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        built = Path(scratch) / "tokens.arrow"
        truncated = _build(built, encoded())
        meta = {"size": built.stat().st_size, "crc32": crc32_of(built), "truncated": truncated}
        storage.put(built, f"tokens/{key}/tokens.arrow")
        storage.write_json(f"tokens/{key}/meta.json", meta)
        file = _local_file(storage, key, meta)
    if file is None:
        raise OSError(f"{storage.locate(f'tokens/{key}/tokens.arrow')} is not what was just written there")
    return TokenTable(file, truncated)


def batched(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of ``ROWS`` rows, the last one shorter."""
    iterator = iter(rows)
    while batch := list(islice(iterator, ROWS)):
        yield batch


def _build(file: Path, encoded: Iterable[Encoded]) -> dict[str, int]:
    """Write the Arrow file; returns how many texts were cut by group."""
    schema = pa.schema([("ids", pa.large_list(pa.int32()))])
    truncated: dict[str, int] = {}
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for ids, cut in encoded:
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            offsets = np.concatenate(([0], np.cumsum(lengths)))
            values = np.fromiter(chain.from_iterable(ids), np.int32, int(offsets[-1]))
            column = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
            writer.write_batch(pa.record_batch([column], schema=schema))
            for group in cut:
                truncated[group] = truncated.get(group, 0) + 1
    return dict(sorted(truncated.items()))


def _read_meta(storage: Storage, key: str) -> _Meta | None:
    """The marker of a finished table; None when there is none, or it cannot be read."""
    try:
        meta: _Meta = storage.read_json(f"tokens/{key}/meta.json", _Meta)
    except (FileNotFoundError, DamagedFile):
        return None
    return meta


def _local_file(storage: Storage, key: str, meta: _Meta) -> Path | None:
    """The table's file as a local path, copied to scratch from a remote store; None when missing or damaged."""
    path = f"tokens/{key}/tokens.arrow"
    if storage.is_local:
        file = Path(storage.locate(path))
        return file if _intact(file, meta) else None
    cached = Path(tempfile.gettempdir()) / f"xling-tokens-{os.getuid()}" / f"{key}.arrow"
    if _intact(cached, meta):
        return cached
    cached.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        with storage.local_copy(path) as copy:
            if not _intact(copy, meta):
                return None
            os.replace(copy, cached)
    except FileNotFoundError:
        return None
    return cached


def _intact(file: Path, meta: _Meta) -> bool:
    return file.is_file() and file.stat().st_size == meta["size"] and crc32_of(file) == meta["crc32"]


def crc32_of(file: Path) -> int:
    """Checksum of a file's content, read in pieces."""
    checksum = 0
    with file.open("rb") as source:
        while block := source.read(_READ_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum
