"""Launching a sweep, which is also resuming, extending and completing it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xling.config.load import LoadedSweep
from xling.errors import INTERRUPTED, OK, SOME_FAILED, ResourceError, UserInterrupt
from xling.storage import Storage
from xling.sweep.cells import CellState
from xling.sweep.copied import refuse_copy
from xling.sweep.jobs import Job
from xling.sweep.lease import held
from xling.sweep.live import Display
from xling.sweep.places import sweep_storage, tracking_store
from xling.sweep.placing.admission import require_answer
from xling.sweep.remembered import is_remembered, remember, resume_command
from xling.sweep.selection import Selection, states_of, to_run, write_lost
from xling.sweep.settings import TrialSettings
from xling.sweep.study import Study, build_study
from xling.sweep.tracking import own_id, send_rest
from xling.sweep.usable import require_usable
from xling.track.mlflow import SweepTracker
from xling.track.stored import spool_at

if TYPE_CHECKING:
    from xling.sweep.outcome.gather import Gathered

# Told to every driver by Ray's raylet, whatever log_to_driver says: trials start many short processes.
RAY_NOISE = "worker processes have been started on node"


@dataclass(frozen=True)
class Launched:
    """What a launch did."""

    study: Study
    states: dict[str, CellState] = field(default_factory=dict)  # of cells and baselines, by id
    ran: tuple[Job, ...] = ()
    interrupted: bool = False
    gathered: Gathered | None = None  # what the sweep came to, where it was read

    @property
    def exit_status(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        ended = {self.states[job.id] for job in self.ran if job.id in self.states}
        failed = CellState.FAILED in self.states.values()
        return SOME_FAILED if failed or ended - {CellState.DONE, CellState.STOPPED} else OK


def launch(
    loaded: LoadedSweep,
    make_display: Callable[[Sequence[Job]], Display],
    *,
    address: str | None = None,
    selection: Selection | None = None,
    with_tune: bool = True,
    known: bool = False,
) -> Launched:
    """Run what is not done.

    Args:
        known: the sweep comes from :func:`remembered`; what is kept of its first launch stays.

    Raises:
        HeldError: another process runs this sweep.
        ConfigError, DataError, ResourceError, TrackingError, CheckpointError: see their texts.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", RAY_NOISE)  # Ray reads it as it is imported
    if address is not None:
        require_answer(address)  # before data is read and anything is written
    sweep, root = loaded.config.name, sweep_storage(loaded)
    tracking_store(loaded)  # likewise, where there can be none
    require_usable(root, sweep)
    refuse_copy(root, sweep)
    with held(root, sweep):
        own_id(root, sweep)  # before anything is kept by which a new sweep is taken for an older one
        root.delete(f"{sweep}/stop.json")
        study = build_study(loaded.cells)
        write_lost(root, sweep, study)
        states = states_of(root, sweep, study.scored)
        jobs = to_run(root, sweep, study, selection or Selection(), states)
        if not jobs:  # and so nothing has changed since
            if not known and not is_remembered(root, sweep):
                remember(root, loaded)
            return Launched(study, states)
        if lack := root.lack_of_room(loaded.config.min_free_bytes):
            raise ResourceError(lack)
        if not known:
            remember(root, loaded)
        display = make_display(jobs)
        try:
            for name, overlap in study.overlaps:
                display.message(f"{name} is not zero-shot: it shares {overlap} with the training data (allow_overlap)")
            seen = sorted({job.config.train.negatives for job in jobs if job.kind == "cell"})
            if seen:
                display.message(f"Negatives a query sees, at most: {', '.join(f'{count:,}' for count in seen)}")
            interrupted, gathered = _track_and_run(loaded, root, study, jobs, display, address, with_tune)
        finally:
            display.close()
        return Launched(study, _states_now(root, sweep, study, gathered), tuple(jobs), interrupted, gathered)


def _states_now(root: Storage, sweep: str, study: Study, gathered: Gathered | None) -> dict[str, CellState]:
    """The states of cells and baselines; what was done as they were gathered is not looked at again."""
    known = {} if gathered is None else {key: of for key, of in gathered.states.items() if of is CellState.DONE}
    return known | states_of(root, sweep, [job for job in study.scored if job.id not in known])


def _track_and_run(
    loaded: LoadedSweep,
    root: Storage,
    study: Study,
    jobs: Sequence[Job],
    display: Display,
    address: str | None,
    with_tune: bool,
) -> tuple[bool, Gathered | None]:
    """Prepare, open the parent run, run the jobs, close it; whether the user interrupted, and what the sweep came to.

    The cluster starts while the data is prepared: both take seconds, and neither needs the other.
    """
    # Heavy; and Ray reads what launch() told the environment as it is imported.
    from xling.sweep.doctor.before_launch import look_before_launch
    from xling.sweep.launching.prepare import prepare
    from xling.sweep.launching.record_sweep import record_sweep
    from xling.sweep.launching.runner import run_here, run_jobs
    from xling.sweep.order import in_order
    from xling.sweep.outcome.gather import gather
    from xling.sweep.outcome.results import write_tables
    from xling.sweep.placing.cluster import ray_cluster
    from xling.sweep.reporting.show import write_report

    sweep = loaded.config.name
    uri, artifacts = tracking_store(loaded)
    settings = TrialSettings(
        storage=root.url,
        sweep=sweep,
        retries=loaded.config.retries,
        tracking_uri=uri,
        experiment=loaded.config.tracking.experiment or sweep,
        artifacts=artifacts,
        command=resume_command(loaded),
        launched=time.time(),
        early_stopping=loaded.config.model_dump(mode="json")["early_stopping"],
        system_metrics=loaded.config.tracking.system_metrics,
        log_models=loaded.config.tracking.log_models,
        min_free=loaded.config.min_free_bytes,
        sweep_id=own_id(root, sweep),
    )
    spool = spool_at(root, f"{sweep}/track")
    tracker = SweepTracker(settings.tracking_uri, settings.experiment, artifacts, spool, settings.sweep_id)
    overlaps = {f"xling.overlap.{name}": str(overlap) for name, overlap in study.overlaps}

    def make_ready() -> None:
        prepare(root, sweep, study, jobs, display.message)
        tracker.open(sweep, tags={"xling.resume": settings.command, "xling.cells": str(len(study.cells)), **overlaps})

    interrupted, failed, gathered = False, True, None
    try:
        try:
            ready = _Background(make_ready)
            with ray_cluster(address):
                look_before_launch(settings, address, display.message)
                ready.result()
                run = run_jobs if with_tune else run_here
                run(root, in_order(root, sweep, jobs, study), study.warm_by_id, settings, display)
        except UserInterrupt:
            interrupted = True
        if tracker.run is not None:
            gathered = gather(root, loaded, study)
            for path in write_tables(gathered):
                with root.local_copy(path) as file:
                    tracker.run.log_artifact(file)
            record_sweep(tracker.run, gathered)
            if not interrupted:  # who stopped it waits for the prompt
                with root.local_copy(write_report(gathered)) as folder:
                    tracker.run.log_artifact(folder)
        states = states_of(root, sweep, study.scored) if gathered is None else gathered.states
        failed = CellState.FAILED in states.values()
    finally:  # not even an error leaves the parent run open
        tracker.finish("KILLED" if interrupted else "FAILED" if failed else "FINISHED")
    send_rest(root, sweep, display.message)
    return interrupted, gathered


class _Background(threading.Thread):
    """A function in a daemon thread, which Ctrl-C need not wait for; its error is raised by :meth:`result`."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="prepare", daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> None:
        self.join()
        if self._error is not None:
            raise self._error
