"""An MLflow store in SQLite: making its tables takes seconds, so it is done once and copied."""

import sqlite3

import pytest

from xling.track.store import connect


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_store(tmp_path_factory, empty_store):
    """A function: makes another empty store and returns its file."""

    def make():
        path = tmp_path_factory.mktemp("store") / "mlflow.db"
        with sqlite3.connect(empty_store) as source, sqlite3.connect(path) as target:
            source.backup(target)
        return path

    return make
