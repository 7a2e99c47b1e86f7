"""The Dockerfile agrees with the project around it; `make lint` lints it, benchmarks/clean_root.py runs it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import xling

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
STAGES = re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]


def test_it_is_this_version_with_extras_that_exist():
    assert re.findall(r"^ARG VERSION=(.*)$", TEXT, re.MULTILINE) == [xling.__version__]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", TEXT, re.MULTILINE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    kustomization = yaml.safe_load((REPOSITORY / "infra/kuberay/kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization["images"][0]["newTag"] == f"{xling.__version__}-cuda"


def test_the_dependencies_come_before_the_code_and_from_the_constraints():
    dependencies, wheel, image = STAGES
    assert "COPY xling" not in dependencies
    assert dependencies.count("pip install") == dependencies.count("--constraint constraints.txt") == 2
    assert "COPY xling" in wheel
    assert image.index("COPY --from=dependencies") < image.index("from=wheel")


def test_the_context_holds_what_is_copied_and_nothing_else():
    copied = set()
    for words in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE):
        copied |= set(words.split())
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((REPOSITORY / name).exists() for name in copied)


def test_nobody_is_told_of_its_use():
    (settings,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", STAGES[-1], re.MULTILINE)
    assert {"RAY_USAGE_STATS_ENABLED=0", "MLFLOW_DISABLE_TELEMETRY=true"} <= set(settings.split())


def test_it_runs_as_a_user_with_a_health_check_and_labels():
    image = STAGES[-1]
    assert re.findall(r"^USER (.*)$", image, re.MULTILINE) == ["1000:1000"]
    assert "health.py" in re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (.*)$", image, re.MULTILINE)[0]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in image
