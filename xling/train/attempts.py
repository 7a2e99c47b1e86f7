"""A cell's attempts, and which checkpoints each may start from (train/checkpoint.py): names alone, nothing of torch."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over

MANIFEST = "manifest.json"  # of a checkpoint
_NAME = re.compile(r"step-(\d{8,})-a(\d{4,})")  # padded, and longer where that is not enough: sorted as numbers
_RECORD = re.compile(r"(\d{4,})\.json")


class _Accepting(TypedDict):
    accepted: list[str]  # checkpoints that the attempt may start from


class Begun(_Accepting):
    """An attempt's record."""

    started: float  # Unix seconds
    host: str
    versions: dict[str, str]
    machine: str


@dataclass(frozen=True, slots=True, order=True)
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
    matches = map(_RECORD.fullmatch, cell.list("attempts"))
    return max((int(match[1]) for match in matches if match), default=0)


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
        before = set(cell.read_json(f"attempts/{newest:04d}.json", _Accepting)["accepted"])
    except DamagedFile as error:
        if strict:
            raise
        pass_over(error, "checkpoints of earlier attempts are not gone on from")
        before = set()
    return [
        str(name)
        for name in stored_checkpoints(cell)
        if (name.attempt == newest or str(name) in before) and cell.exists(f"checkpoints/{name}/{MANIFEST}")
    ]


def stored_checkpoints(cell: Storage) -> list[CheckpointName]:
    """The names of what is among a cell's checkpoints, whole or not, by step and attempt."""
    return sorted(name for text in cell.list("checkpoints") if (name := CheckpointName.parse(text)) is not None)
