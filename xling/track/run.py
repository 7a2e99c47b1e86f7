"""One MLflow run as a process writes it.

Every call here returns at once, having written to the local spool (:mod:`xling.track.spool`); one background
thread brings the spool to MLflow and keeps trying while the server is away. Tracking never
blocks or fails training: what goes wrong is logged once and kept in :attr:`RunTracker.problems`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from xling.errors import TrackingError
from xling.redaction import redacted, redacted_values
from xling.track.deliver import Delivery
from xling.track.names import flatten, is_metric_name
from xling.track.reach import ServerAway
from xling.track.spool import MetricPoint, Spool
from xling.track.store import RunKey
from xling.track.stored import StoredSpool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]

_LONGEST_WAIT = 60.0  # seconds between attempts while the server is away
_PATIENCE = 2  # failed attempts after which nobody waits any longer for the server
_GATHER = 0.2  # seconds in which points are gathered into one call


class RunTracker:
    """One MLflow run, written through a spool by a background thread. A context manager."""

    def __init__(self, key: RunKey, spool: Path | StoredSpool) -> None:
        """Args: spool: a folder on a local disk that stays, or what keeps one in an object store."""
        self.key = key
        self._stored = spool if isinstance(spool, StoredSpool) else None
        self.spool = Spool(spool if isinstance(spool, Path) else spool.folder)
        self._delivery = Delivery(self.spool, key, self._report)
        self._problems: list[str] = []
        self._wake = threading.Event()
        self._hurry = threading.Event()  # set: try at once, whatever the back-off
        self._closing = threading.Event()
        self._tried = threading.Condition()
        self._failed = 0  # attempts to deliver
        self._thread: threading.Thread | None = None

    @property
    def run_id(self) -> str | None:
        """The run's id in MLflow, None until the server has answered for the first time."""
        run_id = self._delivery.run_id or self.spool.identity().get("run_id")
        return None if run_id is None else str(run_id)

    @property
    def problems(self) -> tuple[str, ...]:
        """What MLflow did not take, each once, as shown to the user."""
        return tuple(self._problems)

    def open(self, tags: Mapping[str, str] | None = None) -> None:
        """Start sending; the run is found or made in the background and is RUNNING again."""
        if self._stored is not None:
            self._stored.open(self.spool, self.key)
        self.spool.identify({**self.spool.identity(), **self.key.to_dict()})
        self.spool.append("status", status="RUNNING")
        if tags:
            self.set_tags(tags)
        self._thread = threading.Thread(target=self._work, name=f"mlflow {self.key.name}", daemon=True)
        self._thread.start()
        self._wake.set()

    def log_points(self, points: Iterable[MetricPoint]) -> None:
        """Log metric values. A step at or below what its key already has is left out: it was recorded before."""
        points = list(points)
        for name in sorted({point.key for point in points if not is_metric_name(point.key)}):
            self._report(f"metric {name!r} is left out: MLflow takes letters, digits and _ - . / : and space only")
        with self._kept():
            self.spool.append_points(point for point in points if is_metric_name(point.key))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a configuration, nested or flat. Unchanged values may be logged again.

        A changed one cannot be (MLflow keeps the first): it is reported and tagged
        ``xling.changed.<param>``.
        """
        self._spool_op("params", params=flatten(params))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._spool_op("tags", tags=dict(tags))

    def log_inputs(self, name: str, fingerprint: str, context: str = "training", source: str = "") -> None:
        """Log a data set as the run's input: its name, content fingerprint and role."""
        dataset = {"name": name, "fingerprint": fingerprint, "context": context, "source": source}
        self._spool_op("inputs", datasets=[dataset])

    def log_artifact(self, path: Path, to: str = "") -> None:
        """Log a file or folder, copied now, below the artifact folder ``to``."""
        with self._kept():
            self.spool.append("artifact", file=self.spool.stage(path), to=to)

    def log_text(self, text: str, name: str, to: str = "") -> None:
        """Log a text as the artifact ``to/name``."""
        with self._kept():
            path, file = self.spool.stage_new(name)
            path.write_text(redacted(text), encoding="utf-8")
            self.spool.append("artifact", file=file, to=to)

    def log_figure(self, figure: Figure, name: str, to: str = "plots") -> None:
        """Log a matplotlib figure; the ending of ``name`` gives the format."""
        with self._kept():
            path, file = self.spool.stage_new(name)
            figure.savefig(path, dpi=144, bbox_inches="tight")
            self.spool.append("artifact", file=file, to=to)

    def log_table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], name: str, to: str = "tables") -> None:
        """Log a table as JSON in the form MLflow's artifact viewer shows as one."""
        self.log_text(json.dumps({"columns": list(columns), "data": [list(row) for row in rows]}), name, to)

    def log_model(self, folder: Path, *, trust_remote_code: bool = False) -> None:
        """Log a trained model's folder as ``model``, which ``mlflow.pyfunc.load_model("runs:/<id>/model")`` reads."""
        from xling.track.served import save_served

        with self._kept():
            path, file = self.spool.stage_new("model")
            try:
                save_served(folder, path, trust_remote_code=trust_remote_code)
            except Exception as error:  # whatever MLflow raises: a cell is not lost by what is only kept beside it
                self.spool.unstage(file)
                self._report(f"the model in {folder} is not in MLflow: {type(error).__name__}: {error}")
            else:
                self.spool.append("artifact", file=file, to="")

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until MLflow has everything logged so far.

        False when it has not after ``timeout`` seconds, or some attempts failed meanwhile: training does not
        wait for a server that is away.
        """
        target, deadline = self.spool.size, time.monotonic() + timeout
        with self._tried:
            failures = self._failed + _PATIENCE
            while self.spool.acked < target and self._failed < failures:
                self._hurry.set()
                self._wake.set()
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None or not self._thread.is_alive():
                    return False
                self._tried.wait(min(left, 0.5))
            return self.spool.acked >= target

    def save(self) -> None:
        """With each checkpoint: keep what was logged since, where that is not kept anyway."""
        if self._stored is not None:
            self._stored.save(self.spool)

    def finish(self, status: FinalStatus = "FINISHED", timeout: float = 30.0) -> bool:
        """Set the run's final status and wait; False when the rest is kept for ``xling track sync``."""
        self._spool_op("status", status=status)
        delivered = self.flush(timeout)
        self._closing.set()
        self._hurry.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=11.0 if delivered else 1.0)
        if self._stored is not None:
            self._stored.close(self.spool, delivered=delivered)
        if not delivered:
            command = f"xling track sync --storage {quote(self._kept_in)}"
            self._report(f"MLflow has not everything yet; what the sweep's end does not send, this does: {command}")
        return delivered

    def __enter__(self) -> Self:
        if self._thread is None:
            self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if not self._closing.is_set():
            interrupted = kind is not None and not issubclass(kind, Exception)
            self.finish("KILLED" if interrupted else "FAILED" if kind else "FINISHED")

    @property
    def _kept_in(self) -> str:
        """Where what MLflow has not got is when this process is gone."""
        return str(self.spool.folder) if self._stored is None else self._stored.storage

    def _spool_op(self, op: str, **values: Any) -> None:
        with self._kept():
            self.spool.append(op, **redacted_values(values))

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Spool, then wake the sender; a full disk or a missing artifact is reported and stops no training."""
        try:
            yield
        except OSError as error:
            self._report(f"not tracked, the spool {self.spool.folder} cannot take it: {error}")
        self._wake.set()

    def _work(self) -> None:
        wait = 1.0
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            if not self._hurry.is_set():
                self._closing.wait(_GATHER)
            self._hurry.clear()
            if self._attempt():
                wait = 1.0
            else:
                self._hurry.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                self._wake.set()
        self.spool.release()

    def _attempt(self) -> bool:
        """One try to deliver everything; False to wait and try again."""
        try:
            if not self.spool.claim():
                raise ServerAway(f"{self.spool.folder} is being delivered by another process")
            self._delivery.deliver(self._closing.is_set)
            delivered = True
        except TrackingError as error:
            self._report(f"{error}; what is logged stays in {self._kept_in} and is sent later")
            delivered = False
        except Exception as error:  # tracking must not fail training, whatever MLflow or a driver of its raises
            log.debug("delivery failed", exc_info=True)
            self._report(f"MLflow delivery failed, will be tried again: {type(error).__name__}: {error}")
            delivered = False
        with self._tried:
            self._failed += not delivered
            self._tried.notify_all()
        return delivered

    def _report(self, problem: str) -> None:
        problem = redacted(problem)
        if problem not in self._problems:
            self._problems.append(problem)
            log.warning("%s", problem)
