"""A job's metrics on storage: immutable segments, one written before each checkpoint.

A segment holds one JSON object a line, a step each. A step that two attempts made stands in two
segments, with the same values and another time; readers take the first attempt's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from xling.storage import Storage
from xling.stored_json import DamagedFile, parsed, pass_over


def write_segment(job: Storage, records: Sequence[dict[str, Any]], attempt: int) -> None:
    """Write the records of consecutive steps, as they go."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    first, last = records[0]["step"], records[-1]["step"]
    job.write(f"metrics/{first:08d}-{last:08d}-a{attempt:04d}.jsonl", lines.encode())


def read_segment(job: Storage, name: str, *, ends: bool = False) -> list[dict[str, Any]]:
    """A segment's records, with ``ends`` only the first and the last. Raises DamagedFile when it was cut or changed."""
    path = f"metrics/{name}"
    lines = job.read(path).splitlines() or [b""]  # none is ever written without a step
    return [parsed(line, job.locate(path)) for line in ((lines[0], lines[-1]) if ends else lines)]


def stored_steps(job: Storage) -> list[dict[str, Any]]:
    """All steps on storage, each once: of a step that two attempts made, the first one's record.

    A segment that was cut or changed is passed over, and standard error says so.
    """
    steps: dict[int, dict[str, Any]] = {}
    names = sorted(job.list("metrics"), key=lambda name: name.rpartition("-a")[2])
    for name in names:
        try:
            records = read_segment(job, name)
        except DamagedFile as error:
            pass_over(error, "its steps are left out")
            continue
        for record in records:
            steps.setdefault(record["step"], record)
    return [steps[step] for step in sorted(steps)]
