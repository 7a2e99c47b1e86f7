"""Building a :class:`~xling.data.corpus.Corpus`: rows in any order, sorted in runs and merged, memory bounded.

A run holds ``RUN_CHARACTERS`` of text; only one run is in memory at once, then a batch of each.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import TypedDict

from xling.data.corpus import ROWS, SCHEMA, Corpus, cache_folder
from xling.data.files import BadRows, unreadable
from xling.data.fingerprint import fingerprint
from xling.errors import DataError, ResourceError
from xling.stored_json import DamagedFile, parsed

CORPUS_VERSION = 1  # raised when the same raw files would give another Arrow file
RUN_CHARACTERS = 32 << 20
_RUN_ROWS = 256  # a batch of a run, of which merging holds one for each run
_RUN_SCHEMA = pa.schema([*SCHEMA, ("file", pa.int32()), ("line", pa.int64())])
_SECONDS = 10  # between reports of progress

log = logging.getLogger(__name__)


class RawPassage(NamedTuple):
    """A row of a raw file, checked; ``id`` is the set's own, unique over its languages."""

    line: int
    id: str
    text: str
    article: str = ""


Reader = Callable[[Path, BadRows], Iterator[RawPassage]]


def ensure_corpus(name: str, language: str, files: Sequence[Path], read: Reader, bad: BadRows) -> Corpus:
    """The corpus that ``read`` gives for the files, from the cache or built now.

    A second passage with an id is a bad row. What was left out in building is reported to
    ``bad`` again when the corpus comes from the cache, so that it is never silent.

    Args:
        name: of the data set and the way its rows are read; part of the key.
        read: passages of one file, streamed.

    Raises:
        DataError: a file cannot be read or a row is wrong (with strict ``bad``), or there are no rows.
        ResourceError: the cache's disk is full.
    """
    key = fingerprint([str(CORPUS_VERSION), name, language, *(_digest(file) for file in files)])
    folder = cache_folder() / "corpora" / key
    about = _about(folder)
    if about is None or (bad.strict and about["bad_rows"]):
        about = _build(folder, f"{name} {language}", files, read, BadRows(bad.strict))
    bad.add(about["bad_rows"], about["examples"])
    return Corpus(folder / "passages.arrow", language, about["digest"])


class _About(TypedDict):
    digest: str
    size: int
    bad_rows: int
    examples: list[str]


def _about(folder: Path) -> _About | None:
    """What is noted of a finished corpus; None when there is none or its file was cut."""
    try:
        about: _About = parsed((folder / "corpus.json").read_bytes(), str(folder / "corpus.json"), _About)
        whole = (folder / "passages.arrow").stat().st_size == about["size"]
    except (OSError, DamagedFile):
        return None
    return about if whole else None


def _build(folder: Path, name: str, files: Sequence[Path], read: Reader, bad: BadRows) -> _About:
    meter = _Meter(name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder.parent) as scratch:
            runs = list(_runs(Path(scratch), files, read, bad, meter))
            if not runs:
                raise DataError(f"{', '.join(map(str, files))}: holds no passages, must hold at least one")
            finished = Path(scratch) / "finished"
            finished.mkdir()
            merged = _distinct(_merged(runs), files, bad)
            digest = _write(finished / "passages.arrow", merged, meter)
            size = (finished / "passages.arrow").stat().st_size
            about: _About = {"digest": digest, "size": size, "bad_rows": bad.count, "examples": bad.examples}
            (finished / "corpus.json").write_text(json.dumps(about))
            _publish(finished, folder)
    except OSError as error:
        raise ResourceError(
            f"the corpus of {name} cannot be built below {folder.parent}: {error.strerror or error}; "
            "make room there, or set XLING_CACHE to another folder"
        ) from error
    finally:
        meter.end()
    return about


def _publish(finished: Path, folder: Path) -> None:
    """Move a built corpus to its place, file by file.

    Another process may do so at this moment, or may already read: a build of the same files gives
    the same bytes, so replacing its files takes nothing from anyone, while removing a folder would.
    """
    folder.mkdir(exist_ok=True)
    for name in ("passages.arrow", "corpus.json"):  # what is noted last says that the other is whole
        os.replace(finished / name, folder / name)


