"""Rows of a Parquet file as objects, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xling.data.files import unreadable
from xling.errors import DataError

_BATCH = 1024  # rows held at once


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, which count from 1.

    Args:
        columns: only these, all of which must be there; all by default.

    Raises:
        DataError: the file cannot be read, is cut, or lacks a column.
    """
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            lacking = [column for column in columns or () if column not in file.schema_arrow.names]
            if lacking:
                raise DataError(f"{path}: has no column {', '.join(lacking)}; must have {', '.join(columns or ())}")
            for batch in file.iter_batches(batch_size=_BATCH, columns=None if columns is None else list(columns)):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: is not a whole Parquet file ({reason}); copy it again") from error
    except OSError as error:
        raise unreadable(path, error) from error
