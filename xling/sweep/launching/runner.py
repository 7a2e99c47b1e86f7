"""Launch a sweep: Ray Tune schedules a fresh set of trials over the jobs that are not done.

Tune runs in a thread of its own and keeps its files in local scratch; the main thread shows
progress and takes Ctrl-C. What is done and what is not is read from storage alone, so launching
again is how a sweep is resumed.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from xling.errors import ResourceError, StorageAway, UserInterrupt
from xling.storage import Storage
from xling.sweep.cells import Outcome
from xling.sweep.jobs import Job
from xling.sweep.launching.tuner import Events, Trainable, build_tuner, show, shown, trial_config
from xling.sweep.live import Display
from xling.sweep.placing.admission import ensure_token_here, refused, require_answer
from xling.sweep.placing.demand import Demand
from xling.sweep.placing.job_queue import JobQueue
from xling.sweep.placing.resources import limit_of, ray_nodes, require_kinds
from xling.sweep.settings import TrialSettings
from xling.sweep.trials.trial import Trial, tune_trial

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
FORWARDED = ("AWS_", "GOOGLE_", "MLFLOW_TRACKING_", "MLFLOW_HTTP_", "HF_", "PGPASS")


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine; it goes with the block when it was started here.

    Raises:
        ResourceError: there is no cluster at the address, or it refuses us.
    """
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    where = _where(address)
    if where == "local":
        ensure_token_here()
    require_answer(where)
    try:
        with _sigterm_kept():
            ray.init(where, log_to_driver=False, logging_level="ERROR", runtime_env=_runtime_env(where))
    except AuthenticationError as error:
        raise refused(where) from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ResourceError(f"cannot connect to the Ray cluster at {where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep our own answer to SIGTERM: ``ray.init`` in the main thread puts one there that leaves with status 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as leaving:  # Ray's answer, while it was starting
        if leaving.code == signal.SIGTERM and callable(before):
            before(signal.SIGTERM, None)
        raise
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def is_started_here(address: str | None) -> bool:
    """Whether :func:`ray_cluster` starts a cluster, of this machine alone, and joins none."""
    return _where(address) == "local"


def _where(address: str | None) -> str:
    # "local", not None: that would join whatever `ray start` left running on this machine.
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _runtime_env(where: str) -> dict[str, Any] | None:
    """What the processes on other machines need to know: settings for Ray, credentials of stores and hubs."""
    if where == "local":  # they inherit it
        # Ray hands the interpreter's path to a shell as it is, and would start no process from a folder with a space.
        quoted = shlex.quote(sys.executable)
        return None if quoted == sys.executable else {"py_executable": quoted}
    forwarded = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
    # A job was submitted with variables of its own, which Ray would not have twice.
    of_job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("runtime_env", {}).get("env_vars", {})
    told = {**RAY_ENVIRONMENT, **forwarded}
    return {"env_vars": {name: value for name, value in told.items() if name not in of_job}}


def run_jobs(
    root: Storage,
    jobs: Sequence[Job],
    warm: Mapping[str, Job],
    settings: TrialSettings,
    display: Display,
    *,
    trainable: Trainable = tune_trial,
) -> None:
    """Run the jobs on the connected cluster until each has ended; how they ended is on storage.

    Args:
        jobs: in the order in which they start, as far as there is room.

    Raises:
        ResourceError: of some kind of job not one trial fits on the cluster.
        UserInterrupt: Ctrl-C; the workers finished their step and saved.
    """
    kinds = require_kinds(ray_nodes(), jobs)
    for kind in kinds:
        of = f" of {', '.join(kind.models)}" if len(kinds) > 1 else ""
        display.message(f"{kind.jobs} jobs{of}, at once: {kind.text}")
    demand = Demand()
    job_queue = JobQueue(
        jobs,
        lambda job, closed: trial_config(job, warm, settings, closed),
        ray_nodes,
        limit=limit_of(jobs),
        demand=demand.show if any(job.config.resources.autoscaling for job in jobs) else None,
        should_leave=lambda: is_stopping(root, settings.sweep),
    )
    events: Events = queue.SimpleQueue()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="xling-tune-") as scratch:
                build_tuner(trainable, jobs, job_queue, settings.sweep, scratch, events).fit()
        except BaseException as error:
            errors.append(error)
        finally:
            demand.clear()

    thread = threading.Thread(target=work, name="tune", daemon=True)
    with _graceful_interrupt(lambda: ask_sweep_to_stop(root, settings.sweep), display) as interrupted:
        thread.start()
        while thread.is_alive():
            show(events, display)
        show(events, display)
    if errors:
        raise errors[0]
    if interrupted.is_set():
        raise UserInterrupt


def run_here(
    root: Storage, jobs: Sequence[Job], warm: Mapping[str, Job], settings: TrialSettings, display: Display
) -> None:
    """Run jobs one after another, their driver in this process: no Ray Tune. Raises as :func:`run_jobs`."""
    require_kinds(ray_nodes(), jobs)
    with _graceful_interrupt(lambda: ask_sweep_to_stop(root, settings.sweep), display) as interrupted:
        for job in jobs:
            start = warm.get(job.warm or "") if job.kind != "warm" else None
            Trial(job, start, settings, lambda result: display.event(shown(result))).run()
    if interrupted.is_set():
        raise UserInterrupt


def ask_sweep_to_stop(root: Storage, sweep: str) -> None:
    """Leave word for all drivers and workers of a sweep: finish the step, save, leave."""
    root.write_json(f"{sweep}/stop.json", {"outcome": Outcome.INTERRUPTED})


def is_stopping(root: Storage, sweep: str) -> bool:
    """Whether there is such word, as far as the storage answers now."""
    with suppress(StorageAway):
        return root.exists(f"{sweep}/stop.json")
    return False


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
