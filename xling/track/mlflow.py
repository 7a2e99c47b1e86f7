"""Tracking in MLflow: a parent run for a sweep, a child run for each of its cells.

One process writes a run: the sweep its parent, the trial driver its cell's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xling.track.names import flatten, metric_name
from xling.track.reach import ServerAway
from xling.track.run import FinalStatus, RunTracker
from xling.track.spool import MetricPoint
from xling.track.store import CELL_TAG, RunKey, connect, find_or_create_run, resolve_uri
from xling.track.stored import StoredSpool

__all__ = ["CellTracker", "MetricPoint", "RunTracker", "SweepTracker", "flatten", "metric_name"]

log = logging.getLogger(__name__)


class CellTracker(RunTracker):
    """The run of one cell, below its sweep's; the same run on every resume."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        sweep: str,
        cell: str,
        spool: Path | StoredSpool,
        *,
        name: str | None = None,
        artifact_root: str | None = None,
        sweep_id: str = "",
    ) -> None:
        """Args: name: shown in the UI, the cell id by default; the others: as SweepTracker's.

        Raises:
            TrackingError: the URI is none of MLflow's.
        """
        key = RunKey(resolve_uri(uri), experiment, CELL_TAG, cell, name or cell, sweep, artifact_root, sweep_id)
        super().__init__(key, spool)


class SweepTracker:
    """The parent run of a sweep, in the sweep's process; checks the store before trials start."""

    def __init__(
        self, uri: str, experiment: str, artifact_root: str | None, spool: Path | StoredSpool, sweep_id: str = ""
    ) -> None:
        """
        Args:
            artifact_root: for a database URI, where artifacts go.
            spool: the parent run's own.
            sweep_id: as :class:`RunKey` has it.

        Raises:
            TrackingError: the URI is none of MLflow's.
        """
        self.uri = resolve_uri(uri)
        self.experiment, self.artifact_root = experiment, artifact_root
        self._spool, self._sweep_id = spool, sweep_id
        self.run: RunTracker | None = None

    def open(
        self,
        sweep: str,
        *,
        description: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str | None:
        """Make or re-open the parent run, and a fresh store's tables; returns the run's id.

        None, with a warning, when the server cannot be reached: everything is spooled then.

        Raises:
            TrackingError: wrong URI or credentials, or the experiment or parent run was deleted.
        """
        key = RunKey.of_sweep(self.uri, self.experiment, sweep, self.artifact_root, self._sweep_id)
        run_id = None
        try:
            run_id = str(find_or_create_run(connect(self.uri), key).info.run_id)
        except ServerAway as error:
            log.warning("%s; the sweep runs on, tracking is spooled and sent later", error)
        self.run = RunTracker(key, self._spool)
        self.run.open({**({"mlflow.note.content": description} if description else {}), **(tags or {})})
        if params:
            self.run.log_params(params)
        return run_id

    def finish(self, status: FinalStatus = "FINISHED", timeout: float = 30.0) -> bool:
        """As :meth:`RunTracker.finish`."""
        return self.run is None or self.run.finish(status, timeout)
