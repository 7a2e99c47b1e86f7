"""Candidate passages too many for memory: one Arrow file a language, read from a memory map.

The file is built once from the raw files, streamed through an external sort by id (descending,
bytewise), and kept below the cache folder (``XLING_CACHE``, else ``$XDG_CACHE_HOME/xling``, else
``~/.cache/xling``) under a digest of the raw files' bytes: ``corpora/<key>/passages.arrow`` with
the columns id, text, article in record batches of ``ROWS`` rows, and ``corpus.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xling.data.records import Passage
from xling.errors import DataError

ROWS = 4096  # a record batch
SCHEMA = pa.schema([("id", pa.large_string()), ("text", pa.large_string()), ("article", pa.large_string())])


def cache_folder() -> Path:
    """Where built corpora are kept; every file below it can be deleted and is built again."""
    if given := os.environ.get("XLING_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xling"


class Corpus(Sequence[Passage]):
    """Passages of one language, sorted by id descending, made into objects only when asked for.

    Iterating and slicing read a batch at a time; a single position costs a batch's lookup.
    Pickled it is its path: the other process maps the same file.

    Attributes:
        file: the Arrow file.
        language: of all its passages.
        digest: of ids, texts and articles, in order: what fingerprints take for the passages.
    """

    def __init__(self, file: Path, language: str, digest: str) -> None:
        """Map a finished file.

        Raises:
            DataError: it is missing or not whole.
        """
        self.file, self.language, self.digest = file, language, digest
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(file)))
            self._batches = [self._reader.get_batch(number) for number in range(self._reader.num_record_batches)]
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file}: is not a whole corpus ({error}); delete it, it is built again") from error
        self._length: int = sum(batch.num_rows for batch in self._batches)

    def __reduce__(self) -> tuple[type[Corpus], tuple[Path, str, str]]:
        return Corpus, (self.file, self.language, self.digest)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, position: int) -> Passage: ...
    @overload
    def __getitem__(self, position: slice) -> list[Passage]: ...
    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            start, stop, step = position.indices(self._length)
            if step == 1:
                return list(self._rows(start, stop))
            return [self[place] for place in range(start, stop, step)]
        place = int(position) + (self._length if position < 0 else 0)
        if not 0 <= place < self._length:
            raise IndexError(f"passage {position} of {self._length}")
        return next(self._rows(place, place + 1))

    def __iter__(self) -> Iterator[Passage]:
        return self._rows(0, self._length)

    @property
    def ids(self) -> pa.ChunkedArray:
        """All ids, as they lie in the file."""
        return pa.chunked_array([batch.column(0) for batch in self._batches], pa.large_string())

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Where some ids stand; those that are not there are left out."""
        return positions(self.ids, ids)

    def _rows(self, start: int, stop: int) -> Iterator[Passage]:
        while start < stop:
            number, first = divmod(start, ROWS)
            count = min(ROWS - first, stop - start)
            columns = [column.slice(first, count).to_pylist() for column in self._batches[number].columns]
            for passage_id, text, article in zip(*columns, strict=True):
                yield Passage(passage_id, self.language, text, article=article)
            start += count


def positions(ids: pa.ChunkedArray, wanted: Iterable[str]) -> dict[str, int]:
    """Positions of the wanted ids among all ids: a table of the wanted ones, not of all, is made."""
    names = list(dict.fromkeys(wanted))
    found: dict[str, int] = {}
    if not names:
        return found
    values = pa.array(names, pa.large_string())
    offset = 0
    for chunk in ids.chunks:
        numbers = pc.index_in(chunk, value_set=values)
        if numbers.null_count < len(numbers):
            places = np.flatnonzero(numbers.is_valid().to_numpy(zero_copy_only=False))
            for place, number in zip(places.tolist(), numbers.drop_null().to_pylist(), strict=True):
                found[names[number]] = offset + place
        offset += len(chunk)
    return found
