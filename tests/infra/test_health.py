"""infra/health.py, the containers' health check, against stand-ins of Ray's two addresses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "infra/health.py"
SPEC = importlib.util.spec_from_file_location("health", SCRIPT)
assert SPEC
assert SPEC.loader
health = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(health)


class Node(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_GET(self) -> None:
        status, text = self.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Node]]:
    """What a node answers, both of its addresses on one server."""
    server = HTTPServer(("127.0.0.1", 0), Node)
    base = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(health, "CHECKS", {"raylet": f"{base}/raylet", "gcs_server": f"{base}/gcs"})
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    Node.answers = {"/raylet": (200, "success"), "/gcs": (200, "success")}
    yield Node
    server.shutdown()
    server.server_close()


def test_a_node_is_well_while_ray_says_so(node):
    assert health.failures({"raylet", "gcs_server", "python"}) == []
    node.answers["/raylet"] = (503, "Local Raylet failed")
    (failure,) = health.failures({"raylet", "gcs_server"})
    assert failure.startswith("raylet: ")
    assert "503" in failure


def test_a_worker_is_not_asked_for_the_heads_store(node):
    del node.answers["/gcs"]
    assert health.failures({"raylet"}) == []


def test_any_other_answer_and_none_are_failures(node, monkeypatch):
    node.answers["/gcs"] = (200, "starting")
    assert health.failures({"gcs_server"})[0].endswith("starting")
    monkeypatch.setattr(health, "CHECKS", {"raylet": "http://127.0.0.1:1/raylet"})  # nobody listens
    assert "refused" in health.failures({"raylet"})[0]


def test_programs_are_found_by_their_names(tmp_path):
    for number, line in (("12", b"/opt/ray/raylet\0--port=1\0"), ("13", b"python\0"), ("14", b"")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes(line)
    (tmp_path / "self").mkdir()
    (tmp_path / "15").mkdir()  # ended meanwhile
    assert health.running(tmp_path) == {"raylet", "python", ""}


def test_a_container_without_ray_is_well_at_once():
    no_processes = "import pathlib, runpy; pathlib.Path.glob = lambda *a: iter(())"
    code = f"{no_processes}; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
