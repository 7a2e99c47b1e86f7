"""The Ray Tune run of a launch: a trial a job, started as the queue says, its reports passed on to the display."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ray import tune

from xling.sweep.jobs import Job
from xling.sweep.live import Display
from xling.sweep.placing.job_queue import JobQueue
from xling.sweep.placing.packing import DRIVER_BYTES
from xling.sweep.settings import TrialSettings

DRIVER_RESTARTS = 20  # a driver itself gives up after three deaths without a new step

Events = queue.SimpleQueue[dict[str, Any]]
Trainable = Callable[[dict[str, Any]], None]

_SHOWN = ("job", "phase", "step", "total", "loss", "pairs_per_s", "note", "ended", "evaluation")


def trial_config(
    job: Job, warm: Mapping[str, Job], settings: TrialSettings, closed: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a job's trial is given: plain values, under one name. ``closed``: nodes that its workers keep off."""
    start = warm[job.warm].to_json() if job.kind != "warm" and job.warm else ""
    return {"trial": {"job": job.to_json(), "warm": start, "settings": asdict(settings), "closed": list(closed)}}


def build_tuner(
    trainable: Trainable, jobs: Sequence[Job], job_queue: JobQueue, name: str, scratch: str, events: Events
) -> tune.Tuner:
    """Args: name: of the sweep. scratch: a folder for Ray Tune's own files, of no use afterwards."""
    names = {job.id: job.label.replace("/", "_") for job in jobs}

    def name_of(trial: Any) -> str:
        return f"{names[_job_of(trial).id]}_{trial.trial_id}"

    return tune.Tuner(
        tune.with_resources(trainable, {"memory": DRIVER_BYTES}),
        tune_config=tune.TuneConfig(
            search_alg=job_queue,
            num_samples=len(jobs),
            # The queue itself says when; without this Tune would have one trial at a time pending.
            max_concurrent_trials=len(jobs),
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
            reuse_actors=True,  # the next job's driver need not start a process and import everything again
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=scratch,
            verbose=0,
            callbacks=[_Forward(events)],
            # A driver returns whatever its job does; only its own death makes Tune start it again.
            failure_config=tune.FailureConfig(max_failures=DRIVER_RESTARTS),
        ),
    )


def shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a display is told of a driver's report."""
    return {name: result[name] for name in _SHOWN if name in result}


def show(events: Events, display: Display) -> None:
    """Show what has come, after waiting a moment for the first of it."""
    with suppress(queue.Empty):
        display.event(events.get(timeout=0.2))
        while True:
            display.event(events.get_nowait())


class _Forward(tune.Callback):
    """Passes what the drivers report to the display's thread."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its callbacks down; a queue cannot be, and nothing is ever restored from there

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._events.put(shown(result))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        note = "its driver died; another one takes over"
        self._events.put({"job": _job_of(trial).id, "phase": "interrupted", "note": note})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_pickled_error()
        reason = str(error).strip().splitlines()[-1] if error is not None and str(error).strip() else "its process died"
        self._events.put({"job": _job_of(trial).id, "phase": "interrupted", "note": f"the driver ended: {reason}"})


def _job_of(trial: Any) -> Job:
    return Job.from_json(trial.config["trial"]["job"])
