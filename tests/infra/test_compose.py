"""infra/compose: read by Docker Compose itself, and what it may and may not do."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose import FOLDER, SECRETS, WITH_GPUS, compose, project

KUBERAY = FOLDER.parent / "kuberay"


@pytest.fixture(scope="module")
def read() -> dict[str, Any]:
    return project()


@pytest.fixture(scope="module")
def services(read) -> dict[str, Any]:
    return read["services"]


def test_the_parts_are_there(services):
    assert set(services) == {"head", "worker", "mlflow", "postgres", "store"}
    assert services["worker"]["deploy"]["replicas"] == 2


def test_with_gpus_one_worker_has_them_all():
    services = project(WITH_GPUS)["services"]
    worker = services["worker"]
    ours = {name: service["image"] for name, service in services.items() if service["image"].startswith("xling:")}
    assert ours == dict.fromkeys(("head", "worker", "mlflow"), "xling:cuda")  # no other image needs to be built
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


def test_into_a_read_only_container_go_files_alone(read, services):
    """Compose refuses to start a service that is read-only and has a config or secret by its text."""
    given = {"configs": read.get("configs", {}), "secrets": read.get("secrets", {})}
    used = [
        given[kind][one["source"]]
        for service in services.values()
        if service.get("read_only")
        for kind in given
        for one in service.get(kind, ())
    ]
    assert used
    for one in used:
        assert set(one) - {"name"} == {"file"}
        assert Path(one["file"]).is_file()


def test_mlflow_is_called_by_the_names_that_it_is_given():
    def command(**variables: str) -> list[str]:
        return project(**variables)["services"]["mlflow"]["command"]

    def value(words: list[str], option: str) -> str:
        return words[words.index(option) + 1]

    plain, named = command(), command(XLING_MLFLOW_HOSTS="m.example.org", XLING_MLFLOW_ORIGINS="https://m.example.org")
    hosts = "mlflow:5000,localhost:*,127.0.0.1:*"
    assert value(plain, "--allowed-hosts") == hosts
    assert value(plain, "--cors-allowed-origins") == "http://localhost:5000"  # MLflow lets this machine's in anyway
    assert value(named, "--allowed-hosts") == f"{hosts},m.example.org"
    assert value(named, "--cors-allowed-origins") == "https://m.example.org"


def test_the_database_is_reached_by_mlflow_alone(read, services):
    assert read["networks"]["database"]["internal"] is True
    assert {name for name, service in services.items() if "database" in service["networks"]} == {"mlflow", "postgres"}


def test_mlflow_asks_for_a_password_here_and_on_kubernetes(read, services):
    text = Path(read["configs"]["mlflow-auth"]["file"]).read_text(encoding="utf-8")
    documents = yaml.safe_load_all((KUBERAY / "mlflow.yaml").read_text(encoding="utf-8"))
    config_map = next(document for document in documents if document["kind"] == "ConfigMap")
    assert config_map["data"]["auth.ini"].strip() == re.sub("^#.*\n", "", text, flags=re.MULTILINE).strip()
    settings = configparser.ConfigParser()
    settings.read_string(text)
    assert "admin_password" not in settings["mlflow"]
    assert settings["mlflow"]["database_uri"] == "postgresql+psycopg2://mlflow@postgres/mlflow"
    assert "--app-name" in services["mlflow"]["command"]
    assert services["mlflow"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD"] == "secret-XLING_MLFLOW_PASSWORD"
    assert services["mlflow"]["environment"]["MLFLOW_FLASK_SERVER_SECRET_KEY"] == "secret-XLING_MLFLOW_SECRET_KEY"
