"""The driver of one job, one process on the cluster: train, evaluate, record, retry.

It is a Tune function, and the only writer of its job's folder (but for the workers' checkpoints)
and of its MLflow run. A failure of the code is retried here, a bounded number of times; the death
of a process is not counted, but three in a row without a new step are given up.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from xling.errors import XlingError
from xling.evaluate.pairs import Progress
from xling.redaction import redacted_values
from xling.storage import Storage
from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.failures import CodeFailure, Message, Replaced, is_death, is_final, killed_in_a_row, told, why
from xling.sweep.jobs import Job
from xling.sweep.lease import EXPIRY_S, HEARTBEAT_S, HeldError, Lease
from xling.sweep.pool import Pool
from xling.sweep.record import CellRecord
from xling.sweep.scoring import score
from xling.sweep.settings import Stopped, TrialSettings
from xling.sweep.workers import worker_spec
from xling.train.inputs import load_start_model, publish_model

DEATHS_WITHOUT_A_STEP = 3
BACKOFF_S = 2.0
WAIT_S = 0.5

Report = Callable[[dict[str, Any]], None]

_pool = Pool()  # of this process, which Tune hands one job after another


def tune_trial(config: dict[str, Any]) -> None:
    """The Tune function: a job, its warm start's job if it has one, and the settings, all plain."""
    from ray import tune

    plain = config["trial"]
    warm = Job.from_json(plain["warm"]) if plain["warm"] else None
    settings = TrialSettings(**plain["settings"])
    Trial(Job.from_json(plain["job"]), warm, settings, tune.report, tuple(plain["closed"])).run()


