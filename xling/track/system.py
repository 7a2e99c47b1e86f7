"""The machine's load beside a run's metrics, under MLflow's own names (``system/cpu_utilization_percentage``, …).

MLflow's monitor writes to the server by itself and ends at the first call that fails. Here only its probes are
used; what they find goes through the run's spool, as every metric does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from xling.track.mlflow import RunTracker
from xling.track.spool import MetricPoint

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

log = logging.getLogger(__name__)

INTERVAL_S = 10.0  # MLflow's own; its variable is heeded
_INTERVAL_VARIABLE = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


class SystemMetrics:
    """Samples the machine this process is on while the block runs, and once more at its end."""

    def __init__(self, run: RunTracker, interval_s: float | None = None) -> None:
        """Args: interval_s: between two samples; MLflow's variable, or ten seconds, by default."""
        self._run = run
        self._interval_s = interval_s or float(os.environ.get(_INTERVAL_VARIABLE) or INTERVAL_S)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def __enter__(self) -> SystemMetrics:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            probes = _probes()
            for probe in probes:  # the first CPU load is none: it is taken since the probe's last look
                probe.collect_metrics()
                probe.clear_metrics()
            ended = False
            while not ended:
                ended = self._ended.wait(self._interval_s)
                self._log(_sample(probes))
        except Exception:  # a probe of the machine, or of a driver: no training may fail by it
            log.warning("the machine's load is not tracked any more", exc_info=True)

    def _log(self, values: dict[str, float]) -> None:
        """With the next step in all metrics: they are counted, as MLflow does."""
        names = {f"system/{name}": value for name, value in values.items()}
        step = 1 + max((self._run.spool.floor(name) for name in names), default=-1)
        now = time.time_ns() // 1_000_000
        self._run.log_points(MetricPoint(name, value, step, now) for name, value in names.items())


def _probes() -> list[BaseMetricsMonitor]:
    """Those of processor, memory, disk and network, and of the GPUs where there are some."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    probes: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        probes.append(GPUMonitor())
    except (ImportError, RuntimeError) as error:  # no nvidia-ml-py, or no GPU
        log.debug("no GPU is watched: %s", error)
    return probes


def _sample(probes: list[BaseMetricsMonitor]) -> dict[str, float]:
    found: dict[str, float] = {}
    for probe in probes:
        probe.collect_metrics()
        found.update(probe.aggregate_metrics())
        probe.clear_metrics()
    return found
