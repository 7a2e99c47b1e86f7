"""The local, append-only record of what a run logs: kept first, sent to MLflow afterwards.

A spool is a folder::

    spool.jsonl   one operation a line, in the order they were logged; never rewritten
    acked.json    byte offset up to which MLflow holds everything
    run.json      which run this is, so that `xling track sync` needs nothing else
    files/        copies of artifacts that still have to be sent

Lines are written by one ``write`` each, so a killed process leaves at most a torn last line,
which readers skip. The file survives ``kill -9``; it is not fsynced, so a power cut may
take the last seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import DamagedFile, parsed, pass_over, shaped

Operation = dict[str, Any]

_STAGED = re.compile(r"files/[0-9a-f]+/(?!\.{1,2}$)[^/\0]+")


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one metric; its timestamp is taken once and kept through every replay."""

    key: str
    value: float
    step: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation read back, and the offset just behind its line."""

    operation: Operation
    end: int


class _Acked(TypedDict, total=False):
    offset: int


class _Named(TypedDict):
    op: str


class _Point(TypedDict):
    """A metric's value, as it is spooled."""

    key: str
    value: float
    step: int
    timestamp_ms: int


class Spool:
    """Operations of one run. One process appends; one thread at a time delivers."""

    def __init__(self, folder: Path) -> None:
        """Opens or makes the folder."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "spool.jsonl"
        self._append_lock = threading.RLock()
        self._claim: int | None = None
        self._floor: dict[str, int] = {}
        self._knows_floor = False
        self._saved = self.size

    @property
    def size(self) -> int:
        """Bytes spooled so far."""
        return self._path.stat().st_size if self._path.exists() else 0

    @property
    def acked(self) -> int:
        """Offset up to which MLflow holds everything."""
        try:
            acked: _Acked = self._load("acked.json", _Acked)
        except DamagedFile as error:
            pass_over(error, "all of its run is sent to MLflow again")
            return 0
        return acked.get("offset", 0)

    @property
    def is_delivered(self) -> bool:
        return self.acked >= self.size

    def floor(self, key: str) -> int:
        """Highest step known for a metric, -1 without any: nothing at or below it is taken again."""
        with self._append_lock:
            if not self._knows_floor:  # who only sends never asks, and is spared reading it all
                self._knows_floor = True
                for entry in self._entries(0):
                    self._raise(entry.operation)
            return self._floor.get(key, -1)

    def raise_floor(self, steps: Mapping[str, int]) -> None:
        """Learn what the server already holds, by key (a spool may have been left on another host)."""
        with self._append_lock:
            for key, step in steps.items():
                self._floor[key] = max(step, self._floor.get(key, -1))

    def append_points(self, points: Iterable[MetricPoint]) -> int:
        """Keep the points above their key's highest step; returns how many were kept."""
        with self._append_lock:
            kept = []
            for point in points:
                if point.step > self.floor(point.key):
                    self._floor[point.key] = int(point.step)
                    kept.append(_operation(point))
            self._write(kept)
        return len(kept)

    def append(self, op: str, **values: Any) -> None:
        """Keep any other operation, with the time it was logged at."""
        with self._append_lock:
            self._write([{"op": op, "timestamp_ms": time.time_ns() // 1_000_000, **values}])

    def pending(self, limit: int) -> list[Entry]:
        """The oldest operations not acknowledged yet, at most ``limit``."""
        return list(islice(self._entries(self.acked), limit))

    def count_pending(self) -> int:
        """How many operations are not acknowledged yet."""
        return sum(1 for _ in self._lines(self.acked))

    def acknowledge(self, end: int) -> None:
        """Persist that MLflow holds everything before ``end``; 0 sends all of it again."""
        self._store("acked.json", {"offset": end})

    def identity(self) -> dict[str, Any]:
        """What :meth:`identify` kept; empty when nothing was."""
        identity: dict[str, Any] = self._load("run.json", dict)
        return identity

    def identify(self, identity: Mapping[str, Any]) -> None:
        self._store("run.json", identity)

    def stage(self, source: Path) -> str:
        """Copy (or link) an artifact into the spool; returns its path below the folder."""
        target = self.folder / "files" / uuid.uuid4().hex[:12] / source.name
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        return target.relative_to(self.folder).as_posix()

    def stage_new(self, name: str) -> tuple[Path, str]:
        """A path to write a new artifact to, and that path below the folder."""
        target = self.folder / "files" / uuid.uuid4().hex[:12] / name
        target.parent.mkdir(parents=True)
        return target, target.relative_to(self.folder).as_posix()

    def staged(self, path: str) -> Path | None:
        """Where an artifact's copy is; None for a path that :meth:`stage` never gave: a spool may come from others."""
        copy = self.folder / path
        is_inside = _STAGED.fullmatch(path) and copy.resolve().is_relative_to(
            self.folder.resolve()
        )  # links may lead out
        return copy if is_inside else None

    def unstage(self, path: str) -> None:
        """Drop an artifact's copy once it is delivered."""
        if (copy := self.staged(path)) is not None:
            shutil.rmtree(copy.parent, ignore_errors=True)

    def claim(self) -> bool:
        """Become the only deliverer on this host; False while another process is. The kernel frees a dead one's."""
        if self._claim is None:
            descriptor = os.open(self.folder / "deliver.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            self._claim = descriptor
        return True

    def release(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def save_segment(self, storage: Storage, attempt: int) -> None:
        """Upload what was appended since the last call as one immutable object.

        For object stores, which cannot append: call it with every checkpoint.
        """
        with self._append_lock:  # whole lines
            start, end = self._saved, self.size
            if end == start:
                return
            with self._path.open("rb") as file:
                file.seek(start)
                lines = file.read(end - start)
        storage.write(f"{attempt:06d}-{start:012d}.jsonl", lines)
        self._saved = end

    def restore(self, storage: Storage) -> None:
        """Fill an empty spool from the segments of earlier attempts.

        A step that two attempts logged (one of them cut off and late) keeps its first value.
        """
        if self.size:
            return
        for name in segments(storage):
            operations = [_parse(line) for line in storage.read(name).splitlines(keepends=True)]
            kept = [operation for operation in operations if operation and self._raise(operation)]
            self._write(kept)
        self._saved = self.size

    def _raise(self, operation: Operation) -> bool:
        """Raise the floor by a point that was read; False when it is not above it."""
        if operation["op"] != "point":
            return True
        key, step = operation["key"], operation["step"]
        is_new = bool(step > self.floor(key))
        self._floor[key] = max(step, self.floor(key))
        return is_new

    def _write(self, operations: list[Operation]) -> None:
        if not operations:
            return
        text = "".join(json.dumps(operation, ensure_ascii=False) + "\n" for operation in operations)
        with self._path.open("a+b", buffering=0) as file:
            if self._is_torn(file.fileno()):
                text = "\n" + text
            file.write(text.encode())

    @staticmethod
    def _is_torn(descriptor: int) -> bool:
        size = os.fstat(descriptor).st_size
        return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"

    def _entries(self, start: int) -> Iterator[Entry]:
        return (Entry(_parse(line) or {"op": "torn"}, end) for line, end in self._lines(start))

    def _lines(self, start: int) -> Iterator[tuple[bytes, int]]:
        """Whole lines from an offset on, each with the offset just behind it."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(start)
            end = start
            for line in file:
                if not line.endswith(b"\n"):  # torn, or being written right now
                    return
                end += len(line)
                yield line, end

    def _load(self, name: str, shape: type) -> Any:
        file = self.folder / name
        try:
            return parsed(file.read_bytes(), str(file), shape)
        except FileNotFoundError:
            return {}

    def _store(self, name: str, value: Mapping[str, Any]) -> None:
        scratch = self.folder / f"{name}.{os.getpid()}.{threading.get_ident()}"
        scratch.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(scratch, self.folder / name)


def segments(storage: Storage) -> list[str]:
    """Names of what :meth:`Spool.save_segment` wrote, in the order of attempts."""
    return [name for name in storage.list() if name.endswith(".jsonl")]


def newest_operations(folder: Path, most_bytes: int = 1 << 16) -> list[Operation]:
    """The last operations of a spool, read from its end: what another process is logging now."""
    try:
        with (folder / "spool.jsonl").open("rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - most_bytes)
            file.seek(begin)
            lines = file.read(most_bytes).splitlines(keepends=True)
    except FileNotFoundError:
        return []
    whole = lines[1:] if begin else lines  # the first one was most likely cut
    return [operation for line in whole if line.endswith(b"\n") and (operation := _parse(line)) is not None]


def _operation(point: MetricPoint) -> Operation:
    """A point as an operation; numpy's numbers become plain ones."""
    value, step, timestamp_ms = float(point.value), int(point.step), int(point.timestamp_ms)
    return {"op": "point", "key": point.key, "value": value, "step": step, "timestamp_ms": timestamp_ms}


def _parse(line: bytes) -> Operation | None:
    """The operation on a line; None for one that was torn or changed."""
    try:
        operation: Operation = parsed(line, "", _Named)
        if operation["op"] == "point":
            shaped(operation, _Point, "")
        return operation
    except DamagedFile:
        return None
