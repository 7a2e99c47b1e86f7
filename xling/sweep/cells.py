"""Cells: what is on storage for one resolved configuration, and the state that follows from it.

    <storage>/<sweep>/cells/<train id>/
        cell.json                   label and configuration
        attempts/0001.json          begun: when, where, which checkpoints it may start from
        attempts/0001.end.json      how it ended; missing when its process was killed
        attempts/0001.error.txt     the traceback of a failure
        metrics/…jsonl              one line a step
        checkpoints/step-…-a0001/   see train/checkpoint.py; gone when the cell is done
        model/                      the trained model, its marker written last
        eval/<eval id>/             scores, summary.json written last
        wanted.json                 asked for by name: early stopping leaves it alone
        result.json                 the last file of a finished cell

Nothing else remembers a state: launching, resuming and extending a sweep are one operation.
"""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated, Any

from pydantic import BeforeValidator
from typing_extensions import TypedDict

from xling.redaction import redacted
from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over
from xling.sweep.lease import holder_of
from xling.train.attempts import Begun, accepted_checkpoints, newest_attempt
from xling.train.trained import MODEL_MARKER


class CellState(StrEnum):
    """What a cell is, by what is on storage."""

    NEW = "new"
    RUNNING = "running"  # its lease is held by a living process
    INTERRUPTED = "interrupted"  # begun, and its process is gone: it goes on at the next launch
    STOPPED = "stopped"  # by a user or by early stopping: it stays so until asked for
    FAILED = "failed"
    DONE = "done"


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    STOPPED = "stopped"  # with a message when by early stopping
    INTERRUPTED = "interrupted"
    FAILED = "failed"


_AnOutcome = Annotated[Outcome, BeforeValidator(Outcome)]


class _End(TypedDict):
    """The file of an attempt's end."""

    ended: float  # Unix seconds
    outcome: _AnOutcome
    step: int
    message: str


class _Recorded(TypedDict):
    id: str


class _Result(TypedDict):
    """``result.json``, as far as states go by it."""

    evaluations: dict[str, _Recorded]  # by data set


class _Stop(TypedDict):
    outcome: _AnOutcome


