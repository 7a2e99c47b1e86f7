"""One MLflow store: reaching it in bounded time, and finding or making our experiment and runs.

MLflow is imported inside the functions: it costs seconds and only the sending thread needs it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xling.errors import ConfigError, TrackingError
from xling.redaction import without_password
from xling.storage import Storage
from xling.track.reach import ServerAway, past_proxies, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SWEEP_TAG = "xling.sweep"
CELL_TAG = "xling.cell"
PARENT_TAG = "mlflow.parentRunId"
ID_TAG = "xling.sweep_id"

# One attempt a call, cut off after ten seconds, but for an artifact's (reach.patient): our own loop tries again,
# MLflow's default (7 attempts, 120 s each) would hold a call for minutes. What the user has set is kept.
_BOUNDED = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_NOT_IN_A_URI = re.compile(r"\?|%[0-9A-Fa-f]{2}")  # begins a query, or stands for another character
_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")


@dataclass(frozen=True)
class RunKey:
    """Which run, without its id: the tag ``tag`` = ``value``, below the parent of sweep ``parent``.

    ``sweep_id`` tells sweeps of one name apart, which several storages may have on one server. Empty, the parent is one
    without any: sweeps were told apart by their names alone once.
    """

    uri: str
    experiment: str
    tag: str
    value: str
    name: str
    parent: str | None = None
    artifact_root: str | None = None
    sweep_id: str = ""

    @classmethod
    def of_sweep(
        cls, uri: str, experiment: str, sweep: str, artifact_root: str | None = None, sweep_id: str = ""
    ) -> RunKey:
        return cls(uri, experiment, SWEEP_TAG, sweep, name=sweep, artifact_root=artifact_root, sweep_id=sweep_id)

    def parent_key(self) -> RunKey | None:
        if self.parent is None:
            return None
        return RunKey.of_sweep(self.uri, self.experiment, self.parent, self.artifact_root, self.sweep_id)

    def to_dict(self) -> dict[str, Any]:
        """For the spool, without a password."""
        return {**asdict(self), "uri": without_password(self.uri)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunKey:
        return cls(**{key: value for key, value in values.items() if key in cls.__dataclass_fields__})


def default_store(storage_url: str) -> tuple[str, str]:
    """Tracking URI and artifact root kept under a sweep's storage folder.

    Raises:
        TrackingError: the storage is an object store, which cannot hold a SQLite file.
        ConfigError: its path holds what a SQLite file's URI means otherwise.
    """
    storage = Storage(storage_url)
    if not storage.is_local:
        raise TrackingError(
            f"tracking.uri is not set and storage is {storage_url}: a SQLite file cannot live there; "
            "set tracking.uri to an MLflow server (http://…) or to sqlite:////absolute/path/mlflow.db"
        )
    if (found := _NOT_IN_A_URI.search(storage.url)) is not None:
        raise ConfigError(
            f"storage is {storage.url!r}, must be without {found[0]!r} while MLflow's runs are kept in it, since "
            "their URI would lead elsewhere; rename the folder, or set tracking.uri to an MLflow server (http://…) "
            "or to sqlite:////another/path/mlflow.db"
        )
    return f"sqlite:///{storage.locate('mlflow.db')}", storage.locate("mlartifacts")


def resolve_uri(uri: str) -> str:
    """The URI with a relative SQLite path made absolute: workers run in other folders.

    Raises:
        TrackingError: MLflow has no store for such a URI.
    """
    scheme = re.split(r"[:+]", uri, maxsplit=1)[0] if ":" in uri else uri
    if scheme not in _SCHEMES or (scheme in ("http", "https") and not re.match(r"https?://[^/]", uri)):
        raise TrackingError(
            f"tracking.uri is {without_password(uri)!r}, must be an MLflow server or a database "
            "(MLflow 3 has no folder store): write http://host:port, sqlite:////absolute/path/mlflow.db or postgresql+psycopg2://…"
        )
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URI, absolute; None for any other store."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def connect(uri: str) -> MlflowClient:
    """A client whose calls end in bounded time; makes a fresh SQLite store's tables, once.

    Raises:
        ServerAway: the database or server cannot be reached (for a server: found at the first call).
        TrackingError: there is no such store.
    """
    for name, value in _BOUNDED.items():
        os.environ.setdefault(name, value)
    past_proxies(uri)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    path = sqlite_path(uri)
    with translated(uri), _only_one(path) if path else nullcontext():
        client = MlflowClient(tracking_uri=uri)
        if path:
            client.search_experiments(max_results=1)
        return client


def experiment_id(client: MlflowClient, key: RunKey) -> str:
    """Id of the experiment, made if need be.

    Raises:
        TrackingError: it was deleted.
    """
    with translated(key.uri):
        found = client.get_experiment_by_name(key.experiment)
    if found is None:
        return _create_experiment(client, key)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {key.experiment!r} was deleted in MLflow: restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}` "
            f"(MLFLOW_TRACKING_URI={without_password(key.uri)}), or set tracking.experiment to another name"
        )
    return str(found.experiment_id)


def find_or_create_run(client: MlflowClient, key: RunKey, start_ms: int | None = None) -> Run:
    """The run of a cell or sweep, re-opened by its tag (same id for ever) or made below its parent.

    Raises:
        TrackingError: the experiment, the run or its parent was deleted.
    """
    experiment = experiment_id(client, key)
    tags = {key.tag: key.value, "mlflow.runName": key.name, "mlflow.source.name": "xling"}
    if key.tag == SWEEP_TAG and key.sweep_id:
        tags[ID_TAG] = key.sweep_id
    parent_key = key.parent_key()
    if parent_key is not None:
        tags[PARENT_TAG] = find_or_create_run(client, parent_key, start_ms).info.run_id
    with translated(key.uri):
        run = _find_run(client, experiment, key, tags.get(PARENT_TAG))
        if run is not None:
            return run
        own = client.create_run(experiment, start_time=start_ms, tags=tags)
        # Two processes may both have found none: all of them keep the oldest.
        run = _find_run(client, experiment, key, tags.get(PARENT_TAG)) or own
        if run.info.run_id != own.info.run_id:
            client.delete_run(own.info.run_id)
        return run


def _create_experiment(client: MlflowClient, key: RunKey) -> str:
    location = None
    if not key.uri.startswith(("http", "databricks")):  # a server decides where artifacts go
        path = sqlite_path(key.uri)
        root = key.artifact_root or (str(path.parent / "mlartifacts") if path else None)
        location = f"{root.rstrip('/')}/{quote(key.experiment, safe='')}" if root else None
    try:
        with translated(key.uri):
            return str(client.create_experiment(key.experiment, artifact_location=location))
    except TrackingError:
        with translated(key.uri):
            other = client.get_experiment_by_name(key.experiment)
        if other is None:  # else another process was first
            raise
        return str(other.experiment_id)


def _find_run(client: MlflowClient, experiment: str, key: RunKey, parent_id: str | None) -> Run | None:
    from mlflow.entities import ViewType

    query, sweep_id = f"tags.`{key.tag}` = {json.dumps(key.value)}", None if key.parent else key.sweep_id
    if parent_id is not None:
        query += f" and tags.`{PARENT_TAG}` = '{parent_id}'"
    order = ["attributes.start_time ASC"]
    runs = runs_of(sweep_id, client, [experiment], query, run_view_type=ViewType.ALL, order_by=order)
    active = [run for run in runs if run.info.lifecycle_stage == "active"]
    if active:
        return active[0]
    if runs:
        found = runs[0].info.run_id
        raise TrackingError(
            f"run {found} ({key.tag} = {key.value}) was deleted in MLflow: restore it with "
            f"`mlflow runs restore --run-id {found}` (MLFLOW_TRACKING_URI={without_password(key.uri)}), "
            "or delete it for good with `mlflow gc` to have a new one"
        )
    return None


def runs_of(
    sweep_id: str | None, client: MlflowClient, experiments: list[str], query: str, **options: Any
) -> list[Run]:
    """Runs that a query finds. Args: sweep_id: the one they bear; empty: those that bear none; None: all the same."""
    if sweep_id:
        query += f" and tags.`{ID_TAG}` = {json.dumps(sweep_id)}"
    found = client.search_runs(experiments, query, **options)
    return [run for run in found if sweep_id != "" or ID_TAG not in run.data.tags]


@contextmanager
def _only_one(database: Path, timeout: float = 60.0) -> Iterator[None]:
    """Hold the lock beside a SQLite file: several first users at once break its schema migration."""
    database.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    with (database.parent / f"{database.name}.lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServerAway(f"{database} stays locked by another process") from None
                time.sleep(0.1)
        yield
