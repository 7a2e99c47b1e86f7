"""Where the tasks of an evaluation run: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xling.config.resources import accepts
from xling.errors import ResourceError, XlingError

Call = tuple[Any, ...]  # a task's arguments
Idle = Callable[[], None]

LOOK_S = 1.0  # that tasks are waited for at a time


def no_word() -> None:
    """Nobody is told that tasks are waited for."""


class Place(Protocol):
    """Runs tasks and hands their values over as they come."""

    @property
    def threads(self) -> int:
        """Threads of a task."""

    @property
    def gpus(self) -> float:
        """GPUs of a task that is run ``on_gpu``; with any it has a process of its own, which ends with it."""

    def room(self) -> int:
        """How many tasks run at once, at most."""

    def share(self, value: Any) -> Any:
        """A large argument of many tasks, sent once; to be given in its stead."""

    def run(
        self, function: Callable[..., Any], calls: Iterable[Call], width: int, *, on_gpu: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """Run ``function(*call)`` for every call, at most ``width`` at once; yield (number, value) as they finish.

        Calls are taken when there is room for them, so that their arguments need not all be in memory.
        """


@dataclass(frozen=True, slots=True)
class Here:
    """This process: one task after another."""

    threads: int
    gpus: float = 0  # a model is where its caller has put it

    def room(self) -> int:
        return 1

    def share(self, value: Any) -> Any:
        return value

    def run(
        self, function: Callable[..., Any], calls: Iterable[Call], width: int, *, on_gpu: bool = False
    ) -> Iterator[tuple[int, Any]]:
        for number, call in enumerate(calls):
            yield number, function(*call)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The connected Ray cluster.

    A task whose process or node dies is run again by Ray on another, three times at most.

    Attributes:
        threads: CPUs, and threads, of a task.
        gpus: GPUs of a task that is run ``on_gpu``.
        held: ids of nodes where the caller holds a task's cores each and leaves them idle: the tasks
            run there, and ask Ray for none.
        memory: bytes of a task.
        labels: that a task's node must have, as Ray's label selectors.
        idle: called about once a second while no task ends, be they long or without a place; what it raises
            cancels them.
    """

    threads: int
    gpus: float = 0
    held: tuple[str, ...] = ()
    memory: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    idle: Idle = no_word

    def room(self) -> int:
        """Raises ResourceError: no cluster is connected, or no node has room for a task."""
        return len(self.held) or _room(self)

    def share(self, value: Any) -> Any:
        return ray.put(value)

    def run(
        self, function: Callable[..., Any], calls: Iterable[Call], width: int, *, on_gpu: bool = False
    ) -> Iterator[tuple[int, Any]]:
        """A user's error raised in a task is raised here as itself."""
        waiting = iter(enumerate(calls))
        free = list(range(width))
        running: dict[Any, tuple[int, int]] = {}  # number and slot
        try:
            while True:
                while free and (call := next(waiting, None)) is not None:
                    slot = free.pop()
                    running[self._task(function, slot, on_gpu).remote(*call[1])] = call[0], slot
                    del call  # with its arguments
                if not running:
                    return
                ended, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_S)
                if not ended:
                    self.idle()
                    continue
                finished = ended.pop()
                value = ray.get(finished)
                number, slot = running.pop(finished)
                free.append(slot)
                del finished  # the store may forget it
                yield number, value
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, XlingError):
                raise error.cause from None
            raise
        finally:
            for reference in running:
                ray.cancel(reference)

    def _task(self, function: Callable[..., Any], slot: int, on_gpu: bool) -> Any:
        if self.held:
            node = NodeAffinitySchedulingStrategy(self.held[slot % len(self.held)], soft=True)
            return _exported(function).options(num_cpus=0, scheduling_strategy=node)
        # DEFAULT: a trial's placement group, which its child tasks would be held in, has no room for them.
        where: dict[str, Any] = {"scheduling_strategy": "DEFAULT", "memory": self.memory or None}
        if self.labels:
            where["label_selector"] = dict(self.labels)
        gpus = self.gpus if on_gpu else 0
        task = _exported(function, max_calls=1) if gpus else _exported(function)
        return task.options(num_cpus=self.threads, num_gpus=gpus or None, **where)


@lru_cache(maxsize=32)
def _exported(function: Callable[..., Any], max_calls: int = 0) -> Any:
    """A function as Ray's, one for all its tasks: each other one leaves a copy with the head while the job lasts.

    Args:
        max_calls: after which Ray ends the process, so that its memory on a GPU is free; 0 for none. It is
            the function's: ``options`` knows none, and GPUs that are named there set none.
    """
    return ray.remote(max_calls=max_calls)(function)


def set_threads(threads: int) -> None:
    """Of the libraries a task computes with; Ray gives a process one thread where a task asks for no CPU."""
    import faiss
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


def _room(task: Cluster) -> int:
    """How many tasks the cluster's nodes can hold at once."""
    if not ray.is_initialized():
        raise ResourceError("no Ray cluster is connected: connect to one, or evaluate in this process")
    rooms = []
    for node in ray.nodes():
        if node["Alive"] and accepts(task.labels, node.get("Labels") or {}):
            has = node["Resources"]
            asked = {"CPU": task.threads, "GPU": task.gpus, "memory": task.memory}
            rooms.append(int(min(has.get(name, 0) / amount for name, amount in asked.items() if amount)))
    if not any(rooms):
        labelled = f" labelled {dict(task.labels)}" if task.labels else ""
        raise ResourceError(
            f"an evaluation task needs {task.threads} CPUs and {task.gpus:g} GPUs, which no node{labelled} of the "
            "cluster has: ask for less"
        )
    return sum(rooms)