class _Generation(TypedDict):
    number: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a cell. Its number fences off the writes of older ones."""

    number: int
    accepted: tuple[str, ...]  # checkpoints it may start from


class CellFolder:
    """One cell on storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def begin_attempt(self) -> Attempt:
        """Take the next attempt's number, exclusively."""
        while True:
            accepted = accepted_checkpoints(self.storage)
            number = newest_attempt(self.storage) + 1
            record = {
                "started": time.time(),
                "host": socket.gethostname(),
                "accepted": accepted,
                "versions": _versions(),
                "machine": platform.machine(),
            }
            if self.storage.create(f"attempts/{number:04d}.json", _json(record)):
                return Attempt(number, tuple(accepted))

    def end_attempt(
        self, number: int, outcome: Outcome, *, step: int, message: str = "", traceback: str = "", infra: bool = False
    ) -> None:
        """Record how an attempt ended, without secrets. ``infra``: the machine failed it, not the code."""
        if traceback:
            self.storage.write(f"attempts/{number:04d}.error.txt", redacted(traceback).encode())
        end = {"ended": time.time(), "outcome": outcome, "step": step, "message": redacted(message), "infra": infra}
        self.storage.write_json(f"attempts/{number:04d}.end.json", end)

    def attempts(self) -> list[dict[str, Any]]:
        """All attempts, oldest first: each one's record, with its end under ``end`` (None: killed).

        One whose record was cut or changed is left out, and an end of which that is true is none; it is said.
        """
        names = set(self.storage.list("attempts"))
        found = []
        for number in range(1, newest_attempt(self.storage) + 1):
            if f"{number:04d}.json" not in names:
                continue
            record = self._whole(f"attempts/{number:04d}.json", Begun, "the attempt is left out")
            if record is not None:
                record["end"] = self._end(number) if f"{number:04d}.end.json" in names else None
                found.append({"number": number, **record})
        return found

    def _end(self, number: int) -> dict[str, Any] | None:
        """How an attempt ended; None of one that did not, or whose word of it was cut or changed."""
        try:
            return self._whole(f"attempts/{number:04d}.end.json", _End, "the attempt counts as killed")
        except FileNotFoundError:
            return None

    def _whole(self, path: str, shape: type, so: str) -> dict[str, Any] | None:
        """A file's content; None, said aloud with what follows, where it was cut or changed."""
        try:
            content: dict[str, Any] = self.storage.read_json(path, shape)
        except DamagedFile as error:
            pass_over(error, so)
            return None
        return content

    def newest_end(self) -> dict[str, Any] | None:
        """How the newest attempt that has an end ended."""
        return next((attempt["end"] for attempt in reversed(self.attempts()) if attempt["end"]), None)

    def failure_since(self, moment: float) -> str | None:
        """The message of the newest end, where that was a failure after a moment, in Unix seconds."""
        end = self.newest_end()
        if end is None or end["outcome"] != Outcome.FAILED or end["ended"] < moment:
            return None
        return str(end["message"])

    def is_trained(self) -> bool:
        return self.storage.exists(MODEL_MARKER)

    def missing_evaluations(self, eval_ids: Iterable[str]) -> list[str]:
        return [eval_id for eval_id in eval_ids if not self.storage.exists(f"eval/{eval_id}/summary.json")]

    def is_done(self, eval_ids: Sequence[str]) -> bool:
        """Whether nothing is left to do: trained, scored on every set asked for, all of it recorded."""
        try:
            result = self._whole("result.json", _Result, "its cell is not done before the next launch writes it again")
        except FileNotFoundError:
            return False
        if result is None:
            return False
        recorded = {entry["id"] for entry in result["evaluations"].values()}
        return set(eval_ids) <= recorded and self.is_trained() and not self.missing_evaluations(eval_ids)

    def state(self, eval_ids: Sequence[str]) -> CellState:
        if self.is_done(eval_ids):
            return CellState.DONE
        if holder_of(self.storage) is not None:
            return CellState.RUNNING
        number = newest_attempt(self.storage)
        if number == 0:
            return CellState.NEW
        end = self._end(number)
        if end is None:
            return CellState.INTERRUPTED
        outcome = Outcome(end["outcome"])
        if outcome is Outcome.DONE:  # done before, and another evaluation set was added since
            return CellState.NEW
        return CellState(outcome.value)

    def start_over(self) -> None:
        """Forget what the cell has reached; its attempts stay as history, its next MLflow run is another one."""
        self.storage.write_json("generation.json", {"number": self.generation() + 1})
        for name in (
            "result.json",
            "model",
            "eval",
            "checkpoints",
            "metrics",
            "composition.json",
            "logged.json",
            "track",
            "wanted.json",
        ):
            self.storage.delete(name)

    def generation(self) -> int:
        """How often the cell was started over."""
        try:
            return int(self.storage.read_json("generation.json", _Generation)["number"])
        except FileNotFoundError:
            return 0

    def want(self) -> None:
        """Somebody asked for this very cell: early stopping lets it train to its end, in this launch and later ones."""
        self.storage.write_json("wanted.json", {"time": time.time()})

    def is_wanted(self) -> bool:
        return self.storage.exists("wanted.json")

    def stopped_early(self) -> str:
        """Why early stopping ended the newest attempt; empty when it did not."""
        number = newest_attempt(self.storage)
        end = self._end(number) if number else None
        return str(end["message"]) if end is not None and end["outcome"] == Outcome.STOPPED else ""

    def drop_scratch(self) -> None:
        """Remove what only going on needs: the checkpoints, most of a cell's bytes."""
        self.storage.delete("checkpoints")

    def ask_to_stop(self, outcome: Outcome) -> None:
        """Leave word for the cell's workers: finish the step, save, leave."""
        self.storage.write_json("stop.json", {"outcome": outcome, "time": time.time()})

    def asked_to_stop(self) -> Outcome | None:
        try:
            return Outcome(self.storage.read_json("stop.json", _Stop)["outcome"])
        except FileNotFoundError:
            return None
        except DamagedFile as error:
            pass_over(error, "its cell is stopped, and goes on at the next launch")
            return Outcome.INTERRUPTED

    def clear_stop(self) -> None:
        self.storage.delete("stop.json")


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "ray", "numpy")} | {
        "python": platform.python_version()
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()
