"""A job's metrics on storage: immutable segments, one written before each checkpoint.

A segment holds one JSON object a line, a step each. A step that two attempts made stands in two
segments, with the same values and another time; readers take the first attempt's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NotRequired

from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import DamagedFile, parsed, pass_over, shaped

_NAME = re.compile(r"(\d+)-(\d+)-a(\d+)\.jsonl")  # first step, last, attempt; padded, sorted as numbers


class _Step(TypedDict):
    """A step's record, as far as it is read."""

    step: int
    time_ms: int
    loss: NotRequired[float]
    source: NotRequired[str]
    dev: NotRequired[float]
    lr: NotRequired[float]
    grad_norm: NotRequired[float]
    pairs_per_s: NotRequired[float]
    tokens_per_s: NotRequired[float]


def write_segment(job: Storage, records: Sequence[dict[str, Any]], attempt: int) -> None:
    """Write the records of consecutive steps, as they go."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    first, last = records[0]["step"], records[-1]["step"]
    job.write(f"metrics/{first:08d}-{last:08d}-a{attempt:04d}.jsonl", lines.encode())


def segments(job: Storage, attempt: int | None = None) -> list[str]:
    """Names of all segments, or of those of an attempt, in the order of attempts and, within one, of steps."""
    matches = [match for name in job.list("metrics") if (match := _NAME.fullmatch(name))]
    of = [match for match in matches if attempt in (None, int(match[3]))]
    return [match[0] for match in sorted(of, key=lambda match: (int(match[3]), int(match[1])))]


def read_segment(job: Storage, name: str, *, ends: bool = False) -> list[dict[str, Any]]:
    """A segment's records, with ``ends`` only the first and the last. Raises DamagedFile when it was cut or changed."""
    path = f"metrics/{name}"
    lines = job.read(path).splitlines() or [b""]  # none is ever written without a step
    place = job.locate(path)
    records = [parsed(line, place) for line in ((lines[0], lines[-1]) if ends else lines)]
    found: list[dict[str, Any]] = shaped(records, list[_Step], place)
    return found


def stored_steps(job: Storage) -> list[dict[str, Any]]:
    """All steps on storage, each once: of a step that two attempts made, the first one's record.

    A segment that was cut or changed is passed over, and standard error says so.
    """
    steps: dict[int, dict[str, Any]] = {}
    for name in segments(job):
        try:
            records = read_segment(job, name)
        except DamagedFile as error:
            pass_over(error, "its steps are left out")
            continue
        for record in records:
            steps.setdefault(record["step"], record)
    return [steps[step] for step in sorted(steps)]
