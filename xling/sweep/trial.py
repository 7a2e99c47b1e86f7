"""The driver of one job, one process on the cluster: train, evaluate, record, retry.

It is a Tune function, and the only writer of its job's folder (but for the workers' checkpoints)
and of its MLflow run. A failure of the code is retried here, a bounded number of times; the death
of a process is not counted, but three in a row without a new step are given up.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from xling.errors import XlingError
from xling.evaluate.pairs import Progress
from xling.storage import Storage
from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.fit import CodeFailure, InfraFailure, Message, fit
from xling.sweep.jobs import Job
from xling.sweep.lease import HeldError, Lease
from xling.sweep.record import CellRecord
from xling.sweep.settings import Stopped, TrialSettings
from xling.train.worker import WorkerSpec

DEATHS_WITHOUT_A_STEP = 3
BACKOFF_S = 2.0
WAIT_S = 0.5

Report = Callable[[dict[str, Any]], None]


def tune_trial(config: dict[str, Any]) -> None:
    """The Tune function: ``config`` holds a job and the settings, both plain."""
    from ray import tune

    Trial(Job.from_json(config["job"]), TrialSettings(**config["settings"]), tune.report).run()


class Trial:
    """One job from wherever it stands to its end."""

    def __init__(self, job: Job, settings: TrialSettings, report: Report) -> None:
        self._job = job
        self._settings = settings
        self._root = Storage(settings.storage)
        self._path = job.folder(settings.sweep)
        self._folder = CellFolder(self._root.child(self._path))
        self._report = report
        self._step = 0
        self._total = 0
        self._record: CellRecord | None = None
        self._polled = 0.0

    def run(self) -> None:
        """Never raises for what the job does: how it ended is on storage and in the last report."""
        if self._job.kind == "warm":
            state = self._ensure_warm(self._job)
        else:
            with Lease(self._folder.storage, f"cell {self._job.label}"):
                state = self._attempts(self._job, self._one_attempt)
        self._tell(phase=state, ended=True)

    def _attempts(self, job: Job, attempt: Callable[[int, tuple[str, ...]], None]) -> CellState:
        """Try until done, stopped or given up."""
        folder = CellFolder(self._root.child(job.folder(self._settings.sweep)))
        failures = deaths = furthest = 0
        while True:
            if self._sweep_is_stopping():
                return CellState.INTERRUPTED
            folder.clear_stop()
            current = folder.begin_attempt()
            try:
                attempt(current.number, current.accepted)
            except Stopped as stop:
                folder.end_attempt(current.number, stop.outcome, step=self._step)
                return CellState(stop.outcome.value)
            except InfraFailure as error:
                folder.end_attempt(current.number, Outcome.FAILED, step=self._step, message=str(error), infra=True)
                deaths = 1 if self._step > furthest else deaths + 1
                furthest = max(furthest, self._step)
                if deaths >= DEATHS_WITHOUT_A_STEP:
                    return CellState.FAILED
                self._tell(phase="starting", note=f"{error}; going on from the last checkpoint")
            except Exception as error:
                by_user = isinstance(error, XlingError) or (isinstance(error, CodeFailure) and error.by_user)
                trace = error.traceback if isinstance(error, CodeFailure) else traceback.format_exc()
                message = str(error) if str(error) else type(error).__name__
                folder.end_attempt(current.number, Outcome.FAILED, step=self._step, message=message, traceback=trace)
                failures += 1
                if by_user or failures > self._settings.retries:
                    return CellState.FAILED
                self._tell(phase="starting", note=f"{message}; trying again")
                time.sleep(BACKOFF_S * 2 ** (failures - 1))
            else:
                folder.end_attempt(current.number, Outcome.DONE, step=self._step)
                folder.drop_scratch()
                return CellState.DONE

    def _one_attempt(self, number: int, accepted: tuple[str, ...]) -> None:
        """Train what is not trained, score what is not scored, close."""
        job, folder = self._job, self._folder
        self._tell(phase="starting")
        if job.warm is not None:
            self._await_warm()
        with CellRecord(job, self._settings, folder, number) as record:
            self._record = record
            if not folder.is_trained():
                if job.kind == "baseline":
                    self._publish_start()
                else:
                    self._train(job, number, accepted)
            self._evaluate()
            record.close()

    def _train(self, job: Job, number: int, accepted: tuple[str, ...]) -> None:
        path = job.folder(self._settings.sweep)
        stop_files = (f"{path}/stop.json", f"{self._settings.sweep}/stop.json")
        spec = WorkerSpec(
            storage=self._settings.storage,
            folder=path,
            stop_files=stop_files,
            config=job.config.model_dump(mode="json"),
            training=job.training,
            texts=job.texts,
            dev=job.dev,
            warm=job.warm,
            attempt=number,
            accepted=accepted,
        )
        fit(spec, job.config.resources, self._on_message)
        folder = CellFolder(self._root.child(path))
        if not folder.is_trained():
            raise Stopped(folder.asked_to_stop() or Outcome.INTERRUPTED)

    def _on_message(self, message: Message) -> None:
        """What a worker says, passed on to the sweep's display and to MLflow."""
        if message["event"] == "steps":
            newest = message["records"][-1]
            self._step, self._total = newest["step"] + 1, message["total"]
            if self._record is not None:
                self._record.steps(message["records"])
            self._tell(phase="training", loss=newest["loss"], pairs_per_s=newest["pairs_per_s"])
        elif message["event"] == "started":
            self._step, self._total = message["step"], message["total"]
            if self._record is not None:
                self._record.started(message)
            self._tell(phase="training")
        elif message["event"] == "checkpoint" and self._record is not None:
            self._record.save_spool()
        elif message["event"] == "skipped":
            self._tell(phase="training", note=f"checkpoint passed over: {message['reason']}")

    def _evaluate(self) -> None:
        from xling.sweep.scoring import score

        assert self._record is not None
        for evaluation in self._job.evaluations:
            if not self._folder.missing_evaluations([evaluation.id]):
                continue
            self._tell(phase="evaluating")
            score(self._root, self._path, self._job, evaluation, progress=self._on_progress)
        for evaluation in self._job.evaluations:
            self._record.scored(evaluation)

    def _on_progress(self, progress: Progress) -> None:
        """Between the tasks of an evaluation: leave when asked to; it is scored anew next time."""
        if time.monotonic() - self._polled < WAIT_S:
            return
        self._polled = time.monotonic()
        if self._sweep_is_stopping():
            raise Stopped(Outcome.INTERRUPTED)
        asked = self._folder.asked_to_stop()
        if asked is not None:
            raise Stopped(asked)
        self._tell(phase="evaluating")

    def _publish_start(self) -> None:
        """A baseline's model: the weights its size starts from."""
        from xling.train.inputs import load_start_model, publish_model

        start = load_start_model(self._root, self._job.config, texts=self._job.texts, warm=self._job.warm)
        about = {"step": 0, "total_steps": 0, "dev": None, "parameters": start.encoder.parameters_total}
        publish_model(self._folder.storage, start, about)

    def _await_warm(self) -> None:
        """Wait for the warm start, or train it here when nobody does."""
        assert self._job.warm is not None
        state = self._ensure_warm(Job.from_json(self._root.read(f"warm/{self._job.warm}/cell.json").decode()))
        if state is CellState.FAILED:
            attempts = CellFolder(self._root.child(f"warm/{self._job.warm}")).attempts()
            raise CodeFailure(f"its warm start failed: {attempts[-1]['end']['message']}", "", by_user=True)
        if state is not CellState.DONE:
            raise Stopped(Outcome.INTERRUPTED)
        self._step = self._total = 0

    def _ensure_warm(self, job: Job) -> CellState:
        path = job.folder(self._settings.sweep)
        folder = CellFolder(self._root.child(path))
        while not folder.is_trained():
            if self._sweep_is_stopping():
                return CellState.INTERRUPTED
            self._tell(phase="warm start" if job is not self._job else "starting")
            with suppress(HeldError), Lease(folder.storage, f"warm start {job.label}"):
                if not folder.is_trained():
                    return self._attempts(job, lambda number, accepted: self._train(job, number, accepted))
            time.sleep(WAIT_S)
        return CellState.DONE

    def _sweep_is_stopping(self) -> bool:
        return self._root.exists(f"{self._settings.sweep}/stop.json")

    def _tell(self, phase: str, **values: Any) -> None:
        self._report({"job": self._job.id, "phase": str(phase), "step": self._step, "total": self._total, **values})
