"""Records as CSV for programs (RFC 4180): a line of machine-readable names, then a line a record."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from xling.report.rows import in_order


def to_csv(records: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> str:
    """Records as CSV text; what a record lacks, None and NaN are empty fields.

    Args:
        names: the columns; by default all names of the records as they first come, which of no record is no line.
    """
    columns = list(names) if names is not None else in_order(name for record in records for name in record)
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)  # its default dialect is RFC 4180's: CRLF, quotes where they are needed
    if columns:
        writer.writerow(columns)
    writer.writerows([_plain(record.get(name)) for name in columns] for record in records)
    return sink.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
