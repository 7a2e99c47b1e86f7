"""The Ray cluster that a command uses: one that it joins, or one of this machine that it starts and ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from xling.errors import ResourceError
from xling.sweep.placing.admission import ensure_token_here, refused, require_answer

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
