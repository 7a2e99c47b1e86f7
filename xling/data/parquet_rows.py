"""Rows of a Parquet file as objects, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xling.data.files import unreadable
from xling.errors import DataError

_BATCH = 1024  # rows held at once


def column_names(path: Path) -> list[str]:
    """The columns of a file. Raises DataError as :func:`read_parquet`."""
    with _whole(path):
        return list(pq.read_schema(path).names)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, which count from 1.

    Args:
        columns: only these, all of which must be there; all by default.

    Raises:
        DataError: the file cannot be read, is cut, or lacks a column.
    """
    number = 0
    with _whole(path), pq.ParquetFile(path) as file:
        lacking = [column for column in columns or () if column not in file.schema_arrow.names]
        if lacking:
            raise DataError(f"{path}: has no column {', '.join(lacking)}; must have {', '.join(columns or ())}")
        for batch in file.iter_batches(batch_size=_BATCH, columns=None if columns is None else list(columns)):
            try:
                rows = batch.to_pylist()
            except (ValueError, OverflowError) as error:
                rows_there = f"rows {number + 1:,} to {number + len(batch):,}"
                raise DataError(
                    f"{path}: {rows_there} hold what cannot be read ({_first(error)}); write texts in "
                    "UTF-8, and leave out columns that are none"
                ) from error
            for row in rows:
                number += 1
                yield number, row


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Make a DataError of what tells that a file is cut, is no Parquet, or cannot be read."""
    try:
        yield
    except pa.ArrowException as error:
        raise DataError(f"{path}: is not a whole Parquet file ({_first(error)}); copy it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
