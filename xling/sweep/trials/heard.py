"""What the workers of a job say to its driver: passed on to the sweep's display and to MLflow, and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from xling.config.schema import ResourcesConfig
from xling.errors import StorageAway
from xling.redaction import redacted_values
from xling.sweep.jobs import Job
from xling.sweep.trials.mailbox import Message
from xling.sweep.trials.record import CellRecord

Report = Callable[[dict[str, Any]], None]


class Heard:
    """Where the job is, by its workers' messages.

    Attributes:
        step: the steps done.
        record: of the attempt, where MLflow is to have it.
        finished: whether they trained to the end. Where they left before, ``stopped_early`` or ``lacks_room`` may say
            why; with ``lacks_room`` a finished model may not have been written.
    """

    def __init__(self, job: Job, report: Report, where: Callable[[ResourcesConfig], dict[str, Any]]) -> None:
        """Args: where: tells the sweep's queue which nodes the job is on."""
        self._job = job
        self._report = report
        self._where = where
        self._total = 0
        self.step = 0
        self.record: CellRecord | None = None
        self.begin()

    def begin(self) -> None:
        """Other workers are to speak now."""
        self.finished = False
        self.stopped_early = self.lacks_room = ""

    def message(self, message: Message) -> None:
        """Take what a worker says."""
        if message["event"] == "steps":
            newest = message["records"][-1]
            self.step, self._total = newest["step"] + 1, message["total"]
            if self.record is not None:
                self.record.steps(message["records"])
            self.tell(phase="training", loss=newest["loss"], pairs_per_s=newest["pairs_per_s"])
        elif message["event"] == "started":
            self.step, self._total = message["step"], message["total"]
            if self.record is not None:
                self.record.started(message)
            self.tell(phase="training", **self._where(self._job.config.resources))
        elif message["event"] == "checkpoint" and self.record is not None:
            with suppress(StorageAway):  # the next one sends it too
                self.record.save_spool()
        elif message["event"] == "ended":
            self.finished = message["finished"]
        elif message["event"] == "stopped early":
            self.stopped_early = message["reason"]
        elif message["event"] == "no room":
            self.lacks_room = message["reason"]
        elif message["event"] == "no place":
            self.tell(phase="waiting", note=message["text"])
        elif message["event"] == "note":
            self.tell(phase="training", note=message["text"])
        elif message["event"] == "skipped":
            self.tell(phase="training", note=f"checkpoint passed over: {message['reason']}")

    def tell(self, phase: str, **values: Any) -> None:
        """Tell the sweep's display and queue."""
        self._report(
            {
                "job": self._job.id,
                "phase": str(phase),
                "step": self.step,
                "total": self._total,
                **redacted_values(values),
            }
        )
