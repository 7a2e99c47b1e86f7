"""A real MLflow server that goes away and comes back."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from xling.errors import TrackingError
from xling.track.mlflow import CellTracker, MetricPoint, SweepTracker
from xling.track.server import running_server, ui_command, ui_environment
from xling.track.store import connect
from xling.track.sync import sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, database):
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = ui_command(f"sqlite:///{database}", port=self.port)
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            self._command,
            env=ui_environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return
            time.sleep(0.2)
        raise AssertionError("the server did not start")

    def signal(self, number):
        os.killpg(self._process.pid, number)

    def kill(self):
        if self._process is not None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._process.wait()


@contextmanager
def server_on(database):
    server = Server(database)
    try:
        yield server
    finally:
        server.kill()


def points(steps, at=1_000_000):
    return [MetricPoint("loss", float(step), step, at + step) for step in steps]


def test_a_server_killed_and_restarted_misses_nothing_and_gets_nothing_twice(new_store, tmp_path):
    with server_on(new_store()) as server:
        # away at the start: neither the sweep nor the cell waits or fails
        sweep = SweepTracker(server.uri, "demo", None, tmp_path / "sweep")
        assert sweep.open("demo", description="About.", params={"a": 1}) is None
        tracker = CellTracker(server.uri, "demo", "demo", "c1", tmp_path / "cell")
        tracker.open()
        tracker.log_points(points(range(100)))
        server.start()
        assert tracker.flush(timeout=60)
        first_id = tracker.run_id

        server.kill()
        slowest = 0.0
        for step in range(100, 1500):
            start = time.perf_counter()
            tracker.log_points(points([step]))
            slowest = max(slowest, time.perf_counter() - start)
        assert not tracker.flush(timeout=1)
        assert slowest < 5.0  # a request that is not answered takes ten seconds
        server.start()
        tracker.log_points(
            [*points([1500]), MetricPoint("odd", float("inf"), 1, 1), MetricPoint("odd", float("nan"), 2, 1)]
        )
        assert tracker.flush(timeout=90)

        server.signal(signal.SIGSTOP)  # takes the request, answers too late: was it recorded?
        tracker.log_points(points(range(1501, 1600)))
        assert not tracker.flush(timeout=13)
        server.signal(signal.SIGCONT)
        assert tracker.finish(timeout=90)
        assert sweep.finish(timeout=60)

        client = connect(server.uri)
        assert tracker.run_id == first_id
        run = client.get_run(first_id)
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(first_id, "loss")
        assert sorted((point.step, point.timestamp) for point in history) == [(s, 1_000_000 + s) for s in range(1600)]
        assert len(client.get_metric_history(first_id, "odd")) == 2
        parent = client.get_run(run.data.tags["mlflow.parentRunId"])
        assert (parent.data.tags["xling.sweep"], parent.data.params) == ("demo", {"a": "1"})
        assert parent.data.tags["mlflow.note.content"] == "About."


def test_a_server_away_to_the_end_is_made_up_for_by_sync(new_store, tmp_path):
    with server_on(new_store()) as server:
        sweep = SweepTracker(server.uri, "demo", None, tmp_path / "sweep")
        sweep.open("demo", params={"a": 1})
        trackers = [CellTracker(server.uri, "demo", "demo", cell, tmp_path / cell) for cell in ("c1", "c2")]
        for tracker in trackers:
            tracker.open()
            tracker.log_points(points(range(10)))
            tracker.log_text("figures", "table.txt")
            assert not tracker.finish(timeout=0.5)
        assert not sweep.finish(timeout=0.5)
        assert {bool(result.problem) for result in sync(tmp_path)} == {True}

        server.start()
        results = sync(tmp_path)
        assert [(result.left, result.problem) for result in results] == [(0, "")] * 3
        assert {result.sent for result in sync(tmp_path)} == {0}
        client = connect(server.uri)
        experiment = client.get_experiment_by_name("demo").experiment_id
        runs = client.search_runs([experiment])
        assert sorted(run.data.tags.get("xling.cell", "") for run in runs) == ["", "c1", "c2"]
        assert {run.info.status for run in runs} == {"FINISHED"}
        for run in runs:
            if "xling.cell" in run.data.tags:
                assert len(client.get_metric_history(run.info.run_id, "loss")) == 10
                assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["table.txt"]


def test_the_ui_tells_its_address_and_ends_with_a_plain_kill(new_store):
    script = (
        "import functools, sys; from xling.track.server import serve_ui; "
        "serve_ui(sys.argv[1], port=None, show=functools.partial(print, flush=True))"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{new_store()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            assert answer.status == 200
        process.terminate()
        assert process.wait(timeout=60) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/health", timeout=5)


def test_running_server_stops_with_its_block_and_refuses_a_taken_port(new_store):
    uri = f"sqlite:///{new_store()}"
    with running_server(uri, port=None) as base:
        port = int(base.rsplit(":", 1)[1])
        with urllib.request.urlopen(f"{base}/health", timeout=5) as answer:
            assert answer.status == 200
        with pytest.raises(TrackingError, match=f"port {port} is taken"), running_server(uri, port=port):
            pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{base}/health", timeout=5)
