"""A cell's attempts, and which checkpoints each may start from (train/checkpoint.py): names alone, nothing of torch."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over

MANIFEST = "manifest.json"  # of a checkpoint
_NAME = re.compile(r"step-(\d{8})-a(\d{4})")


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """The step and the attempt that a checkpoint's folder is named by."""

    step: int
    attempt: int

    def __str__(self) -> str:
        return f"step-{self.step:08d}-a{self.attempt:04d}"

    @classmethod
    def parse(cls, text: str) -> CheckpointName | None:
        match = _NAME.fullmatch(text)
        return cls(int(match[1]), int(match[2])) if match else None


def local_time(seconds: float) -> str:
    """A time, in Unix seconds, as people are told when an attempt began or ended: local, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def newest_attempt(cell: Storage) -> int:
    """Number of the newest attempt at a cell; 0 when there was none."""
    numbers = [int(name[:4]) for name in cell.list("attempts") if re.fullmatch(r"\d{4}\.json", name)]
    return max(numbers, default=0)


def accepted_checkpoints(cell: Storage, *, strict: bool = False) -> list[str]:
    """The checkpoints that a new attempt may start from: see train/checkpoint.py.

    Raises:
        DamagedFile: with ``strict``, the newest attempt's record was cut or changed; else only its own may be started
            from, and standard error says so.
    """
    newest = newest_attempt(cell)
    if newest == 0:
        return []
    try:
        before = set(cell.read_json(f"attempts/{newest:04d}.json").get("accepted", ()))
    except DamagedFile as error:
        if strict:
            raise
        pass_over(error, "checkpoints of earlier attempts are not gone on from")
        before = set()
    found = []
    for text in cell.list("checkpoints"):
        name = CheckpointName.parse(text)
        if name and (name.attempt == newest or text in before) and cell.exists(f"checkpoints/{text}/{MANIFEST}"):
            found.append(text)
    return sorted(found)