def _runs(scratch: Path, files: Sequence[Path], read: Reader, bad: BadRows, meter: _Meter) -> Iterator[Path]:
    """Sorted runs of the files' rows, written to scratch."""
    rows: list[tuple[str, str, str, int, int]] = []
    size = count = 0
    for number, file in enumerate(files):
        for line, passage_id, text, article in read(file, bad):
            rows.append((passage_id, text, article, number, line))
            size += len(text) + len(article) + 100  # 100: what a row takes beside its text
            if size >= RUN_CHARACTERS:
                yield _write_run(scratch / f"{count}.arrow", rows)
                rows, size, count = [], 0, count + 1
            meter.add("read")
    if rows:
        yield _write_run(scratch / f"{count}.arrow", rows)


def _write_run(file: Path, rows: list[tuple[str, str, str, int, int]]) -> Path:
    columns = list(zip(*rows, strict=True))
    rows.clear()
    table = pa.table(dict(zip(_RUN_SCHEMA.names, columns, strict=True)), schema=_RUN_SCHEMA)
    del columns
    # Rows were appended in the order of reading, and the sort is stable: of equal ids the first stays first.
    order = pc.sort_indices(table["id"], sort_keys=[("", "descending")])
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, _RUN_SCHEMA) as writer:
        for start in range(0, len(order), _RUN_ROWS):
            writer.write_table(table.take(order.slice(start, _RUN_ROWS)).combine_chunks(), max_chunksize=_RUN_ROWS)
    return file


def _merged(runs: Sequence[Path]) -> Iterator[tuple[Any, ...]]:
    """Rows of all runs, by id descending; ``heapq.merge`` takes equal ones in the order of the runs."""
    return heapq.merge(*map(_run_rows, runs), key=itemgetter(0), reverse=True)


def _run_rows(run: Path) -> Iterator[tuple[Any, ...]]:
    with pa.memory_map(str(run)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield from zip(*(column.to_pylist() for column in reader.get_batch(number).columns), strict=True)


def _distinct(rows: Iterator[tuple[Any, ...]], files: Sequence[Path], bad: BadRows) -> Iterator[tuple[Any, ...]]:
    previous: tuple[Any, ...] = ("",)
    for row in rows:
        if row[0] == previous[0]:
            first = f"{files[previous[3]]}:{previous[4]}"
            bad.report(files[row[3]], row[4], f"passage id {row[0]!r} is that of {first} too; give each its own")
            continue
        previous = row
        yield row


def _write(file: Path, rows: Iterator[tuple[Any, ...]], meter: _Meter) -> str:
    """Write the final file; returns its content's digest."""
    digest = hashlib.blake2b(digest_size=16)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for batch in _batches(rows, meter):
            writer.write_batch(batch)
            for column in batch.columns:
                _, offsets, data = column.buffers()
                ends = np.frombuffer(offsets, np.int64)[: len(column) + 1]
                digest.update(np.diff(ends).astype("<i8").tobytes())
                digest.update(memoryview(data)[: int(ends[-1])] if data is not None else b"")
    return digest.hexdigest()


def _batches(rows: Iterator[tuple[Any, ...]], meter: _Meter) -> Iterator[pa.RecordBatch]:
    columns: tuple[list[str], ...] = ([], [], [])
    for row in rows:
        for column, value in zip(columns, row, strict=False):  # what follows the three is where the row came from
            column.append(value)
        meter.add("sorted")
        if len(columns[0]) == ROWS:
            yield pa.record_batch([pa.array(column, pa.large_string()) for column in columns], schema=SCHEMA)
            columns = ([], [], [])
    if columns[0]:
        yield pa.record_batch([pa.array(column, pa.large_string()) for column in columns], schema=SCHEMA)


def _digest(file: Path) -> str:
    """Of a raw file's bytes."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "blake2b").hexdigest()
    except OSError as error:
        raise unreadable(file, error) from error


class _Meter:
    """Tells a long build's progress: on a terminal in one line that changes, else in the log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts: dict[str, int] = {}
        self._told = time.monotonic()
        self._shown = False

    def add(self, stage: str) -> None:
        count = self._counts[stage] = self._counts.get(stage, 0) + 1
        if count % 10_000:
            return
        on_terminal = sys.stderr.isatty()
        if time.monotonic() - self._told < (1 if on_terminal else _SECONDS):
            return
        self._told = time.monotonic()
        total = f" of {self._counts['read']:,}" if stage == "sorted" else ""
        text = f"{self._name}: {count:,}{total} passages {stage}"
        if on_terminal:
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
            self._shown = True
        else:
            log.info(text)

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
