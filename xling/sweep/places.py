"""Where a sweep's things are: its storage, its MLflow store, its runs in MLflow's pages."""

from __future__ import annotations

from xling.config.load import LoadedSweep
from xling.errors import TrackingError
from xling.storage import Storage
from xling.sweep.tracking import known_id
from xling.track.links import sweep_links
from xling.track.server import DEFAULT_PORT, addresses
from xling.track.store import default_store, resolve_uri


def sweep_storage(loaded: LoadedSweep) -> Storage:
    return Storage(loaded.config.storage)


def tracking_store(loaded: LoadedSweep) -> tuple[str, str | None]:
    """The MLflow URI, absolute, and where a database of ours keeps artifacts (None: the server knows).

    Raises:
        TrackingError: the URI is none, or none is configured and the storage is not a local folder.
        ConfigError: none is configured, and the storage's path cannot stand in one.
    """
    if loaded.config.tracking.uri is not None:
        return resolve_uri(loaded.config.tracking.uri), None
    return default_store(loaded.config.storage)


def page_addresses(loaded: LoadedSweep) -> list[str]:
    """None while the server is away, or where the store is a database of which nobody knows who serves it."""
    tracking, sweep, root = loaded.config.tracking, loaded.config.name, sweep_storage(loaded)
    uri, _ = tracking_store(loaded)
    is_server = uri.startswith(("http://", "https://"))
    if not is_server and (tracking.uri is not None or not root.exists("mlflow.db")):
        return []
    try:
        links = sweep_links(uri, sweep, tracking.experiment or sweep, known_id(root, sweep))
    except TrackingError:  # said before, by the launch
        return []
    if is_server:
        return addresses(uri.rstrip("/"), links)
    return ["There, while that command runs:", *addresses(f"http://127.0.0.1:{DEFAULT_PORT}", links)]
