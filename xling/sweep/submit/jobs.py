"""Jobs of a cluster, as far as submitting and following a sweep needs them: a narrow view of Ray's Job API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from xling.errors import INTERRUPTED, OK, SOME_FAILED, USER_ERROR, ConfigError, ResourceError

SWEEP_KEY, STORAGE_KEY = "xling.sweep", "xling.storage"  # of a job's metadata
LIVE = ("PENDING", "RUNNING")
STOPPED = "STOPPED"
_NOT_FOUND = 127  # a shell's, of a command that is not there


class ConnectionLost(ResourceError):
    """The cluster does not answer now; its jobs may well go on."""

    def __init__(self, address: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"no answer from {address} ({reason}): check the network, then give the same command again")


class NoSuchJob(ResourceError):
    """The cluster has no job of that id, or no longer."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that ``xling submit`` made, as the cluster knows it."""

    id: str
    sweep: str
    storage: str
    status: str  # as Ray says it: PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED
    exit_code: int | None = None  # of the command, once it has ended by itself; negative: the signal that ended it
    started: float = 0.0  # Unix seconds
    message: str = ""  # Ray's, on the status
    ran: bool = True  # whether it ever got to a machine

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def exit_status(self) -> int:
        """The sweep's: 0, 1, 2 or 130. What ended without telling one has left something undone."""
        if self.status == STOPPED:
            return INTERRUPTED
        if self.exit_code in (OK, SOME_FAILED, USER_ERROR, INTERRUPTED):
            return int(self.exit_code)
        return SOME_FAILED if self.ran and self.exit_code != _NOT_FOUND else USER_ERROR

    def ending(self) -> str:
        """How it ended, in one sentence, with what to do about it."""
        again = "submit the sweep again: it goes on from its storage"
        if self.status == STOPPED or self.exit_code == INTERRUPTED:
            return f"Job {self.id} was stopped; {again}."
        match self.exit_code:
            case 0:
                return f"Job {self.id}: everything is done."
            case 1:
                return f"Job {self.id}: not everything is done, its log says why; {again}."
            case 2:
                return f"Job {self.id} was refused, its log says why."
            case 127:
                return f"Job {self.id}: the head has no `python` on its PATH; start Ray in the environment of xling."
            case None if not self.ran:
                return f"Job {self.id} could not be started: {_first_line(self.message)}"
            case None:
                return f"Job {self.id} ended with the machine it ran on ({_first_line(self.message)}); {again}."
        how = f"by signal {-self.exit_code}" if self.exit_code < 0 else f"with status {self.exit_code}"
        return f"Job {self.id}: its command ended {how}; {again}."


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What ``xling submit`` asks a cluster to run."""

    id: str
    sweep: str
    storage: str
    package: Path  # a zip, unpacked where the job runs
    modules: Path | None  # a Python package to send, instead of the one installed there
    env: Mapping[str, str] = field(repr=False)  # may be secrets


class JobApi(Protocol):
    """What is asked of a cluster. Every method raises ConnectionLost, and ResourceError when it is refused."""

    address: str

    def submit(self, spec: JobSpec) -> None:
        """Start a job. Raises ConfigError when the id is taken."""

    def list(self) -> list[Submission]:
        """Every job that ``xling submit`` made, ended ones too."""

    def get(self, name: str) -> Submission:
        """Raises NoSuchJob."""

    def log(self, name: str) -> Iterator[str]:
        """The log from its beginning as it grows; ends with the job, or when nothing came for a while."""

    def whole_log(self, name: str) -> str:
        """The log as it stands."""

    def stop(self, name: str) -> None:
        """Ask a job to end: it gets a signal, and time to save."""


def next_id(sweep: str, known: Iterable[Submission]) -> str:
    """``xling-<sweep>-<number>``, one more than the jobs that this sweep has had on the cluster."""
    pattern = re.compile(rf"xling-{re.escape(sweep)}-(\d+)")
    numbers = [int(found[1]) for job in known if (found := pattern.fullmatch(job.id))]
    return f"xling-{sweep}-{max(numbers, default=0) + 1}"


def refuse_running(known: Iterable[Submission], sweep: str, storage: str) -> None:
    """Raises ConfigError when a live job runs this sweep in this storage."""
    for job in known:
        if job.is_live and (job.sweep, job.storage) == (sweep, storage):
            raise ConfigError(
                f"sweep {sweep} runs already, as job {job.id}: watch it with `xling attach {job.id}`, "
                f"or stop it first with `xling attach {job.id} --stop`"
            )


def find_job(known: Iterable[Submission], name: str, address: str) -> Submission:
    """A job by its id, or the newest one of a sweep, the live ones first. Raises ConfigError when there is none."""
    known = sorted(known, key=lambda job: (job.is_live, job.started))
    for job in reversed(known):
        if name in (job.id, job.sweep):
            return job
    listed = f"it has {', '.join(job.id for job in reversed(known))}" if known else "it has none of xling's"
    raise ConfigError(f"the cluster at {address} has no job or sweep {name!r}; {listed}")


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason is known"])[0][:300]
