"""Launch a sweep: Ray Tune schedules a fresh set of trials over the jobs that are not done.

Tune runs in a thread of its own and keeps its files in local scratch; the main thread shows
progress and takes Ctrl-C. What is done and what is not is read from storage alone, so launching
again is how a sweep is resumed.
"""

from __future__ import annotations

import os
import queue
import shlex
import signal
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xling.errors import ResourceError, UserInterrupt
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.jobs import Job
from xling.sweep.live import Display
from xling.sweep.resources import DRIVER_BYTES, ray_nodes, require_fit
from xling.sweep.settings import TrialSettings
from xling.sweep.trial import Trial, tune_trial

# Read by Ray when it starts; each quiets or quickens something measured in docs/ray.md.
RAY_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A process that has scored keeps torch imported: the next one to score or train starts seconds sooner.
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's banner ignores verbose=0
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
CONNECT_S = 10.0
DRIVER_RESTARTS = 20  # a driver itself gives up after three deaths without a new step
FORWARDED = ("AWS_", "GOOGLE_", "MLFLOW_TRACKING_", "HF_", "PGPASS")


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine; it goes with the block when it was started here.

    Raises:
        ResourceError: there is no cluster at the address.
    """
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # "local", not None: that would join whatever `ray start` left running on this machine.
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    if where.startswith("ray://"):
        raise ResourceError(
            f"--address is {where}, must be a cluster's own address (host:port or auto): run the command on one of its "
            "machines, or submit it with `ray job submit`"
        )
    _require_answer(where)
    try:
        ray.init(where, log_to_driver=False, logging_level="ERROR", runtime_env=_runtime_env(where))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ResourceError(f"cannot connect to the Ray cluster at {where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(where: str) -> None:
    """Raise ResourceError when nobody listens at an address: Ray itself would try for minutes."""
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():  # local, auto
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"no Ray cluster answers at {where} ({reason}): start one there (`ray start --head --port={port}`), "
            "or correct --address"
        ) from error


def _runtime_env(where: str) -> dict[str, Any] | None:
    """What the processes on other machines need to know: settings for Ray, credentials of stores and hubs."""
    if where == "local":  # they inherit it
        # Ray hands the interpreter's path to a shell as it is, and would start no process from a folder with a space.
        quoted = shlex.quote(sys.executable)
        return None if quoted == sys.executable else {"py_executable": quoted}
    forwarded = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
    return {"env_vars": {**RAY_ENVIRONMENT, **forwarded}}


def require_shared_storage(root: Storage, sweep: str) -> None:
    """Raise ResourceError when a node of the cluster does not see the storage that this process writes to."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2 or not root.is_local:
        return
    token = f"{sweep}/seen-{uuid.uuid4().hex}"
    root.write(token, b"")
    looking = {
        node["NodeManagerAddress"]: ray.remote(num_cpus=0)(_sees)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(root.url, token)
        for node in nodes
    }
    blind = [name for name, seen in looking.items() if not ray.get(seen)]
    root.delete(token)
    if blind:
        raise ResourceError(
            f"storage {root.url} is not the same folder on {', '.join(blind)}; "
            "set `storage:` to a folder that all nodes share, or to s3:// or gs://"
        )


def _sees(url: str, path: str) -> bool:
    return Storage(url).exists(path)


def run_jobs(
    root: Storage, jobs: Sequence[Job], warm: Mapping[str, Job], settings: TrialSettings, display: Display
) -> None:
    """Run the jobs on the connected cluster until each has ended; how they ended is on storage.

    Raises:
        ResourceError: not one trial fits on the cluster.
        UserInterrupt: Ctrl-C; the workers finished their step and saved.
    """
    fit = min(
        (require_fit(ray_nodes(), need) for need in {job.config.resources for job in jobs}), key=lambda f: f.trials
    )
    require_shared_storage(root, settings.sweep)
    display.message(f"{len(jobs)} jobs, {fit.trials} at once: {fit.why_not_more}")
    events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="xling-tune-") as scratch:
                _tuner(jobs, warm, settings, fit.trials, scratch, events).fit()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="tune", daemon=True)
    with _graceful_interrupt(lambda: ask_sweep_to_stop(root, settings.sweep), display) as interrupted:
        thread.start()
        while thread.is_alive():
            _show(events, display)
        _show(events, display)
    if errors:
        raise errors[0]
    if interrupted.is_set():
        raise UserInterrupt


