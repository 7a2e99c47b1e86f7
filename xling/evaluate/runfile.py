"""TREC run and qrels files, one of each a query and passage language, and a query language and the pool.

``ar-en.run.gz`` holds ``qid Q0 docid rank score tag``, ``ar-en.qrels`` the judgements that count
for it (``qid 0 docid grade``): only those on English passages, so that trec_eval divides by the
same number of relevants. The pool's files are ``ar-pool.run.gz`` and ``ar-pool.qrels``.

Shapes: B queries, K depth.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Sequence

from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores
from xling.storage import Storage

POOL = "pool"
TAG = "xling"


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
