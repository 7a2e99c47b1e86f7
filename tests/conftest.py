"""Where results may lie, a local folder or an object store, and the browser that pages are looked at with."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
from away_store import AwayStore
from object_store import ObjectStore
from postgres import Postgres, programs

from xling.storage import Storage

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[ObjectStore]:
    store = ObjectStore()
    store.start()
    yield store
    store.stop()


@pytest.fixture
def object_store(endpoint: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An S3 endpoint that this process's environment, and its children's, leads to."""
    import s3fs

    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    s3fs.S3FileSystem.clear_instance_cache()  # which knows nothing of environments
    endpoint.requests.clear()
    yield endpoint
    endpoint.refusals.clear()
    endpoint.knows_conditions, endpoint.is_away = True, False
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3_url(object_store: ObjectStore) -> str:
    """A prefix in a new bucket of its own."""
    bucket = f"bucket-{uuid4().hex}"
    object_store.make_bucket(bucket)
    return f"s3://{bucket}/runs"


@pytest.fixture(params=["folder", "s3"])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage of either kind."""
    return Storage(str(tmp_path / "results") if request.param == "folder" else request.getfixturevalue("s3_url"))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store in SQLite: making its tables takes seconds, so it is done once and copied."""
    from xling.track.store import connect

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Callable[[], Path]:
    """A function: makes another empty store and returns its file."""

    def make() -> Path:
        path = tmp_path_factory.mktemp("store") / "mlflow.db"
        with sqlite3.connect(empty_store) as source, sqlite3.connect(path) as target:
            source.backup(target)
        return path

    return make


@pytest.fixture
def away(tmp_path: Path, new_store: Callable[[], Path]) -> AwayStore:
    return AwayStore(tmp_path / "store", new_store)


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        _skip_unless_required("XLING_REQUIRE_BROWSER", f"no Chromium at {CHROMIUM}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with an empty database."""
    found = programs()
    if found is None:
        _skip_unless_required("XLING_REQUIRE_POSTGRESQL", "no PostgreSQL: apt-get install postgresql")
    server = Postgres(found)
    server.start()
    yield server
    server.stop()


def _skip_unless_required(variable: str, message: str) -> NoReturn:
    """Skip where something is not installed; CI sets the variable, and cannot."""
    if os.environ.get(variable) == "1":
        pytest.fail(message)
    pytest.skip(message)
