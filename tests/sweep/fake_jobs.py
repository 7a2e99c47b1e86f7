"""A cluster of made-up jobs: logs that grow, connections that break."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from xling.errors import ConfigError
from xling.sweep.submit.jobs import ConnectionLost, JobSpec, NoSuchJob, Submission

LOST = object()  # in a log: the connection breaks here
QUIET = object()  # in a log: nothing more came for a while


@dataclass
class FakeJobs:
    """A job that runs until its log's pieces are used up, over as many connections as that takes.

    log: what each piece of a connection is; a new connection begins at the log's beginning.
    """

    log_: list[object] = field(default_factory=list)
    ends: Submission | None = None
    away: int = 0  # so many questions are not answered at first
    jobs: list[Submission] = field(default_factory=list)
    sent: list[JobSpec] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    address: str = "http://head:8265"

    def submit(self, spec: JobSpec) -> None:
        if any(job.id == spec.id for job in self.jobs):
            raise ConfigError(f"job {spec.id} was submitted by somebody else just now: attach to it")
        self.sent.append(spec)
        self.jobs.append(Submission(spec.id, spec.sweep, spec.storage, "RUNNING", started=len(self.jobs)))

    def list(self) -> list[Submission]:
        return list(self.jobs)

    def get(self, name: str) -> Submission:
        if self.away:
            self.away -= 1
            raise ConnectionLost(self.address, "no connection")
        if self.ends is None:
            raise NoSuchJob(f"knows no job {name}")
        return self.ends if not self.log_ else replace(self.ends, status="RUNNING", exit_code=None)

    def log(self, name: str) -> Iterator[str]:
        """Everything that earlier connections sent, then what is new up to the next break."""
        yield from self._sent_before()
        while self.log_:
            piece = self.log_.pop(0)
            if piece is LOST:
                raise ConnectionLost(self.address, "no connection")
            if piece is QUIET:
                return
            self._written.append(str(piece))
            yield str(piece)

    def whole_log(self, name: str) -> str:
        return "".join(self._written) + self.unsent

    def stop(self, name: str) -> None:
        self.stopped.append(name)

    def _sent_before(self) -> Iterator[str]:
        whole = "".join(self._written)  # in pieces of another size than it first came in
        yield from (whole[start : start + 7] for start in range(0, len(whole), 7))

    def __post_init__(self) -> None:
        self._written: list[str] = []
        self.unsent = ""  # written when the job had ended, and no connection was there
