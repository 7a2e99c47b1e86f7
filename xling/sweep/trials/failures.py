"""What ends an attempt at a job, and what follows from it: a retry, going on, or giving up."""

from __future__ import annotations

from dataclasses import dataclass

from ray.exceptions import RayError, RayTaskError

from xling.errors import StorageAway, XlingError
from xling.sweep.cells import CellFolder
from xling.sweep.trials.mailbox import Message
from xling.train.worker import out_of_memory

KILLED_FOR_MEMORY = ("OutOfMemoryError", "low on memory", "memory pressure", "OOM")


class CodeFailure(Exception):
    """The code failed in a worker: worth a bounded number of retries, or none for a user's error."""

    def __init__(self, message: str, traceback: str, by_user: bool) -> None:
        super().__init__(message)
        self.traceback = traceback
        self.by_user = by_user


class InfraFailure(Exception):
    """A process or node died under the training, or hung: going on costs no retry."""


class Replaced(Exception):
    """A newer attempt, of another driver, has the job: this one must leave it alone."""


@dataclass
class Setbacks:
    """How often in a row a job's processes died, or its code failed, without getting further than ever before."""

    deaths: int = 0
    failures: int = 0
    furthest: int = 0  # step
    reason: str = ""  # of the last death

    def reached(self, step: int) -> None:
        """An attempt came as far as this."""
        if step > self.furthest:
            self.furthest, self.deaths, self.failures = step, 0, 0


def raise_outcome(error: BaseException | None, failures: list[Message]) -> None:
    """Raise what ended a group of workers: by what they said of it themselves, else by Ray Train's error."""
    if any(failure["fenced"] for failure in failures):
        raise Replaced(failures[0]["message"]) from error
    own = [failure for failure in failures if not failure["peer"]]
    if own:
        raise CodeFailure(own[0]["message"], own[0]["traceback"], own[0]["by_user"]) from error
    raise InfraFailure(why(error) if error is not None else "its workers ended early") from error


def why(error: BaseException) -> str:
    """In one line why processes died, as far as Ray knows."""
    text = str(error)
    if any(sign in text for sign in KILLED_FOR_MEMORY):
        return out_of_memory("it was killed when its machine had none left")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not line.endswith(":")] or lines or [repr(error)]  # without Ray's headings
    return next((line for line in told if "Error" in line or "died" in line), told[0])


def told(error: BaseException) -> str:
    """What a user is told of an exception; of one raised in a Ray task itself, not the task's traceback."""
    if isinstance(error, RayTaskError) and error.cause is not None:
        return f"{type(error.cause).__name__}: {error.cause}"
    return str(error) or type(error).__name__


def is_final(error: Exception) -> bool:
    """Whether trying again cannot help: the user must mend something first."""
    return isinstance(error, XlingError) and not isinstance(error, StorageAway)


def is_death(error: Exception) -> bool:
    """Whether a process or node died, as against the code failing."""
    return isinstance(error, InfraFailure) or (isinstance(error, RayError) and not isinstance(error, RayTaskError))


def killed_in_a_row(folder: CellFolder, since: float) -> int:
    """Newest attempts of this launch whose driver was killed, all at one checkpoint."""
    count = 0
    reached = None
    for attempt in reversed(folder.attempts()):
        if attempt["end"] is not None or attempt["started"] < since:
            break
        newest = attempt["accepted"][-1:]  # as they were found, by step
        if reached is not None and newest != reached:
            break
        count, reached = count + 1, newest
    return count
