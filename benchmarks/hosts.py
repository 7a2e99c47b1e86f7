"""One sweep on three hosts, submitted from a fourth; a host is cut off, the head is lost; is anything else than here?

    python benchmarks/hosts.py [--small] [--one-machine] [--keep FOLDER]

Runs the demo (--small: four tiny cells) twice: here, undisturbed; then by `xling submit` from a host of its own to a
Ray cluster of three others, with token authentication and shared storage. There a worker host loses its network in
the middle of training and later comes back; then everything on the head's machine dies at once, a new cluster is
started, and the same sweep is submitted again. Both must hold the same: table, weights, scores, MLflow's histories and
runs. Clients without the cluster's token must be refused, in one message.

Hosts are network namespaces, which needs root and `ip`; where they are not allowed, or with --one-machine, they are
Ray nodes on this machine. Prints a summary and one line a question, ``NAME ratio=… bar=…``; exits 1 when one is below
its bar, and then leaves its folder. Linux only. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import NAME, leave, new_folder, sweep_text
from chaos_outcome import Outcome, differences, read_outcome
from chaos_plan import Progress
from chaos_processes import Command, Processes
from hosts_network import WORKERS, Hosts, network

from xling.errors import OK, USER_ERROR

DEMO = Path(__file__).parents[1] / "sweeps" / "demo.yaml"
CUT_AT, HEAD_LOST_AT = 0.25, 0.6  # shares of all steps
AWAY_S = 30.0  # that a host stays cut off: longer than it takes to be missed, also on a busy machine
HUNG_S = 400.0
REFUSED_WITHIN_S = 10.0


@dataclass(frozen=True)
class Sweep:
    """What is run: its file, name and the steps of all its jobs."""

    file: Path
    name: str
    steps: int

    @classmethod
    def demo(cls) -> Sweep:
        return cls(DEMO, "demo", 12 * 300)  # nine cells, three warm starts

    @classmethod
    def small(cls, folder: Path, steps: int = 800, seeds: tuple[int, ...] = (0, 1)) -> Sweep:
        """Two tiny cells a seed, whose training outlasts what is done to it."""
        file = folder / "small.yaml"
        file.write_text(sweep_text(steps, (0, 1), seeds))
        return cls(file, NAME, 2 * len(seeds) * steps)


@dataclass
class Ran:
    """A sweep on the hosts, from its first submission to its last end."""

    kind: str
    up_s: float = 0.0
    refusals: dict[str, tuple[int, float, str]] = field(default_factory=dict)  # exit status, seconds, what was said
    events: list[str] = field(default_factory=list)
    first_status: int | None = None  # of the client whose head was lost
    status: int | None = None
    seconds: float = 0.0
    table: list[dict[str, Any]] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="four tiny cells of 800 steps instead of the demo")
    parser.add_argument("--one-machine", action="store_true", help="Ray nodes on this machine, no namespaces")
    parser.add_argument("--keep", type=Path, help="folder for both sweeps' storage, logs and summary.json")
    options = parser.parse_args()
    folder = new_folder()
    sweep = Sweep.small(folder) if options.small else Sweep.demo()
    began = time.monotonic()
    expected = run_here(sweep, folder / "a")
    here_s = time.monotonic() - began
    with network(namespaces=False if options.one_machine else None) as wiring, Processes() as processes:
        hosts = Hosts(processes, wiring, folder / "ray")
        ran = run_on_hosts(sweep, hosts, processes, folder)
    found = outcome(sweep, folder / "b", ran.table)
    differs = differences(expected, found)
    summary = {"hosts": ran.kind, "here_s": round(here_s), "hosts_s": round(ran.seconds), "up_s": round(ran.up_s)}
    summary |= {"events": ran.events, "refusals": ran.refusals, "differences": differs}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))
    print(json.dumps(summary, indent=1))
    checks = figures(ran, differs)
    for name, ratio, bar in checks:
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    passed = all(ratio >= bar for _, ratio, bar in checks)
    leave(folder, options.keep, passed)
    return 0 if passed else 1


def figures(ran: Ran, differs: Mapping[str, list[str]]) -> list[tuple[str, float, float]]:
    """Name, ratio and bar of each question."""
    slowest = max((seconds for _, seconds, _ in ran.refusals.values()), default=REFUSED_WITHIN_S)
    refused = [status == USER_ERROR and "refuses us" in said for status, _, said in ran.refusals.values()]
    return [
        *((f"hosts_{part}_equal", float(not found), 1.0) for part, found in differs.items()),
        ("hosts_refused", sum(refused) / max(1, len(refused)), 1.0),
        ("hosts_refused_within", REFUSED_WITHIN_S / slowest, 1.0),
        ("hosts_lost_head_is_told", float(ran.first_status == USER_ERROR), 1.0),
        ("hosts_all_done", float(ran.status == OK), 1.0),
    ]


def settings(storage: Path) -> list[str]:
    """Of both sweeps: how busy the machines were is not to be compared."""
    values = (f"storage={storage}", "tracking.system_metrics=false")
    return [part for value in values for part in ("--set", value)]


def run_here(sweep: Sweep, folder: Path) -> Outcome:
    """The sweep on a cluster that the command starts by itself."""
    command = [sys.executable, "-m", "xling"]
    subprocess.run([*command, "sweep", str(sweep.file), *settings(folder / "runs")], check=True)
    return outcome(sweep, folder, table_of(sweep, folder))


def table_of(sweep: Sweep, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "xling", "results", sweep.name, "--storage", str(folder / "runs"), "--json"]
    return list(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"])


def outcome(sweep: Sweep, folder: Path, table: list[dict[str, Any]]) -> Outcome:
    return read_outcome(table, folder / "runs", f"sqlite:///{folder / 'runs' / 'mlflow.db'}", sweep.name)


def run_on_hosts(sweep: Sweep, hosts: Hosts, processes: Processes, folder: Path) -> Ran:
    """Submit; cut a host off and let it come back; lose the head; submit again.

    Raises:
        RuntimeError: nothing goes forward.
    """
    ran, began = Ran(hosts.kind), time.monotonic()
    hosts.start()
    ran.up_s = time.monotonic() - began
    ran.refusals = refusals(sweep, hosts, folder)
    began = time.monotonic()

    def note(text: str) -> None:
        ran.events.append(f"{time.monotonic() - began:.0f} s: {text}")
        print(ran.events[-1], flush=True)

    client = Client(sweep, hosts, processes, folder)
    client.until(lambda: client.progress.completed >= CUT_AT * sweep.steps, "host")
    hosts.cut_off(WORKERS[1])
    note(f"host {WORKERS[1]} cut off after {client.progress.completed} steps")
    client.until(after(AWAY_S), "host")
    hosts.come_back(WORKERS[1])
    note(f"host {WORKERS[1]} is back after {client.progress.completed} steps")
    client.until(lambda: client.progress.completed >= HEAD_LOST_AT * sweep.steps, "head")
    hosts.lose_head()
    note(f"head lost after {client.progress.completed} steps")
    hosts.start()
    note("a new cluster is up")
    client.until(lambda: False, "end of the client whose head was lost")
    ran.first_status = client.command.ended()
    client.submit()
    note("submitted again")
    client.until(lambda: False, "end")
    ran.status = client.command.ended()
    ran.seconds = time.monotonic() - began
    note(f"the sweep has ended with status {ran.status} after {client.progress.completed} steps")
    ran.table = table_of(sweep, folder / "b")
    return ran


def after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() > deadline


class Client:
    """``xling submit`` on the user's host, and what its events tell."""

    def __init__(self, sweep: Sweep, hosts: Hosts, processes: Processes, folder: Path, *options: str) -> None:
        """Submits it. options: more of the command's."""
        self._sweep, self._hosts, self._processes, self._folder = sweep, hosts, processes, folder
        self._options = options
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.log = folder / "submit.log"
        self.progress = Progress()
        self.submit()

    def submit(self) -> None:
        self.progress.launch()
        arguments = ["submit", str(self._sweep.file), *settings(self._folder / "b" / "runs"), *self._options]
        arguments += ["--working-tree", "--address", self._hosts.dashboard, "--json"]
        environment, xling = self._hosts.environment, self._hosts.xling
        self.command = Command(self._processes, arguments, environment, self.log, self._events, xling)

    def until(self, wanted: Callable[[], bool], what: str) -> None:
        """Follow the events until something holds, or the command ends. Raises RuntimeError when nothing moves."""
        state, moved = self.progress.state, time.monotonic()
        while not wanted() and self.command.ended() is None:
            time.sleep(0.1)
            self._processes.reap()
            while not self._events.empty():
                self.progress.event(self._events.get())
            if self.progress.state != state:
                state, moved = self.progress.state, time.monotonic()
            if time.monotonic() - moved > HUNG_S:
                raise RuntimeError(f"nothing went forward for {HUNG_S:.0f} s on the way to the {what}, see {self.log}")


def refusals(sweep: Sweep, hosts: Hosts, folder: Path) -> dict[str, tuple[int, float, str]]:
    """What becomes of clients that have not the cluster's token: exit status, seconds, what was said."""
    wrong = folder / "wrong"
    wrong.write_text("0" * 64)
    home = folder / "home"
    home.mkdir()
    without = {name: value for name, value in hosts.environment.items() if name != "RAY_AUTH_TOKEN_PATH"}
    clients = {
        "no token": {**without, "RAY_AUTH_MODE": "disabled", "HOME": str(home)},
        "another token": {**without, "RAY_AUTH_TOKEN_PATH": str(wrong)},
    }
    commands = {
        "submit": ["submit", str(sweep.file), *settings(folder / "b" / "runs"), "--address", hosts.dashboard],
        "sweep": ["sweep", str(sweep.file), *settings(folder / "c" / "runs"), "--address", hosts.address],
    }
    found = {}
    for who, environment in clients.items():
        for what, arguments in commands.items():
            began = time.monotonic()
            command = [*hosts.xling, *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            seconds = round(time.monotonic() - began, 1)
            found[f"{what}, {who}"] = (done.returncode, seconds, done.stderr.strip())
    return found


if __name__ == "__main__":
    sys.exit(main())