def run_here(
    root: Storage, jobs: Sequence[Job], warm: Mapping[str, Job], settings: TrialSettings, display: Display
) -> None:
    """Run jobs one after another, their driver in this process: no Ray Tune. Raises as :func:`run_jobs`."""
    for need in {job.config.resources for job in jobs}:
        require_fit(ray_nodes(), need)
    with _graceful_interrupt(lambda: ask_sweep_to_stop(root, settings.sweep), display) as interrupted:
        for job in jobs:
            start = warm.get(job.warm or "") if job.kind != "warm" else None
            Trial(job, start, settings, display.event).run()
    if interrupted.is_set():
        raise UserInterrupt


def ask_sweep_to_stop(root: Storage, sweep: str) -> None:
    """Leave word for all drivers and workers of a sweep: finish the step, save, leave."""
    root.write_json(f"{sweep}/stop.json", {"outcome": Outcome.INTERRUPTED})


def _tuner(
    jobs: Sequence[Job],
    warm: Mapping[str, Job],
    settings: TrialSettings,
    at_once: int,
    scratch: str,
    events: queue.SimpleQueue[dict[str, Any]],
) -> tune.Tuner:
    names = {job.id: job.label.replace("/", "_") for job in jobs}

    def name_of(trial: Any) -> str:
        return f"{names[Job.from_json(trial.config['trial']['job']).id]}_{trial.trial_id}"

    return tune.Tuner(
        tune.with_resources(tune_trial, {"memory": DRIVER_BYTES}),
        param_space={
            "trial": tune.grid_search(
                [
                    {
                        "job": job.to_json(),
                        "warm": warm[job.warm].to_json() if job.kind != "warm" and job.warm else "",
                        "settings": asdict(settings),
                    }
                    for job in jobs
                ]
            ),
        },
        tune_config=tune.TuneConfig(
            max_concurrent_trials=at_once,
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
            reuse_actors=True,  # the next job's driver need not start a process and import everything again
        ),
        run_config=tune.RunConfig(
            name=settings.sweep,
            storage_path=scratch,
            verbose=0,
            callbacks=[_Forward(events)],
            # A driver returns whatever its job does; only its own death makes Tune start it again.
            failure_config=tune.FailureConfig(max_failures=DRIVER_RESTARTS),
        ),
    )


class _Forward(tune.Callback):
    """Passes what the drivers report to the display's thread."""

    def __init__(self, events: queue.SimpleQueue[dict[str, Any]]) -> None:
        self._events = events

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its callbacks down; a queue cannot be, and nothing is ever restored from there

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        known = ("job", "phase", "step", "total", "loss", "pairs_per_s", "note", "ended", "evaluation")
        self._events.put({name: result[name] for name in known if name in result})

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = Job.from_json(trial.config["trial"]["job"])
        self._events.put({"job": job.id, "phase": "interrupted", "note": "its driver died; another one takes over"})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = Job.from_json(trial.config["trial"]["job"])
        error = trial.get_pickled_error()
        reason = str(error).strip().splitlines()[-1] if error is not None and str(error).strip() else "its process died"
        self._events.put({"job": job.id, "phase": "interrupted", "note": f"the driver ended: {reason}"})


def _show(events: queue.SimpleQueue[dict[str, Any]], display: Display) -> None:
    """Show what has come, after waiting a moment for the first of it."""
    with suppress(queue.Empty):
        display.event(events.get(timeout=0.2))
        while True:
            display.event(events.get_nowait())


@contextmanager
def _graceful_interrupt(stop: Callable[[], None], display: Display) -> Iterator[threading.Event]:
    """The first Ctrl-C asks all to stop and waits; the second leaves at once."""
    interrupted = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            display.close()  # gives the terminal back
            os._exit(130)  # the cluster started here dies with us; what was saved stays
        interrupted.set()
        display.message("Interrupted: finishing the running steps and saving. Ctrl-C again leaves at once.")
        stop()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