class Trial:
    """One job from wherever it stands to its end. Its workers keep off the nodes ``closed`` when they first start."""

    def __init__(
        self, job: Job, warm: Job | None, settings: TrialSettings, report: Report, closed: tuple[str, ...] = ()
    ) -> None:
        self._job = job
        self._warm = warm
        self._settings = settings
        self._root = Storage(settings.storage)
        self._path = job.folder(settings.sweep)
        self._folder = CellFolder(self._root.child(self._path))
        self._report = report
        self._closed = closed
        self._step = 0
        self._total = 0
        self._record: CellRecord | None = None
        self._polled = self._looked = 0.0
        self._stopped_early = ""  # why
        self._lacks_room = ""  # likewise
        self._lost = threading.Event()  # another driver took the lease over

    def run(self) -> None:
        """Bring the job to an end. How it ended is on storage and in the last report; only a bug raises."""
        _pool.keep()
        try:
            state = self.ensure_trained() if self._job.kind == "warm" else self._held_attempts()
        except XlingError as error:  # a full storage, say, where not even the attempt's end can be written
            self._tell(phase=CellState.FAILED, note=str(error), ended=True)
        else:
            self._tell(phase=state, ended=True)
        finally:
            _pool.rest()

    def ensure_trained(self) -> CellState:
        """For a warm start: train it, or wait while another driver does; failed if it failed in this launch."""
        while not self._folder.is_trained():
            if self._sweep_is_stopping():
                return CellState.INTERRUPTED
            if self.failure_of_this_launch() is not None:
                return CellState.FAILED
            with suppress(HeldError), Lease(self._folder.storage, self._job.label, self._lost.set):
                if not self._folder.is_trained():
                    return self._attempts(self._train)
            self._tell(phase="waiting")
            time.sleep(WAIT_S)
        return CellState.DONE

    def failure_of_this_launch(self) -> str | None:
        """The message of the newest attempt, if that failed after the sweep was launched."""
        end = next((attempt["end"] for attempt in reversed(self._folder.attempts()) if attempt["end"]), None)
        if end is None or end["outcome"] != Outcome.FAILED or end["ended"] < self._settings.launched:
            return None
        return str(end["message"])

    def _held_attempts(self) -> CellState:
        """Wait for the cell's lease: that of a driver whose node was lost runs out by itself."""
        deadline = time.monotonic() + EXPIRY_S + 2 * HEARTBEAT_S
        while True:
            try:
                with Lease(self._folder.storage, f"cell {self._job.label}", self._lost.set):
                    return self._attempts(self._one_attempt)
            except HeldError:
                if time.monotonic() > deadline:
                    raise
                self._tell(phase="waiting")
                time.sleep(WAIT_S)

    def _attempts(self, attempt: Callable[[int, tuple[str, ...]], None]) -> CellState:
        """Try until done, stopped or given up."""
        self._folder.clear_stop()
        failures = 0
        deaths = killed_in_a_row(self._folder, self._settings.launched)
        furthest, reason = 0, ""
        while not self._lost.is_set():
            if self._sweep_is_stopping():
                return CellState.INTERRUPTED
            if lack := self._root.lack_of_room(self._settings.min_free):
                self._tell(phase=CellState.INTERRUPTED, note=lack)
                return CellState.INTERRUPTED
            if (asked := self._folder.asked_to_stop()) is not None:
                return CellState(asked.value)
            current = self._folder.begin_attempt()
            if deaths >= DEATHS_WITHOUT_A_STEP:
                message = f"its processes died {deaths} times in a row without a new step{reason}"
                self._end(current.number, Outcome.FAILED, message, infra=True)
                return CellState.FAILED
            try:
                attempt(current.number, current.accepted)
            except Stopped as stop:
                self._end(current.number, stop.outcome, stop.reason)
                if stop.reason:
                    self._tell(phase=stop.outcome, note=stop.reason)
                return CellState(stop.outcome.value)
            except Replaced:
                _pool.close()
                break
            except Exception as error:
                _pool.close()  # the next attempt, or another cell, gets fresh workers
                self._closed = ()  # by now other nodes may be
                if is_death(error):
                    died = why(error)
                    self._end(current.number, Outcome.FAILED, died, infra=True)
                    deaths = 1 if self._step > furthest else deaths + 1
                    reason = f"; the last time: {died}"
                    furthest = max(furthest, self._step)
                    self._tell(phase="starting", note=f"{died}; going on from the last checkpoint")
                    continue
                by_user = error.by_user if isinstance(error, CodeFailure) else is_final(error)
                trace = error.traceback if isinstance(error, CodeFailure) else traceback.format_exc()
                message = told(error)
                self._end(current.number, Outcome.FAILED, message, trace=trace)
                failures += 1
                if by_user or failures > self._settings.retries:
                    return CellState.FAILED
                self._tell(phase="starting", note=f"{message}; trying again")
                time.sleep(BACKOFF_S * 2 ** (failures - 1))
            else:
                self._end(current.number, Outcome.DONE)
                self._folder.drop_scratch()
                return CellState.DONE
        return CellState.RUNNING  # by another driver

    def _end(self, number: int, outcome: Outcome, message: str = "", *, trace: str = "", infra: bool = False) -> None:
        self._folder.end_attempt(number, outcome, step=self._step, message=message, traceback=trace, infra=infra)

    def _one_attempt(self, number: int, accepted: tuple[str, ...]) -> None:
        """Train what is not trained, score what is not scored, close."""
        self._tell(phase="starting")
        if self._warm is not None:
            self._await_warm(self._warm)
        if self._job.kind != "baseline" and not self._folder.is_trained():
            _pool.take(self._job.config.resources, self._closed)  # they start while MLflow is asked
        with CellRecord(self._job, self._settings, self._folder, number) as record:
            self._record = record
            if not self._folder.is_trained():
                if self._job.kind == "baseline":
                    self._publish_start()
                else:
                    self._train(number, accepted)
            self._evaluate(record)
            record.close()
        for problem in record.problems:
            self._tell(phase="evaluating", note=f"MLflow: {problem}")

    def _await_warm(self, warm: Job) -> None:
        def tell(values: dict[str, Any]) -> None:
            self._tell(phase="warm start", **{name: values[name] for name in ("note",) if name in values})

        trial = Trial(warm, None, self._settings, tell, self._closed)
        state = trial.ensure_trained()
        if state is CellState.FAILED:
            raise CodeFailure(f"its warm start {warm.label} failed: {trial.failure_of_this_launch()}", "", by_user=True)
        if state is not CellState.DONE:
            raise Stopped(Outcome.INTERRUPTED)

    def _train(self, number: int, accepted: tuple[str, ...]) -> None:
        job = self._job
        spec = worker_spec(
            job,
            self._settings.storage,
            self._path,
            attempt=number,
            accepted=accepted,
            stop_files=(f"{self._path}/stop.json", f"{self._settings.sweep}/stop.json"),
            rungs=self._settings.rungs(
                job.group, job.id, job.config.train.dev_measure, stops=not self._folder.is_wanted()
            ),
            min_free=self._settings.min_free,
        )
        self._stopped_early = self._lacks_room = ""
        workers = _pool.take(job.config.resources, self._closed)
        ran = workers.run(spec, self._on_message, self._is_asked_to_stop)
        if not ran:  # they are still starting
            _pool.close()
        if not ran or not self._folder.is_trained():
            if self._stopped_early:
                raise Stopped(Outcome.STOPPED, self._stopped_early)
            asked = self._folder.asked_to_stop()
            raise Stopped(asked or Outcome.INTERRUPTED, "" if asked else self._lacks_room)
        if job.config.resources.gpus_per_worker:
            _pool.close()  # scoring takes the GPUs over

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
            self._tell(phase="training", **_pool.where(self._job.config.resources))
        elif message["event"] == "checkpoint" and self._record is not None:
            self._record.save_spool()
        elif message["event"] == "stopped early":
            self._stopped_early = message["reason"]
        elif message["event"] == "no room":
            self._lacks_room = message["reason"]
        elif message["event"] == "no place":
            self._tell(phase="waiting", note=message["text"])
        elif message["event"] == "note":
            self._tell(phase="training", note=message["text"])
        elif message["event"] == "skipped":
            self._tell(phase="training", note=f"checkpoint passed over: {message['reason']}")

    def _evaluate(self, record: CellRecord) -> None:
        for evaluation in self._job.evaluations:
            if self._folder.missing_evaluations([evaluation.id]):
                if lack := self._root.lack_of_room(self._settings.min_free):
                    raise Stopped(Outcome.INTERRUPTED, lack)
                self._tell(phase="evaluating")
                held = _pool.held(self._job.config.resources)
                tell = partial(self._on_progress, evaluation.dataset)
                score(self._root, self._path, self._job, evaluation, held=held, progress=tell)
            record.scored(evaluation)

    def _on_progress(self, dataset: str, progress: Progress) -> None:
        """Between the tasks of an evaluation: leave when asked to; it is scored anew next time."""
        if time.monotonic() - self._polled < WAIT_S:
            return
        self._polled = time.monotonic()
        if self._is_asked_to_stop():
            raise Stopped(self._folder.asked_to_stop() or Outcome.INTERRUPTED)
        self._tell(phase="evaluating", evaluation={"dataset": dataset, **asdict(progress)})

    def _publish_start(self) -> None:
        """A baseline's model: the weights its size starts from."""
        job = self._job
        start = load_start_model(self._root, job.config, texts=job.texts, weights=job.weights, warm=job.warm)
        parameters = start.encoder.parameters_total
        about = {"step": 0, "total_steps": 0, "dev": None, "parameters": parameters, "languages": ()}
        publish_model(self._folder.storage, start, about)

    def _is_asked_to_stop(self) -> bool:
        if time.monotonic() - self._looked < WAIT_S:  # an object store is far
            return False
        self._looked = time.monotonic()
        return self._sweep_is_stopping() or self._folder.asked_to_stop() is not None

    def _sweep_is_stopping(self) -> bool:
        return self._root.exists(f"{self._settings.sweep}/stop.json")

    def _tell(self, phase: str, **values: Any) -> None:
        self._report(
            {
                "job": self._job.id,
                "phase": str(phase),
                "step": self._step,
                "total": self._total,
                **redacted_values(values),
            }
        )
