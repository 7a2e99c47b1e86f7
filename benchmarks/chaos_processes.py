"""The processes of ``chaos.py``: a Ray cluster of three nodes, an MLflow server, the sweep's command. Linux only.

Every process started here, and every process that one of them starts, stays below this one: orphans are adopted,
so that victims are found and leftovers ended without touching anything else on the machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling.track.server import ui_command, ui_environment

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
READY_S = 120.0
NODE_BYTES = 2_600_000_000  # what a node offers: two drivers fit, so that losing a node does not halve the sweep
STORE_BYTES = 100_000_000
# How Ray's processes name themselves in /proc: a trial's driver is a Tune function, its workers are Ray Train's.
DRIVER_TITLE = "ray::ImplicitFunc"
WORKER_TITLE = "ray::RayTrainWorker"
# A lost node is missed after three seconds; a slow answer, of a busy machine, is waited for.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "20000",
    "RAY_health_check_failure_threshold": "3",
}


class Processes:
    """What runs below this process. A context manager that ends all that was started within."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Processes:
        self._before = set(below(os.getpid()))
        _adopt_orphans(True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        deadline = time.monotonic() + 30
        while (left := set(below(os.getpid())) - self._before) and time.monotonic() < deadline:
            for pid in left:
                kill(pid)
            self.reap()
            time.sleep(0.1)
        _adopt_orphans(False)
        if left:
            print(f"still running: {sorted(left)}", file=sys.stderr)

    def start(self, command: Sequence[str], environment: Mapping[str, str], **streams: Any) -> subprocess.Popen[Any]:
        """Start a command in a session of its own: Ctrl-C is for this process."""
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True, **streams
        )
        self._started.append(process)
        return process

    def reap(self) -> None:
        """Take leave of adopted processes that have ended, which else would stay as zombies."""
        own = {process.pid for process in self._started if process.poll() is None}
        for pid, (parent, state, _) in _table().items():
            if parent == os.getpid() and state == "Z" and pid not in own and pid not in self._before:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def below(root: int) -> dict[int, str]:
    """Living descendants of a process: their command lines, or titles, by pid."""
    table = _table()
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found, waiting = {}, [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            waiting.append(pid)
            if table[pid][1] != "Z":
                found[pid] = table[pid][2]
    return found


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _table() -> dict[int, tuple[int, str, str]]:
    """Parent, state and command line of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found[int(folder.name)] = (int(fields[1]), fields[0], line)
    return found


def _adopt_orphans(on: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@dataclass(frozen=True, slots=True)
class Node:
    """A ``ray start`` that stays in the foreground, its raylet below it."""

    process: subprocess.Popen[Any]
    log: Path

    def wait(self) -> None:
        """Until it has joined the cluster."""
        deadline = time.monotonic() + READY_S
        while "--block" not in self.log.read_text():  # said when everything runs
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"a Ray node does not start, see {self.log}")
            time.sleep(0.2)


class Cluster:
    """A Ray head that runs nothing, and nodes of one core: each a machine of its own, as far as Ray can tell."""

    def __init__(self, processes: Processes, folder: Path, nodes: int = 2) -> None:
        """Starts it. folder: short, since Ray keeps sockets in it."""
        self._processes = processes
        self._folder = folder
        self._hosts = 1  # the last number in 127.0.0.x; a replaced node gets a new one
        self._nodes: list[Node] = []
        folder.mkdir()
        # Ray's client server cannot start from an environment in a folder with a space in its name.
        (folder / "env").symlink_to(sys.prefix)
        self._python = folder / "env" / "bin" / Path(sys.executable).name
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")},
            **HEALTH,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_idle_worker_killing_time_threshold_ms": "600000",
            "TOKENIZERS_PARALLELISM": "false",
        }
        port = free_port()
        self.address = f"127.0.0.2:{port}"
        head = ["--head", f"--port={port}", "--num-cpus=0", "--memory=1", "--dashboard-port=0"]
        self._start(*head, f"--ray-client-server-port={free_port()}").wait()
        for _ in range(nodes):
            self.start_node()
        for node in self._nodes:
            node.wait()

    def start_node(self, *, within: Sequence[str] = (), **environment: str) -> Node:
        """Start one more node; it joins in some seconds.

        Args:
            within: a command that the node's is given to, as ``unshare``.
            environment: of this node alone.
        """
        options = [f"--address={self.address}", f"--memory={NODE_BYTES}", "--num-cpus=1"]
        self._nodes.append(self._start(*options, within=within, environment=environment))
        return self._nodes[-1]

    def lose_node(self, having: int | None = None, *, pick: int = 0) -> int | None:
        """Kill a node's raylet, whose workers then die by themselves, and start another node.

        Args:
            having: the node that this process runs on; the ``pick``-th of all otherwise.

        Returns:
            The raylet's pid; None when there is no such node.
        """
        raylets = self._raylets()
        if having is not None:
            raylets = {raylet: node for raylet, node in raylets.items() if having in below(raylet)}
        if not raylets:
            return None
        raylet = sorted(raylets)[pick % len(raylets)]
        kill(raylet)
        self._nodes.remove(raylets[raylet])
        self.start_node()
        return raylet

    def titled(self, title: str) -> list[int]:
        """Pids of Ray's processes on the nodes that call themselves so, oldest first."""
        return sorted(
            pid for raylet in self._raylets() for pid, line in below(raylet).items() if line.startswith(title)
        )

    def _raylets(self) -> dict[int, Node]:
        return {
            pid: node
            for node in self._nodes
            for pid, line in below(node.process.pid).items()
            if "/raylet/raylet " in line
        }

    def _start(self, *options: str, within: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Node:
        self._hosts += 1
        name = f"n{self._hosts}"
        ours = [
            f"--node-ip-address=127.0.0.{self._hosts}",
            f"--temp-dir={self._folder / name}",
            f"--object-store-memory={STORE_BYTES}",
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
        ]
        command = [*within, str(self._python), "-m", "ray.scripts.scripts", "start", "--block", *options, *ours]
        log = self._folder / f"{name}.log"
        with log.open("w") as output:
            environment = {**self.environment, **(environment or {})}
            return Node(self._processes.start(command, environment, stdout=output, stderr=subprocess.STDOUT), log)


class TrackingServer:
    """An MLflow server, killed and started again it is the same one."""

    def __init__(
        self, processes: Processes, folder: Path, store: str | None = None, artifacts: str | None = None
    ) -> None:
        """Starts it, and returns at once. store, artifacts: a SQLite file and a folder below ``folder`` by default."""
        self._processes = processes
        self._folder = folder
        self._store = store or f"sqlite:///{folder}/mlflow.db"
        self._artifacts = artifacts or str(folder / "artifacts")
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        folder.mkdir()
        self.start()

    def start(self) -> None:
        command = ui_command(self._store, self._artifacts, self._port)
        with (self._folder / "server.log").open("a") as log:
            streams = {"stdout": log, "stderr": subprocess.STDOUT}
            self._process = self._processes.start(command, ui_environment(), **streams)

    def kill(self) -> int | None:
        """Kill the server with its workers, as when its machine goes; None when it is gone already."""
        if self._process.poll() is not None:
            return None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return self._process.pid

    def is_up(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2):
            return True
        return False

    def wait(self) -> None:
        deadline = time.monotonic() + READY_S
        while not self.is_up():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the MLflow server does not start, see {self._folder}/server.log")
            time.sleep(0.2)


class Command:
    """An ``xling`` command; its JSON events are put in a queue as they come."""

    def __init__(
        self,
        processes: Processes,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        events: queue.SimpleQueue[dict[str, Any]],
        xling: Sequence[str] = (sys.executable, "-m", "xling"),
    ) -> None:
        """Starts it. log: everything it prints goes there, behind what the ones before have printed."""
        self.process = processes.start(
            [*xling, *arguments],
            environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.states: dict[str, str] = {}  # of the cells, as its last line tells them
        self._events = events
        self._log = log
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ended(self) -> int | None:
        """Its exit status when it has ended and all it printed is read."""
        return None if self._reader.is_alive() else self.process.wait()

    def _read(self) -> None:
        with self._log.open("a") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                event = _parse(line)
                if event.get("event") == "progress":
                    self._events.put(event)
                self.states = event.get("states", self.states)


@dataclass(frozen=True, slots=True)
class World:
    """What a sweep runs on."""

    processes: Processes
    cluster: Cluster
    server: TrackingServer


@contextmanager
def ready(folder: Path) -> Iterator[World]:
    """A cluster and an MLflow server in a folder, both answering; all their processes go with the block."""
    folder.mkdir(exist_ok=True)
    with Processes() as processes:
        server = TrackingServer(processes, folder / "mlflow")
        cluster = Cluster(processes, folder / "ray")
        server.wait()
        yield World(processes, cluster, server)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _parse(line: str) -> dict[str, Any]:
    """The JSON object on a line; empty for any other text, or one cut off by a kill."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
