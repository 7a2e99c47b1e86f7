"""A job's metrics on storage: immutable segments, one written before each checkpoint.

A segment holds one JSON object a line, a step each. A step that two attempts made stands in two
segments, with the same values and another time; readers take the first attempt's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from xling.storage import Storage


def write_segment(job: Storage, records: Sequence[dict[str, Any]], attempt: int) -> None:
    """Write the records of consecutive steps, as they go."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    first, last = records[0]["step"], records[-1]["step"]
    job.write(f"metrics/{first:08d}-{last:08d}-a{attempt:04d}.jsonl", lines.encode())


def stored_steps(job: Storage) -> list[dict[str, Any]]:
    """All steps on storage, each once: of a step that two attempts made, the first one's record."""
    steps: dict[int, dict[str, Any]] = {}
    names = sorted(job.list("metrics"), key=lambda name: name.rpartition("-a")[2])
    for name in names:
        for line in job.read(f"metrics/{name}").decode().splitlines():
            record = json.loads(line)
            steps.setdefault(record["step"], record)
    return [steps[step] for step in sorted(steps)]
