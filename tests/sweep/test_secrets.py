"""A launch with secrets all about it writes none down: files, MLflow's database and artifacts, report, output."""

import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from small_sweeps import SWEEP, write_sweep
from xling.sweep.remembered import remembered

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.doctor import before_launch
from xling.sweep.inspect import show_logs, show_status
from xling.sweep.launching import runner
from xling.sweep.launching.launch import launch
from xling.sweep.selection import Selection
from xling.sweep.trials import trial
from xling.track.store import connect

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret",
    "AWS_ACCESS_KEY_ID": "CANARYACCESSKEY",
    "HF_TOKEN": "hf_canarytoken",
    "MLFLOW_TRACKING_PASSWORD": "canary-tracking",
}
URL = "http://me:canary-password@mlflow.example:5000/x?token=canary-parameter"


def refuse(*arguments: object) -> None:
    raise RuntimeError(f"no answer from {URL} with {dict(os.environ)}")


@pytest.fixture
def launched(tmp_path, monkeypatch, empty_store):
    """One cell that fails with all secrets in its error; the sweep's file and its overrides hold some, too."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    workers = SimpleNamespace(run=refuse)
    calls = {name: lambda *_: None for name in ("keep", "rest", "close", "where")}
    pool = SimpleNamespace(take=lambda need, closed: workers, **calls)
    monkeypatch.setattr(trial, "_pool", pool)
    monkeypatch.setattr(runner, "ray_cluster", nullcontext)
    monkeypatch.setattr(runner, "ray_nodes", list)
    monkeypatch.setattr(before_launch, "ray_nodes", list)
    monkeypatch.setattr(runner, "require_kinds", lambda nodes, jobs: [])
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    file = write_sweep(tmp_path, f"# once at {URL}, with hf_canarytoken\n{SWEEP}")
    loaded = load_sweep(file, [f"tracking.uri={URL}", "tracking.uri=null", "retries=0"])
    told: list[object] = []
    display = SimpleNamespace(message=told.append, event=told.append, close=lambda: None)
    done = launch(loaded, lambda jobs: display, selection=Selection(cells=("tiny/a0",)), with_tune=False)
    assert done.exit_status == 1
    return loaded, told


def test_no_secret_is_written_or_printed(launched, tmp_path, capsys, caplog):
    loaded, told = launched
    console = Console(width=200)
    show_status(loaded, console, as_json=True)
    show_logs(loaded, "tiny/a0", console)
    out, err = capsys.readouterr()
    texts = {"shown while it ran": str(told), "printed": out + err, "logged": caplog.text}
    texts |= {
        str(file): file.read_bytes().decode("latin-1") for file in (tmp_path / "runs").rglob("*") if file.is_file()
    }
    for place, text in texts.items():
        found = [secret for secret in (*SECRETS.values(), "canary-password", "canary-parameter") if secret in text]
        assert not found, f"{place}: {found}"


def test_what_is_kept_tells_the_rest_and_resumes(launched, tmp_path, capsys):
    masked = "no answer from http://me:***@mlflow.example:5000/x?token=***"
    (trace,) = (tmp_path / "runs" / "small" / "cells").glob("*/attempts/0001.error.txt")
    assert "in refuse" in trace.read_text()
    assert masked in trace.read_text()
    show_status(launched[0], Console(width=200), as_json=True)
    assert masked in capsys.readouterr().out
    report = Path(tmp_path / "runs" / "small" / "report" / "index.html").read_text()
    assert masked.replace("&", "&amp;") in report
    client = connect(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert any(masked in run.data.tags.get("xling.reason", "") for run in runs)
    with remembered(str(tmp_path / "runs"), "small") as (file, overrides):
        assert load_sweep(file, overrides).cells == launched[0].cells
    assert Storage(str(tmp_path / "runs")).read("small/sweep.yaml").startswith(b"# once at http://me:***@mlflow")
