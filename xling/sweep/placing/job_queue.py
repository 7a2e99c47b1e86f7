"""Which job starts next: a Ray Tune searcher that hands out what fits, in the order of the launch.

Ray Tune asks for the next trial again and again. It is given a job as soon as the nodes have room for its
workers beside those that run (sweep/placing/packing.py), where what runs is counted where it says it is. It is told which
nodes are closed to its workers, so that Ray does not place them where others are meant to go. Nodes that
come or go count within seconds. What fits on no node that is there is asked for by placement groups that
stay pending (sweep/placing/demand.py), which is what an autoscaler looks at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray.tune.search import Searcher

from xling.sweep.jobs import Job
from xling.sweep.placing.packing import Need, Node, Places, Running, Start, starts

LOOK_S = 2.0  # between looks at the cluster's nodes, and for a word to stop


@dataclass(slots=True)
class _Started:
    job: Job
    trial: Running


class JobQueue(Searcher):
    """The jobs that have not started, and where those are that have.

    Args:
        jobs: in the order in which they should start.
        config_of: what a job's trial is given, the nodes closed to it among that.
        nodes: the nodes that are there now.
        limit: trials at once, whatever fits; None for any number.
        demand: told the needs of what is ready and finds no room.
        should_leave: no job is started once this is true.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        config_of: Callable[[Job, tuple[str, ...]], dict[str, Any]],
        nodes: Callable[[], Sequence[Node]],
        *,
        limit: int | None = None,
        demand: Callable[[Sequence[Need]], None] | None = None,
        should_leave: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._waiting = list(jobs)
        self._config_of = config_of
        self._nodes = nodes
        self._limit = limit
        self._demand = demand
        self._should_leave = should_leave
        self._started: dict[str, _Started] = {}
        self._unfinished = {job.id for job in jobs}
        self._chosen: list[tuple[Job, Start]] = []  # and not yet handed out
        self._is_stale = True
        self._there: Sequence[Node] = ()
        self._looked = float("-inf")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job's trial; None while none has room, FINISHED when there is none."""
        if not self._chosen:
            self._look()
        if not self._waiting:
            return str(Searcher.FINISHED)
        if not self._chosen:
            return None
        job, start = self._chosen.pop(0)
        self._waiting.remove(job)
        trial = Running(Need.of(job.config.resources), start.places, has_begun=False)
        self._started[trial_id] = _Started(job, trial)
        return self._config_of(job, start.closed)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A driver says where it and its workers are."""
        started = self._started.get(trial_id)
        if started is None or not result.get("nodes"):
            return
        places = Places(tuple(result["nodes"]), result["driver_node"])
        if places != started.trial.places or not started.trial.has_begun:
            started.trial = replace(started.trial, places=places, has_begun=True)
            self._is_stale = True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        started = self._started.pop(trial_id, None)
        if started is not None:
            self._unfinished.discard(started.job.id)
            self._is_stale = True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is done is on storage, and a launch is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a launch is never restored: the next one reads the storage")

    def _look(self) -> None:
        """Choose again where something changed; look at the cluster itself every few seconds."""
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            there = self._nodes()
            self._is_stale = self._is_stale or there != self._there or self._demand is not None
            self._there = there
            if self._waiting and self._should_leave():
                self._waiting.clear()
        if self._is_stale:
            self._is_stale = False
            self._choose()

    def _choose(self) -> None:
        ready = [job for job in self._waiting if job.kind == "warm" or job.warm not in self._unfinished]
        needs = [Need.of(job.config.resources) for job in ready]
        running = [started.trial for started in self._started.values()]
        free = len(ready) if self._limit is None else max(0, self._limit - len(running))
        found = starts(self._there, running, needs)[:free]
        self._chosen = [(ready[start.number], start) for start in found]
        if self._demand is not None:
            started = {start.number for start in found}
            most = len(ready) if self._limit is None else free - len(found)
            self._demand([need for number, need in enumerate(needs) if number not in started][:most])
