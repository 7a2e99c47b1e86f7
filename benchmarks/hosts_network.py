"""The machines of ``hosts.py``: a Ray head, two workers and a user's, each with an address of its own. Linux only.

Each is a network namespace on one bridge, with a host name of its own. Where namespaces are not allowed, all are
addresses of this machine, and being cut off is to die.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chaos_processes import NODE_BYTES, READY_S, STORE_BYTES, Node, Processes, below, free_port, kill

HEAD, WORKERS, USER = "head", ("one", "two"), "user"
NAMES = (HEAD, *WORKERS, USER)
# A host that is cut off is missed after some fifteen seconds, and gives itself up after twenty (60 s by default).
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",
}


class Namespaces:
    """Four network namespaces on a bridge. A context manager: they go with the block."""

    kind = "network namespaces"

    def __init__(self, *, named: bool = True) -> None:
        """Args: named: each has a host name of its own, by which leases tell machines apart."""
        self._named = named

    def __enter__(self) -> Namespaces:
        """Raises OSError or subprocess.CalledProcessError where that is not allowed."""
        self._tag = f"xl{os.getpid()}"
        self.addresses = {name: f"10.99.0.{11 + number}" for number, name in enumerate(NAMES)}
        try:
            _ip("link", "add", self._tag, "type", "bridge")
            _ip("link", "set", self._tag, "up")
            for name in NAMES:
                space = self._space(name)
                _ip("netns", "add", space)
                _ip("link", "add", self._wire(name), "type", "veth", "peer", "name", "eth0", "netns", space)
                _ip("link", "set", self._wire(name), "master", self._tag, "up")
                _ip("-n", space, "address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
                _ip("-n", space, "link", "set", "eth0", "up")
                _ip("-n", space, "link", "set", "lo", "up")
            self._run_as(USER, ["true"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name in NAMES:  # a wire goes with its namespace
            subprocess.run(["ip", "netns", "delete", self._space(name)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self._tag], capture_output=True, check=False)

    def ports(self, name: str) -> list[str]:
        """Of ``ray start``: each host has all to itself."""
        return ["--port=6379", "--dashboard-host=0.0.0.0", "--dashboard-port=8265"] if name == HEAD else []

    def on(self, name: str) -> list[str]:
        """What comes before a command that is to run on a host."""
        own_name = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name] if self._named else []
        return ["ip", "netns", "exec", self._space(name), *own_name]

    def cut(self, name: str) -> None:
        _ip("link", "set", self._wire(name), "down")

    def join(self, name: str) -> None:
        _ip("link", "set", self._wire(name), "up")

    def _run_as(self, name: str, command: Sequence[str]) -> None:
        subprocess.run([*self.on(name), *command], check=True, capture_output=True)

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _wire(self, name: str) -> str:
        return f"{self._tag}{name[0]}"


class OneMachine:
    """Addresses of this machine's own loopback: three Ray nodes, and a user that nothing separates from them."""

    kind = "Ray nodes on one machine"

    def __enter__(self) -> OneMachine:
        self.addresses = {name: f"127.0.0.{2 + number}" for number, name in enumerate(NAMES)}
        self._ports = [f"--port={free_port()}", f"--dashboard-port={free_port()}"]
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing was made."""

    def ports(self, name: str) -> list[str]:
        apart = ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        if name != HEAD:
            return apart
        return [*self._ports, f"--dashboard-host={self.addresses[HEAD]}", *apart]

    def on(self, name: str) -> list[str]:
        return []

    def cut(self, name: str) -> None:
        """Its processes are ended by the caller: the only way to be gone here."""

    def join(self, name: str) -> None:
        """Nothing was cut."""


Wiring = Namespaces | OneMachine


class Hosts:
    """A Ray cluster over the hosts, with token authentication, and a client beside it."""

    def __init__(self, processes: Processes, wiring: Wiring, folder: Path) -> None:
        """Args: folder: made here; short, since Ray keeps sockets in it; the hosts share it."""
        self.kind = wiring.kind
        self._processes, self._wiring, self._folder = processes, wiring, folder
        self._nodes: dict[str, Node] = {}
        self._starts = 0
        folder.mkdir()
        # Ray's client server cannot start from an environment in a folder with a space in its name.
        (folder / "env").symlink_to(sys.prefix)
        self._python = folder / "env" / "bin" / Path(sys.executable).name
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        left_out = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_URI")
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in left_out},
            "PATH": f"{folder / 'env' / 'bin'}:{os.environ['PATH']}",  # the job's `python`
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "TOKENIZERS_PARALLELISM": "false",
            **({"GLOO_SOCKET_IFNAME": "eth0"} if isinstance(wiring, Namespaces) else {}),
        }
        ports = dict(option.removeprefix("--").split("=") for option in wiring.ports(HEAD))
        self.address = f"{wiring.addresses[HEAD]}:{ports['port']}"
        self.dashboard = f"http://{wiring.addresses[HEAD]}:{ports['dashboard-port']}"

    def start(self) -> None:
        """Start head and workers; returns when all have joined."""
        self._start(HEAD).wait()
        for name in WORKERS:
            self._start(name)
        for name in WORKERS:
            self._nodes[name].wait()

    def cut_off(self, name: str) -> None:
        """The host loses its network; where that cannot be taken away, its raylet."""
        self._wiring.cut(name)
        if isinstance(self._wiring, OneMachine):
            self._end([name], "/raylet/raylet ")

    def come_back(self, name: str) -> float:
        """The network returns, and Ray is started there again once it has given itself up; seconds until then."""
        self._wiring.join(name)
        began = time.monotonic()
        while below(self._nodes[name].process.pid):
            if time.monotonic() - began > READY_S:
                raise RuntimeError(f"host {name} does not notice that it was given up, see {self._nodes[name].log}")
            self._processes.reap()
            time.sleep(0.2)
        self._start(name).wait()
        return time.monotonic() - began

    def lose_head(self) -> None:
        """Everything on the head's machine dies at once; the workers notice and leave."""
        self._end([HEAD])
        deadline = time.monotonic() + READY_S
        while any(below(self._nodes[name].process.pid) for name in WORKERS) and time.monotonic() < deadline:
            self._processes.reap()
            time.sleep(0.2)
        self._end(WORKERS)

    @property
    def xling(self) -> list[str]:
        """How ``xling`` is started on the user's host."""
        return [*self._wiring.on(USER), sys.executable, "-m", "xling"]

    def _start(self, name: str) -> Node:
        self._starts += 1
        part = f"{name[0]}{self._starts}"
        if name == HEAD:
            role = ["--head", "--num-cpus=0", "--memory=1", f"--ray-client-server-port={free_port()}"]
        else:
            role = [f"--address={self.address}", "--num-cpus=1", f"--memory={NODE_BYTES}"]
        ours = [
            f"--node-ip-address={self._wiring.addresses[name]}",
            f"--temp-dir={self._folder / part}",
            f"--object-store-memory={STORE_BYTES}",
        ]
        ray = [str(self._python), "-m", "ray.scripts.scripts", "start", "--block", *role, *self._wiring.ports(name)]
        log = self._folder / f"{part}.log"
        with log.open("w") as output:
            environment = {**self.environment, **QUICK}
            process = self._processes.start(
                [*self._wiring.on(name), *ray, *ours], environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._nodes[name] = Node(process, log)
        return self._nodes[name]

    def _end(self, names: Sequence[str], title: str = "") -> None:
        """Kill the processes of hosts, or those of a title."""
        for name in names:
            root = self._nodes[name].process.pid
            for pid, line in below(root).items():
                if title in line:
                    kill(pid)
            if not title:
                kill(root)
        self._processes.reap()


@contextmanager
def network(*, namespaces: bool | None = None, named: bool = True) -> Iterator[Wiring]:
    """Four hosts; namespaces where they are allowed, unless it was said."""
    if namespaces is not False:
        try:
            spaces = Namespaces(named=named).__enter__()
        except (OSError, subprocess.CalledProcessError) as error:
            if namespaces:
                raise
            print(f"no network namespaces here ({error}): three Ray nodes on this machine instead", flush=True)
        else:
            try:
                yield spaces
            finally:
                spaces.__exit__()
            return
    with OneMachine() as machine:
        yield machine


def _ip(*arguments: str) -> None:
    if shutil.which("ip") is None:
        raise FileNotFoundError("there is no `ip`")
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
