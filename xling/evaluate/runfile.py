"""TREC run and qrels files, one of each a query and passage language, and a query language and the pool.

``ar-en.run.gz`` holds ``qid Q0 docid rank score tag``, ``ar-en.qrels`` the judgements that count
for it (``qid 0 docid grade``): only those on English passages, so that trec_eval divides by the
same number of relevants. The pool's files are ``ar-pool.run.gz`` and ``ar-pool.qrels``.

Shapes: B queries, K depth.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from xling.data.files import open_lines
from xling.data.formats import not_utf8
from xling.errors import DataError
from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores
from xling.storage import Storage

POOL = "pool"
TAG = "xling"
_LARGEST = float(np.finfo(np.float32).max)
_Number = TypeVar("_Number", int, float)


class RunFile:
    """A run under construction, kept compressed; it appears on the storage whole."""

    def __init__(self, name: str) -> None:
        """Args: name: the pair, as in ``ar-en`` or ``ar-pool``."""
        self.name = name
        self._buffer = io.BytesIO()
        # No time stamp: equal runs are equal files.
        self._file = gzip.GzipFile(fileobj=self._buffer, mode="wb", compresslevel=3, mtime=0)

    def add(self, query_ids: Sequence[str], passage_ids: Sequence[str], columns_BK: Indices, scores_BK: Scores) -> None:
        """Append queries with their best passages, best first.

        Args:
            passage_ids: ids by candidate column.
        """
        for query_id, columns, scores in zip(query_ids, columns_BK.tolist(), scores_BK.tolist(), strict=True):
            # Nine significant digits are enough to read the same float32 back.
            lines = [
                f"{query_id} Q0 {passage_ids[column]} {rank} {score:.9g} {TAG}\n"
                for rank, (column, score) in enumerate(zip(columns, scores, strict=True), start=1)
            ]
            self._file.write("".join(lines).encode())

    def save(self, storage: Storage) -> None:
        self._file.close()
        storage.write(f"{self.name}.run.gz", self._buffer.getvalue())


def write_qrels(storage: Storage, name: str, judgements: Iterable[tuple[str, str, int]]) -> None:
    """Write ``name.qrels`` from (query id, passage id, grade)."""
    lines = [f"{query} 0 {passage} {grade}\n" for query, passage, grade in judgements]
    storage.write(f"{name}.qrels", "".join(lines).encode())


def read_run(path: Path) -> dict[str, dict[bytes, float]]:
    """Scores by query and passage id of a run: ``qid Q0 docid rank score tag`` a line, plain or gzipped.

    As in trec_eval, ranks and the order of lines count for nothing, the scores decide.

    Raises:
        DataError: the file cannot be read, a line has other columns, a score is no finite number (in
            float32, which trec_eval compares), or a query has a passage twice; file and line are named.
    """
    run: dict[str, dict[bytes, float]] = {}
    for line, (query, _, passage, _, text, _) in _rows(path, "qid Q0 docid rank score tag"):
        score = _number(path, line, "score", text, float)
        if not abs(score) <= _LARGEST:  # NaN too
            raise DataError(f"{path}:{line}: the score is {_shown(text)}, must be a finite number (in 32 bits)")
        _enter(run, path, line, query, passage, score, "twice in the run")
    return run


def read_qrels(path: Path) -> dict[str, dict[bytes, int]]:
    """Grades by query and passage id: ``qid 0 docid grade`` a line, plain or gzipped. Raises as :func:`read_run`."""
    qrels: dict[str, dict[bytes, int]] = {}
    for line, (query, _, passage, grade) in _rows(path, "qid 0 docid grade"):
        _enter(qrels, path, line, query, passage, _number(path, line, "grade", grade, int), "judged twice")
    if not qrels:
        raise DataError(f"{path}: holds no judgement, must have lines of qid 0 docid grade")
    return qrels


def _rows(path: Path, columns: str) -> Iterator[tuple[int, list[bytes]]]:
    count = len(columns.split())
    for line, text in open_lines(path):
        row = text.split()
        if len(row) == count:
            yield line, row
        elif row:
            raise DataError(
                f"{path}:{line}: has {len(row)} columns, must have {count}: {columns}; ids hold no white space"
            )


def _number(path: Path, line: int, what: str, text: bytes, kind: type[_Number]) -> _Number:
    try:
        if b"_" in text:  # Python would take 1_000
            raise ValueError
        return kind(text)
    except ValueError:
        rule = "a number" if kind is float else "a whole number"
        raise DataError(f"{path}:{line}: the {what} is {_shown(text)}, must be {rule}") from None


def _enter(
    into: dict[str, dict[bytes, _Number]],
    path: Path,
    line: int,
    query: bytes,
    passage: bytes,
    value: _Number,
    twice: str,
) -> None:
    try:
        of_query = into.setdefault(query.decode(), {})
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{line}: the query id {_shown(query)} {not_utf8(error)}") from None
    if passage in of_query:
        raise DataError(f"{path}:{line}: passage {_shown(passage)} of query {_shown(query)} stands {twice}; leave one")
    of_query[passage] = value


def _shown(text: bytes) -> str:
    return repr(text[:60].decode(errors="replace"))
