"""The monkey of ``chaos.py``: follows a sweep's events, kills by a plan, launches again until all is done."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_plan import Kill, Progress
from chaos_processes import DRIVER_TITLE, WORKER_TITLE, Command, World, kill

from xling.errors import OK, SOME_FAILED
from xling.storage import Storage
from xling.sweep.lease import holder_of

POLL_S = 0.1
HUNG_S = 400.0  # without anything going forward: several times what the slowest start-up takes
FAILURES_IN_A_ROW = 10  # launches that end by themselves, badly, without a new step


@dataclass(frozen=True, slots=True)
class Killed:
    """A kill that was done."""

    kind: str
    at_start: bool
    pid: int
    second: float  # since the first launch
    completed: int  # steps until then


@dataclass
class Ran:
    """A sweep from its first launch to its last end."""

    seconds: float = 0.0
    launches: int = 0
    failed_launches: int = 0  # ended by themselves, and not with all done or some failed
    given_up: int = 0  # cells that a launch left as failed
    steps: int = 0
    killed: list[Killed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Start:
    """A job that was heard to start."""

    heard: float
    workers: frozenset[int]  # those there were then: they are not its own


class Monkey:
    """Runs one sweep to its end, killing on the way."""

    def __init__(self, world: World, file: Path, folder: Path, name: str) -> None:
        """Args: file: the sweep's. folder: for its storage and log; made here. name: the sweep's."""
        folder.mkdir(exist_ok=True)
        self._processes, self._cluster, self._server = world.processes, world.cluster, world.server
        self._file, self._name = file, name
        self.storage = folder / "runs"
        self.experiment = f"{name}-{folder.name}"
        self._log = folder / "sweep.log"
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._progress = Progress()
        self._ran = Ran()
        self._starts: dict[str, Start] = {}  # by job that is starting
        self._restart_server: float | None = None  # when
        self._began = 0.0

    def run(self, plan: Sequence[Kill]) -> Ran:
        """Launch, kill, launch again, until a launch ends with everything done.

        Raises:
            RuntimeError: nothing goes forward, or launches fail in a row.
        """
        left = deque(plan)
        since = 0  # steps completed at the kill before
        self._began = moved = time.monotonic()
        command = self._launch()
        state, failures = self._progress.state, 0
        while True:
            time.sleep(POLL_S)
            self._follow()
            self._processes.reap()
            if self._restart_server is not None and time.monotonic() > self._restart_server:
                self._server.start()
                self._restart_server = None
            if self._progress.state != state:
                state, moved = self._progress.state, time.monotonic()
            if time.monotonic() - moved > HUNG_S:
                raise RuntimeError(f"nothing went forward for {HUNG_S:.0f} s, see {self._log}")
            if (status := command.ended()) is not None:
                if status == OK:
                    break
                failures = self._take_end(command, status, failures)
                command = self._launch()
                moved = time.monotonic()
            elif left and (victim := self._strike(left[0], command, self._progress.completed - since)):
                self._ran.killed.append(victim)
                since, failures = self._progress.completed, 0
                left.popleft()
        self._ran.seconds = time.monotonic() - self._began
        self._ran.steps = self._progress.completed
        return self._ran

    def settle(self) -> list[dict[str, Any]]:
        """Bring the server back, have `xling track sync` deliver what it missed; returns the results' rows."""
        if self._restart_server is not None:
            self._server.start()
            self._restart_server = None
        self._server.wait()
        where = ["--storage", str(self.storage)]
        for _ in range(3):  # processes of the cluster may still be about to let go of a spool
            synced = self._xling("track", "sync", *where)
            if synced.returncode == 0:
                break
            time.sleep(3)
        else:
            raise RuntimeError(f"`xling track sync` leaves something behind: {synced.stdout[-2000:]}")
        said: dict[str, Any] = json.loads(self._xling("results", self._name, *where, "--json").stdout)
        return list(said["rows"])

    def _launch(self) -> Command:
        self._ran.launches += 1
        self._progress.launch()
        self._starts.clear()
        if (self.storage / self._name / "launch.json").exists():
            what = ["resume", self._name, "--storage", str(self.storage)]
        else:
            tracking = f"tracking={{uri: '{self._server.uri}', experiment: {self.experiment}, system_metrics: false}}"
            settings = (f"storage={self.storage}", tracking)
            what = ["sweep", str(self._file), *(part for value in settings for part in ("--set", value))]
        arguments = [*what, "--address", self._cluster.address, "--json"]
        return Command(self._processes, arguments, self._cluster.environment, self._log, self._events)

    def _take_end(self, command: Command, status: int, failures: int) -> int:
        """Count an end that left something to do; returns how many there were in a row without a new step."""
        if self._ran.killed and command.process.pid == self._ran.killed[-1].pid:
            return failures
        if status == SOME_FAILED and command.states:
            self._ran.given_up += sum(state == "failed" for state in command.states.values())
        else:
            self._ran.failed_launches += 1
        if failures + 1 >= FAILURES_IN_A_ROW:
            raise RuntimeError(f"{failures + 1} launches in a row failed by themselves, see {self._log}")
        return failures + 1

    def _follow(self) -> None:
        """Take in the events that have come."""
        while not self._events.empty():
            event = self._events.get()
            self._progress.event(event)
            starting = self._progress.starting
            self._starts = {job: start for job, start in self._starts.items() if job in starting}
            for job in starting:
                if job not in self._starts:
                    self._starts[job] = Start(time.monotonic(), frozenset(self._cluster.titled(WORKER_TITLE)))

    def _strike(self, due: Kill, command: Command, steps: int) -> Killed | None:
        """Do a kill whose time has come, if there is something to kill now."""
        if command.process.poll() is not None:
            return None
        now = steps >= due.after
        hits_start = due.at_start and not now  # else no start-up came: it falls due like any other
        latest = time.monotonic() - due.wait
        ripe = [job for job, start in sorted(self._starts.items()) if start.heard < latest]
        if not (now or (hits_start and ripe)):
            return None
        pid = (
            self._kill_starting(due, command, ripe[due.pick % len(ripe)])
            if hits_start
            else self._kill_any(due, command)
        )
        if pid is None:
            return None
        second = round(time.monotonic() - self._began, 1)
        print(f"{second:6.1f} s: killed {due.kind} {pid}{' in a start-up' if hits_start else ''}", flush=True)
        return Killed(due.kind, hits_start, pid, second, self._progress.completed)

    def _kill_any(self, due: Kill, command: Command) -> int | None:
        match due.kind:
            case "server":
                pid = self._server.kill() if self._restart_server is None and self._server.is_up() else None
                if pid is not None:
                    self._restart_server = time.monotonic() + due.wait
                return pid
            case "node":
                return self._cluster.lose_node(pick=due.pick)
            case "sweep":
                return _killed([command.process.pid], due)
            case "driver":
                return _killed(self._cluster.titled(DRIVER_TITLE), due)
            case _:
                return _killed(self._cluster.titled(WORKER_TITLE), due)

    def _kill_starting(self, due: Kill, command: Command, job: str) -> int | None:
        """Kill what belongs to a job that starts: its driver by the lease it holds, a worker by being new."""
        holders = (holder_of(Storage(str(self.storage / path / job))) for path in (f"{self._name}/cells", "warm"))
        driver = next((holder.pid for holder in holders if holder is not None), None)
        match due.kind:
            case "sweep":
                return _killed([command.process.pid], due)
            case "node":
                return None if driver is None else self._cluster.lose_node(having=driver)
            case "driver":
                return None if driver is None else _killed([driver], due)
            case _:
                new = set(self._cluster.titled(WORKER_TITLE)) - self._starts[job].workers
                return _killed(sorted(new), due)

    def _xling(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xling", *arguments]
        return subprocess.run(command, env=self._cluster.environment, capture_output=True, text=True, check=False)


def _killed(candidates: Sequence[int], due: Kill) -> int | None:
    """Kill one of them; None when there is none."""
    if not candidates:
        return None
    pid = candidates[due.pick % len(candidates)]
    kill(pid)
    return pid
