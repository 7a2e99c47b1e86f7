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
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from xling.errors import StorageAway, XlingError
from xling.storage import Storage
from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.jobs import Job
from xling.sweep.lease import HeldError, Holder, Lease
from xling.sweep.settings import Stopped, TrialSettings
from xling.sweep.trials.failures import (
    CodeFailure,
    InfraFailure,
    Replaced,
    Setbacks,
    is_death,
    is_final,
    killed_in_a_row,
    told,
    why,
)
from xling.sweep.trials.heard import Heard, Report
from xling.sweep.trials.pool import Pool
from xling.sweep.trials.record import CellRecord
from xling.sweep.trials.scoring import Following, score
from xling.sweep.trials.watch import WAIT_S, Watch
from xling.sweep.trials.workers import worker_spec
from xling.train.inputs import load_start_model, publish_model

DEATHS_WITHOUT_A_STEP = 3
BACKOFF_S = 2.0
# A driver whose node was cut off lives for a minute or two after Ray gave it up, and then its lease has to run out.
HELD_S = 300.0
UNSEEN = "its workers finished, and the model that they wrote is not to be seen on the storage"

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
        self._closed = closed
        self._heard = Heard(job, report, _pool.where)
        self._tell = self._heard.tell
        self._watch = Watch(self._root, settings.sweep, self._folder)
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
        while not self._watch.is_trained():
            if self._watch.sweep_is_stopping():
                return CellState.INTERRUPTED
            if self.failure() is not None:
                return CellState.FAILED
            with ExitStack() as held:
                if self._takes_over(held):
                    return self._attempts(self._train)
            self._tell(phase="waiting")
            time.sleep(WAIT_S)
        return CellState.DONE

    def failure(self) -> str | None:
        """The message of the newest attempt, if that failed in this launch: what failed before is tried again."""
        with suppress(StorageAway):  # it is asked for again
            return self._folder.failure_since(self._settings.launched)
        return None

    def _takes_over(self, held: ExitStack) -> bool:
        """Take the lease, unless a driver has it, or had it and has trained or failed: or nobody can tell just now."""
        try:
            lease = held.enter_context(Lease(self._folder.storage, self._job.label, self._lost.set))
            return not self._was_trained(lease.before) and self.failure() is None
        except (HeldError, StorageAway):
            return False

    def _was_trained(self, before: Holder | None) -> bool:
        """Whether the model is there, or will be seen: the driver that just let go of the lease may have trained it."""
        end = self._folder.newest_end()
        ended_otherwise = end is not None and end["outcome"] != Outcome.DONE
        let_go = before is not None and before.released and before.since >= self._settings.launched
        if self._root.is_local and let_go and not ended_otherwise:
            return self._watch.sees_model()
        return self._folder.is_trained()

    def _held_attempts(self) -> CellState:
        """Wait for the cell's lease: that of a driver whose node was lost runs out by itself."""
        deadline = time.monotonic() + HELD_S
        seen: Holder | None = None
        while True:
            try:
                with Lease(self._folder.storage, f"cell {self._job.label}", self._lost.set):
                    return self._attempts(self._one_attempt)
            except HeldError as error:
                if time.monotonic() > deadline:
                    raise
                told_once = {}
                if seen is None and error.holder is not None:
                    seen = error.holder
                    told_once["note"] = f"waiting for {seen.host}: its driver holds the cell until its heartbeat ends"
                self._tell(phase="waiting", **told_once)
                time.sleep(WAIT_S)

    def _attempts(self, attempt: Callable[[int, tuple[str, ...]], None]) -> CellState:
        """Try until done, stopped or given up."""
        self._folder.clear_stop()
        setbacks = Setbacks(killed_in_a_row(self._folder, self._settings.launched))
        while not self._lost.is_set():
            if self._watch.sweep_is_stopping():
                return CellState.INTERRUPTED
            if lack := self._root.lack_of_room(self._settings.min_free):
                self._tell(phase=CellState.INTERRUPTED, note=lack)
                return CellState.INTERRUPTED
            if (asked := self._watch.asked_to_stop()) is not None:
                return CellState(asked.value)
            current = self._folder.begin_attempt()
            if setbacks.deaths >= DEATHS_WITHOUT_A_STEP:
                message = f"its processes died {setbacks.deaths} times in a row without a new step{setbacks.reason}"
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
                if not self._goes_on(error, current.number, setbacks):
                    return CellState.FAILED
            else:
                self._end(current.number, Outcome.DONE)
                self._folder.drop_scratch()
                return CellState.DONE
        return CellState.RUNNING  # by another driver

    def _goes_on(self, error: Exception, number: int, setbacks: Setbacks) -> bool:
        """Record what ended an attempt; whether there is to be another, which where the code failed has to wait."""
        setbacks.reached(self._heard.step)
        if is_death(error):
            died = why(error)
            self._end(number, Outcome.FAILED, died, infra=True)
            setbacks.deaths += 1
            setbacks.reason = f"; the last time: {died}"
            self._tell(phase="starting", note=f"{died}; going on from the last checkpoint")
            return True
        by_user = error.by_user if isinstance(error, CodeFailure) else is_final(error)
        trace = error.traceback if isinstance(error, CodeFailure) else traceback.format_exc()
        message = told(error)
        self._end(number, Outcome.FAILED, message, trace=trace)
        setbacks.failures += 1
        if by_user or setbacks.failures > self._settings.retries:
            return False
        self._tell(phase="starting", note=f"{message}; trying again")
        time.sleep(BACKOFF_S * 2 ** (setbacks.failures - 1))
        return True

    def _end(self, number: int, outcome: Outcome, message: str = "", *, trace: str = "", infra: bool = False) -> None:
        self._folder.end_attempt(number, outcome, step=self._heard.step, message=message, traceback=trace, infra=infra)

    def _one_attempt(self, number: int, accepted: tuple[str, ...]) -> None:
        """Train what is not trained, score what is not scored, close."""
        self._tell(phase="starting")
        if self._warm is not None:
            self._await_warm(self._warm)
        if self._job.kind != "baseline" and not self._folder.is_trained():
            _pool.take(self._job.config.resources, self._closed)  # they start while MLflow is asked
        with CellRecord(self._job, self._settings, self._folder, number) as record:
            self._heard.record = record
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
            raise CodeFailure(f"its warm start {warm.label} failed: {trial.failure()}", "", by_user=True)
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
        self._heard.begin()
        workers = _pool.take(job.config.resources, self._closed)
        ran = workers.run(spec, self._heard.message, self._watch.is_asked_to_stop)
        if not ran:  # they are still starting
            _pool.close()
        if not self._has_model():
            if self._heard.stopped_early:
                raise Stopped(Outcome.STOPPED, self._heard.stopped_early)
            asked = self._folder.asked_to_stop()
            if self._heard.finished and not (asked or self._heard.lacks_room or self._watch.sweep_is_stopping()):
                raise InfraFailure(UNSEEN)
            raise Stopped(asked or Outcome.INTERRUPTED, "" if asked else self._heard.lacks_room)
        if job.config.resources.gpus_per_worker:
            _pool.close()  # scoring takes the GPUs over

    def _has_model(self) -> bool:
        """Whether the workers have trained it, and what they wrote is there."""
        if self._heard.finished and not self._heard.lacks_room:
            return self._watch.sees_model()
        return self._folder.is_trained()

    def _evaluate(self, record: CellRecord) -> None:
        for evaluation in self._job.evaluations:
            if self._folder.missing_evaluations([evaluation.id]):
                if lack := self._root.lack_of_room(self._settings.min_free):
                    raise Stopped(Outcome.INTERRUPTED, lack)
                self._tell(phase="evaluating")
                held = _pool.held(self._job.config.resources)
                following = Following(evaluation.dataset, partial(self._tell, "evaluating"), self._leave_if_asked)
                score(
                    self._root,
                    self._path,
                    self._job,
                    evaluation,
                    held=held,
                    progress=following.progress,
                    idle=following.idle,
                )
            record.scored(evaluation)

    def _leave_if_asked(self) -> None:
        """In the middle of an evaluation, which is scored anew next time."""
        if self._watch.is_asked_to_stop():
            raise Stopped(self._folder.asked_to_stop() or Outcome.INTERRUPTED)

    def _publish_start(self) -> None:
        """A baseline's model: the weights its size starts from."""
        job = self._job
        start = load_start_model(self._root, job.config, texts=job.texts, weights=job.weights, warm=job.warm)
        parameters = start.encoder.parameters_total
        about = {"step": 0, "total_steps": 0, "dev": None, "parameters": parameters, "languages": ()}
        publish_model(self._folder.storage, start, about)
