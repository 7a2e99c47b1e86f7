"""The MLflow servers of infra/compose and infra/bare-metal, by their own commands, on SQLite and a free port."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compose import FOLDER, SECRETS, project
from test_commands import commands_of

PASSWORD = "correct-horse-battery"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(words: list[str], environment: dict[str, str], folder: Path) -> Iterator[str]:
    """The URL of a server that this command starts in the folder, its data there and its port a free one."""
    port = free_port()
    values = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
    }
    words = list(words)
    for name, value in values.items():
        words[words.index(name) + 1] = value
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 180
    try:
        while status(f"{url}/health") != 200:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.5)
        yield url
    finally:
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


def asked_by_a_page(server: str, host: str, origin: str) -> int:
    """The status of what a page of ``origin`` asks for in a browser, by POST, of a server that it calls ``host``."""
    search = f"{server}/ajax-api/2.0/mlflow/experiments/search"
    return status(search, PASSWORD, b'{"max_results": 1}', Host=host, Origin=origin)


@pytest.mark.slow
def test_composes_asks_for_the_password_and_answers_to_the_names_that_it_is_given(tmp_path):
    names = {"XLING_MLFLOW_HOSTS": "mlflow.example.org", "XLING_MLFLOW_ORIGINS": "https://mlflow.example.org"}
    service = project(**dict.fromkeys(SECRETS, PASSWORD), **names)["services"]["mlflow"]
    settings = configparser.ConfigParser()
    settings.read(FOLDER / "mlflow-auth.ini")
    settings["mlflow"]["database_uri"] = f"sqlite:///{tmp_path}/users.db"
    with (tmp_path / "auth.ini").open("w") as file:
        settings.write(file)
    environment = {**service["environment"], "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini")}
    with running(service["command"], environment, tmp_path) as server:
        search = f"{server}/api/2.0/mlflow/experiments/search?max_results=1"
        artifacts = f"{server}/api/2.0/mlflow-artifacts/artifacts"
        assert [status(search), status(artifacts), status(server)] == [401, 401, 401]
        assert status(search, "wrong") == 401
        assert status(search, PASSWORD) == 200
        assert status(search, PASSWORD, Host="mlflow:5000") == 200  # as the trials' drivers call it
        assert status(search, PASSWORD, Host="elsewhere.example") == 403  # a page that a browser was led to
        assert asked_by_a_page(server, "mlflow.example.org", "https://mlflow.example.org") == 200  # through a proxy
        assert asked_by_a_page(server, "mlflow.example.org", "https://elsewhere.example") == 403


@pytest.mark.slow
def test_a_machines_own_is_used_by_browsers_and_keeps_its_users_in_the_folder_it_is_started_in(tmp_path):
    page = [command.words for command in commands_of(FOLDER.parent / "bare-metal/README.md")]
    (words,) = (words for words in page if words[:2] == ("mlflow", "server"))
    assignments = {
        name: value if value and not value.startswith("$") else PASSWORD  # secrets are read or made
        for words in page
        if words[0] == "export"
        for name, _, value in (word.partition("=") for word in words[1:])
        if name.startswith("MLFLOW_")
    }
    with running(list(words), assignments, tmp_path) as server:
        search = f"{server}/api/2.0/mlflow/experiments/search?max_results=1"
        assert status(search, Host="192.168.7.10:5000") == 401
        assert status(search, PASSWORD, Host="192.168.7.10:5000") == 200
        assert asked_by_a_page(server, "192.168.7.10:5000", "http://192.168.7.10:5000") == 200
        assert asked_by_a_page(server, "192.168.7.10:5000", "http://elsewhere.example") == 403
        assert (tmp_path / "basic_auth.db").exists()
