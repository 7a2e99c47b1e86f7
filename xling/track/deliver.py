"""Bringing a spool's operations to MLflow: each exactly once, whatever was killed in between.

A batch is sent, then acknowledged. A kill, or a lost answer, between the two leaves the
server ahead of the acknowledgement; therefore every (re)opening asks the server for each
metric's last step, and a point at or below it is sent only if the metric's history lacks
its step. All other operations may be repeated harmlessly.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xling.errors import TrackingError
from xling.track.reach import ServerAway, patient, took_too_long, translated
from xling.track.spool import Entry, Operation, Spool
from xling.track.store import RunKey, connect, find_or_create_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

BATCH = 1000  # MLflow's limit of metrics a call
_SMALLEST_BATCH = 50
_LONGEST_VALUE = 6000  # MLflow's limit for a parameter
_ARTIFACT_S = 120  # seconds that a server may take for one artifact, at the least
_ARTIFACT_RATE = 5_000_000  # bytes a second that a server takes at the least
_ARTIFACT_TRIES = 3


class Delivery:
    """Sends one spool to one run. Not thread-safe: one thread owns it."""

    def __init__(self, spool: Spool, key: RunKey, report: Callable[[str], None]) -> None:
        """Args: report: told once of anything that MLflow will never take."""
        self.run_id: str | None = None
        self._spool, self._key, self._report = spool, key, report
        self._client: MlflowClient | None = None
        self._batch = BATCH
        self._params: dict[str, str] = {}
        self._latest: dict[str, int] = {}
        self._history: dict[str, set[int]] = {}
        self._should_stop: Callable[[], bool] = lambda: False

    def deliver(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Send everything that is pending.

        Args: should_stop: asked between calls; once it says so, it does for good.

        Raises:
            ServerAway: try again later; nothing is lost.
            TrackingError: the experiment or run was deleted, or the URI is wrong.
        """
        if self._spool.is_delivered and self.run_id is not None:
            return
        self._should_stop = should_stop
        try:
            client, run_id = self._opened()
            while not should_stop() and (entries := self._spool.pending(self._batch)):
                for is_point, group in groupby(entries, key=lambda entry: entry.operation["op"] == "point"):
                    batch = list(group)
                    if should_stop():  # perhaps in the middle of what goes before this
                        return
                    if is_point:
                        self._send_points(client, run_id, batch)
                    else:
                        self._send_others(client, run_id, batch)
        except Exception:
            self.run_id = None  # what the server has taken is unknown now: ask it again
            self._batch = max(_SMALLEST_BATCH, self._batch // 2)  # an answer may have come too late
            raise
        self._batch = BATCH

    def _opened(self) -> tuple[MlflowClient, str]:
        """The client and run, re-opened and asked what it holds after any failure."""
        if self._client is None:
            self._client = connect(self._key.uri)
        client = self._client
        if self.run_id is None:
            oldest = next((e.operation.get("timestamp_ms") for e in self._spool.pending(1)), None)
            found = find_or_create_run(client, self._key, start_ms=oldest)
            with translated(self._key.uri):
                run = client.get_run(found.info.run_id)
            self.run_id = str(run.info.run_id)
            self._remember(self.run_id)
            self._params = dict(run.data.params)
            self._history = {}
            self._latest = {metric.key: metric.step for metric in run.to_proto().data.metrics}
            self._spool.raise_floor(self._latest)
        return client, self.run_id

    def _remember(self, run_id: str) -> None:
        """Keep the run's id; a run other than the last one has nothing yet and gets all of the spool."""
        before = self._spool.identity().get("run_id")
        if before != run_id:
            if before is not None:
                self._spool.acknowledge(0)
            self._spool.identify({**self._key.to_dict(), "run_id": run_id})

    def _send_points(self, client: MlflowClient, run_id: str, entries: Sequence[Entry]) -> None:
        from mlflow.entities import Metric

        points = [entry.operation for entry in entries]
        with translated(self._key.uri):
            metrics = [
                Metric(point["key"], point["value"], point["timestamp_ms"], point["step"])
                for point in points
                if not self._is_recorded(client, run_id, point["key"], point["step"])
            ]
        try:
            if metrics:
                with translated(self._key.uri):
                    client.log_batch(run_id, metrics=metrics)
        except ServerAway:
            raise
        except TrackingError as error:
            self._raise_if_gone(client, run_id)
            self._report(f"metrics {sorted({metric.key for metric in metrics})[:3]} … are not in MLflow: {error}")
        self._spool.acknowledge(entries[-1].end)

    def _is_recorded(self, client: MlflowClient, run_id: str, key: str, step: int) -> bool:
        latest = self._latest.get(key, -math.inf)
        if step >= latest:
            return step == latest
        if key not in self._history:
            self._history[key] = {metric.step for metric in client.get_metric_history(run_id, key)}
        return step in self._history[key]

    def _send_others(self, client: MlflowClient, run_id: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if self._should_stop():
                return
            try:
                with translated(self._key.uri):
                    self._apply(client, run_id, entry.operation)
            except ServerAway:
                raise
            except TrackingError as error:
                self._raise_if_gone(client, run_id)
                self._report(f"{entry.operation['op']} of run {run_id} is not in MLflow: {error}")
            self._spool.acknowledge(entry.end)
            if entry.operation["op"] == "artifact":
                self._spool.unstage(entry.operation["file"])

    def _apply(self, client: MlflowClient, run_id: str, operation: Operation) -> None:
        match operation["op"]:
            case "params":
                self._log_params(client, run_id, operation["params"])
            case "tags":
                _log_tags(client, run_id, operation["tags"])
            case "inputs":
                _log_inputs(client, run_id, operation["datasets"])
            case "artifact":
                self._log_artifact(client, run_id, operation["file"], operation["to"])
            case "status" if operation["status"] == "RUNNING":
                client.update_run(run_id, status="RUNNING")
            case "status":
                client.set_terminated(run_id, operation["status"], end_time=operation["timestamp_ms"])
            case "torn":
                log.debug("a line of %s was cut off by a kill", self._spool.folder)
            case other:
                self._report(f"{self._spool.folder} holds an unknown operation {other!r}: written by a newer xling?")

    def _log_params(self, client: MlflowClient, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        fresh = [(key, value[:_LONGEST_VALUE]) for key, value in params.items() if key not in self._params]
        changed = {
            key: f"{self._params[key][:3000]} -> {value[:3000]}"
            for key, value in params.items()
            if key in self._params and self._params[key] != value[:_LONGEST_VALUE]
        }
        for start in range(0, len(fresh), 100):
            client.log_batch(run_id, params=[Param(key, value) for key, value in fresh[start : start + 100]])
        self._params.update(fresh)
        if changed:  # MLflow never changes a param; what the run was resumed with is kept beside it
            _log_tags(client, run_id, {f"xling.changed.{key}": value for key, value in changed.items()})
            listed = "; ".join(f"{key}: {value}" for key, value in changed.items())
            self._report(f"run {run_id} was resumed with other settings, MLflow keeps the first ones: {listed}")

    def _log_artifact(self, client: MlflowClient, run_id: str, file: str, to: str) -> None:
        path = self._spool.staged(file)
        if path is None:
            self._report(f"artifact {file!r} is left out: it lies outside the spool {self._spool.folder}")
        elif path.is_dir():
            inside = "/".join(part for part in (to, path.name) if part)
            self._upload(client, run_id, path, lambda: client.log_artifacts(run_id, str(path), inside))
        elif path.exists():
            self._upload(client, run_id, path, lambda: client.log_artifact(run_id, str(path), to or None))
        else:  # sent before its acknowledgement was lost, or spooled on another host
            log.info("artifact %s is not in the spool any more", file)

    def _upload(self, client: MlflowClient, run_id: str, path: Path, send: Callable[[], None]) -> None:
        """Give a server the time that so many bytes may need, and give the artifact up where that is never enough.

        What is spooled behind it would wait for ever else. A server that is away altogether says so when it is asked
        for the run, and nothing is given up.
        """
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        seconds = max(_ARTIFACT_S, sum(file.stat().st_size for file in files) // _ARTIFACT_RATE)
        for _ in range(_ARTIFACT_TRIES):
            try:
                with translated(self._key.uri), patient(seconds):
                    send()
                return
            except ServerAway as error:
                if not took_too_long(error) or self._should_stop():
                    raise
            client.get_run(run_id)
        raise TrackingError(f"{path.name} was not taken within {seconds} s, {_ARTIFACT_TRIES} times; it is left out")

    def _raise_if_gone(self, client: MlflowClient, run_id: str) -> None:
        """After a refusal: if the run was deleted, say so (and keep the spool) rather than drop anything."""
        with translated(self._key.uri):
            stage = client.get_run(run_id).info.lifecycle_stage
        if stage != "active":
            find_or_create_run(client, self._key)  # raises, naming what was deleted and how to restore it
            raise ServerAway(f"run {run_id} was deleted in MLflow")


def _log_tags(client: MlflowClient, run_id: str, tags: dict[str, str]) -> None:
    from mlflow.entities import RunTag

    items = list(tags.items())
    for start in range(0, len(items), 100):
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in items[start : start + 100]])


def _log_inputs(client: MlflowClient, run_id: str, datasets: list[dict[str, Any]]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(
            dataset=Dataset(
                name=item["name"], digest=item["fingerprint"][:36], source_type="xling", source=item["source"] or "{}"
            ),
            tags=[InputTag("mlflow.data.context", item["context"])],
        )
        for item in datasets
    ]
    client.log_inputs(run_id, datasets=inputs)
