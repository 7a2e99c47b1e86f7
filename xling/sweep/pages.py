"""Where a sweep's runs are in MLflow's pages."""

from __future__ import annotations

from xling.config.load import LoadedSweep
from xling.errors import TrackingError
from xling.sweep.places import sweep_storage, tracking_store
from xling.sweep.tracking import known_id
from xling.track.links import sweep_links
from xling.track.server import DEFAULT_PORT, addresses


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
