"""The MLflow server of infra/compose, started by its own command, on a SQLite file in place of PostgreSQL."""

from __future__ import annotations

import base64
import configparser
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from compose import FOLDER, SECRETS, project

PASSWORD = "correct-horse-battery"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def replaced(words: list[str], **values: str) -> list[str]:
    """A command line with these options' values in place of its own."""
    words = list(words)
    for name, value in values.items():
        words[words.index(f"--{name.replace('_', '-')}") + 1] = value
    return words


@pytest.fixture
def server(tmp_path: Path):
    names = {"XLING_MLFLOW_HOSTS": "mlflow.example.org", "XLING_MLFLOW_ORIGINS": "https://mlflow.example.org"}
    service = project(**dict.fromkeys(SECRETS, PASSWORD), **names)["services"]["mlflow"]
    settings = configparser.ConfigParser()
    settings.read(FOLDER / "mlflow-auth.ini")
    settings["mlflow"]["database_uri"] = f"sqlite:///{tmp_path}/users.db"
    with (tmp_path / "auth.ini").open("w") as file:
        settings.write(file)
    port = free_port()
    command = replaced(
        service["command"],
        host="127.0.0.1",
        port=str(port),
        backend_store_uri=f"sqlite:///{tmp_path}/mlflow.db",
        artifacts_destination=str(tmp_path / "artifacts"),
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={
                **os.environ,
                **service["environment"],
                "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            cwd=tmp_path,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 180
    while status(f"{url}/health") != 200:
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.5)
    yield url
    process.terminate()
    process.wait(30)


def status(url: str, password: str | None = None, body: bytes | None = None, **headers: str) -> int:
    """The HTTP status of a request, with a body of a POST; 0 when nobody answers."""
    request = urllib.request.Request(url, body, headers)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_only_who_has_the_password_is_answered(server):
    search = f"{server}/api/2.0/mlflow/experiments/search?max_results=1"
    artifacts = f"{server}/api/2.0/mlflow-artifacts/artifacts"
    assert [status(search), status(artifacts), status(server)] == [401, 401, 401]
    assert status(search, "wrong") == 401
    assert status(search, PASSWORD) == 200
    assert status(search, PASSWORD, Host="mlflow:5000") == 200  # as the trials' drivers call it
    assert status(search, PASSWORD, Host="elsewhere.example") == 403  # a page that a browser was led to

    def asked_by_a_page_of(origin: str) -> int:  # behind a proxy, through which browsers reach it by a name
        found = f"{server}/ajax-api/2.0/mlflow/experiments/search"
        return status(found, PASSWORD, b'{"max_results": 1}', Host="mlflow.example.org", Origin=origin)

    assert asked_by_a_page_of("https://mlflow.example.org") == 200
    assert asked_by_a_page_of("https://elsewhere.example") == 403
