"""Who runs where: trials onto nodes by what they need, as pure functions of what is there.

A trial's workers go together where they can, to as few nodes as possible where they cannot, as Ray's own
``PACK`` places them; a share of a GPU is a share of one GPU, the fullest that still has it, and a worker of
whole GPUs gets empty ones. What cannot start yet but comes first keeps the room that it waits for, so that
later and smaller ones do not take it from under it; they get what it cannot use.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from xling.config.resources import accepts
from xling.config.schema import ResourcesConfig

# Measured with `benchmarks/fixed_cost.py`: the trial's driver with Train's controller, cleaner
# and data-set manager. Workers come on top.
DRIVER_BYTES = 1_200_000_000

_EPS = 1e-6  # shares such as .1 are no binary fractions; Ray counts in units of 1e-4


@dataclass(frozen=True, slots=True)
class Node:
    """What one machine offers."""

    name: str
    cpus: float = 0.0
    gpus: float = 0.0
    memory: float = 0.0  # bytes
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    id: str = ""  # Ray's; its name where it has none
    object_store: float = 0.0  # bytes

    @property
    def key(self) -> str:
        return self.id or self.name


@dataclass(frozen=True, slots=True)
class Need:
    """What a trial's workers ask for, each of them alike; its driver needs DRIVER_BYTES beside."""

    workers: int
    cpus: int
    gpus: float
    memory: int  # bytes
    labels: tuple[tuple[str, str], ...]  # name and value, as Ray's label selectors have them

    @classmethod
    def of(cls, config: ResourcesConfig) -> Need:
        labels = tuple(sorted(config.labels.items()))
        return cls(config.workers, config.cpus_per_worker, config.gpus_per_worker, config.memory_bytes, labels)

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether a node of these labels will do."""
        return accepts(dict(self.labels), labels)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a trial is: the node of each worker, and its driver's (none where that is not known)."""

    workers: tuple[str, ...]
    driver: str | None = None

    @property
    def nodes(self) -> set[str]:
        return {*self.workers, *([self.driver] if self.driver else [])}


@dataclass(slots=True)
class _Free:
    """What is left of a node; below zero where more was promised than is free yet."""

    node: Node
    cpus: float
    memory: float
    gpus: list[float]  # of each, the share that is left

    @classmethod
    def of(cls, node: Node) -> _Free:
        return cls(node, node.cpus, node.memory, [1.0] * math.floor(node.gpus + _EPS))

    def slots(self, need: Need) -> int:
        """Workers of this need that fit."""
        count = math.floor(self.cpus / need.cpus + _EPS)
        if need.memory:
            count = min(count, math.floor(self.memory / need.memory))
        if need.gpus >= 1:
            count = min(count, math.floor(sum(share > 1 - _EPS for share in self.gpus) / need.gpus + _EPS))
        elif need.gpus:
            count = min(count, sum(max(0, math.floor(share / need.gpus + _EPS)) for share in self.gpus))
        return max(0, count)

    def take(self, need: Need) -> None:
        """A worker's part, whether it is free or not."""
        self.cpus -= need.cpus
        self.memory -= need.memory
        for _ in range(math.ceil(need.gpus) if self.gpus else 0):
            share = min(need.gpus, 1.0)
            with_room = [(left, number) for number, left in enumerate(self.gpus) if left > share - _EPS]
            # Without room: what is emptiest becomes free soonest, as far as one can tell.
            _, number = min(with_room) if with_room else max((left, number) for number, left in enumerate(self.gpus))
            self.gpus[number] -= share


class Room:
    """What is free on a cluster's nodes, while trials are put onto them in thought."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._free = {node.key: _Free.of(node) for node in nodes}
        # Of the empty nodes, what is not kept for those that wait.
        self._unheld = {key: _Free.of(one.node) for key, one in self._free.items()}

    def knows(self, places: Places) -> bool:
        """Whether all of the nodes are still there."""
        return places.nodes <= self._free.keys()

    def take(self, need: Need, places: Places) -> None:
        self._take(self._free, need, places)

    def place(self, need: Need) -> Places | None:
        """Where a trial fits now; None where it does not. Nothing is taken yet."""
        return _place(self._free, need)

    def hold(self, need: Need) -> bool:
        """Keep room for a trial that must wait for it; False where even empty nodes have none.

        The room is on the nodes that have most of it free already.
        """

        def soonest(name: str) -> tuple[int, bool, int]:
            free = self._free[name]
            return -min(free.slots(need), need.workers), _wastes_gpus(free, need), room[name]

        room = _rooms(self._unheld, need)
        chosen = _spread(room, sorted(room, key=soonest), need.workers)
        if not chosen:
            return False
        places = Places(tuple(chosen), max(self._free, key=lambda name: self._free[name].memory))
        self._take(self._unheld, need, places)
        self._take(self._free, need, places)
        return True

    def closed(self, need: Need) -> set[str]:
        """The nodes that would do for a trial, but have no room left for it that is not spoken for."""
        able = {key for key, one in self._free.items() if need.accepts(one.node.labels) and slots(one.node, need)}
        return {key for key in able if not self._free[key].slots(need) or _wastes_gpus(self._free[key], need)}

    @staticmethod
    def _take(free: Mapping[str, _Free], need: Need, places: Places) -> None:
        for key in places.workers:
            free[key].take(need)
        if places.driver is not None:
            free[places.driver].memory -= DRIVER_BYTES


def _rooms(free: Mapping[str, _Free], need: Need) -> dict[str, int]:
    """The nodes that will do and have room for a worker, each with how many."""
    accepted = {name: one for name, one in free.items() if need.accepts(one.node.labels)}
    return {name: count for name, one in accepted.items() if (count := one.slots(need))}


def _wastes_gpus(free: _Free, need: Need) -> bool:
    """Whether a trial without GPUs would sit on the cores of a node that has some."""
    return bool(free.gpus) and not need.gpus


def _spread(room: Mapping[str, int], order: Sequence[str], workers: int) -> list[str]:
    """The node of each worker: the first that holds them all, else one after another. Empty without room."""
    chosen: list[str] = []
    whole = next((name for name in order if room[name] >= workers), None)
    for name in order if whole is None else [whole]:
        chosen += [name] * min(room[name], workers - len(chosen))
    return chosen if len(chosen) == workers else []


def _place(free: Mapping[str, _Free], need: Need) -> Places | None:
    room = _rooms(free, need)
    whole = any(count >= need.workers for count in room.values())

    def tightest(name: str) -> tuple[bool, int, float]:
        # All on one node: where least is left over. On several: as few as possible.
        return _wastes_gpus(free[name], need), room[name] if whole else -room[name], free[name].cpus

    chosen = _spread(room, sorted(room, key=tightest), need.workers)
    if not chosen:
        return None
    left = {name: one.memory - need.memory * chosen.count(name) for name, one in free.items()}
    driver = max(left, key=lambda name: left[name])
    return Places(tuple(chosen), driver) if left[driver] >= DRIVER_BYTES else None


@dataclass(frozen=True, slots=True)
class Running:
    """A trial that was started; ``places`` is None while nobody knows where."""

    need: Need
    places: Places | None
    has_begun: bool = True  # its workers hold their places; else they are meant to


@dataclass(frozen=True, slots=True)
class Start:
    """A waiting trial that can start now, by its number.

    ``closed`` are nodes that Ray, which places the workers, must not use: their room is taken, kept for a trial that
    waits, or meant for one of another kind that has not begun. Those of its own kind may change places with it.
    """

    number: int
    places: Places
    closed: tuple[str, ...] = ()


def starts(nodes: Iterable[Node], running: Sequence[Running], waiting: Sequence[Need]) -> list[Start]:
    """The waiting trials that can start now, and where.

    Args:
        waiting: in the order in which they should start. The first of each need that finds no room
            keeps it, and those of other needs behind it get what is left.
    """
    room = Room(nodes)
    lost = []
    for trial in running:
        if trial.places is not None and room.knows(trial.places):
            room.take(trial.need, trial.places)
        else:
            lost.append(trial.need)
    for need in lost:  # it will be somewhere, or waits for a node to come back
        places = room.place(need)
        if places is not None:
            room.take(need, places)
        else:
            room.hold(need)
    found: list[tuple[int, Places]] = []
    blocked: set[Need] = set()
    for number, need in enumerate(waiting):
        if need in blocked:
            continue
        places = room.place(need)
        if places is None:
            room.hold(need)
            blocked.add(need)
        else:
            room.take(need, places)
            found.append((number, places))
    meant: defaultdict[Need, set[str]] = defaultdict(set)
    for trial in running:
        if trial.places is not None and not trial.has_begun:
            meant[trial.need].update(trial.places.workers)
    for number, places in found:
        meant[waiting[number]].update(places.workers)
    closed = {need: tuple(sorted(room.closed(need) - meant[need])) for need in {waiting[number] for number, _ in found}}
    return [Start(number, places, closed[waiting[number]]) for number, places in found]


def slots(node: Node, need: Need) -> int:
    """Workers of a kind that fit on a node while it is empty."""
    return _Free.of(node).slots(need)


def at_once(nodes: Sequence[Node], need: Need, most: int) -> int:
    """How many trials of a kind run side by side on empty nodes, counted up to ``most``."""
    room = Room(nodes)
    for count in range(most):
        places = room.place(need)
        if places is None:
            return count
        room.take(need, places)
    return most


def timetable(
    nodes: Sequence[Node], work: Sequence[tuple[Need, float]], limit: int | None = None
) -> list[tuple[float, float] | None]:
    """When each of several trials starts and ends, with its need and its seconds, if they are started in this order.

    None for one that fits nowhere: it waits for a node that is not there.

    Args:
        limit: trials at once, if there is one.
    """
    times: list[tuple[float, float] | None] = [None] * len(work)
    waiting = [number for number, (need, _) in enumerate(work) if at_once(nodes, need, 1)]
    running: list[tuple[float, int, Running]] = []
    now = 0.0
    while waiting or running:
        free = len(waiting) if limit is None else limit - len(running)
        found = starts(nodes, [one for *_, one in running], [work[number][0] for number in waiting])[:free]
        for number, places in [(waiting[start.number], start.places) for start in found]:
            need, seconds = work[number]
            times[number] = now, now + seconds
            heapq.heappush(running, (now + seconds, number, Running(need, places)))
        waiting = [number for number in waiting if times[number] is None]
        now = heapq.heappop(running)[0]
    return times


def makespan(nodes: Sequence[Node], work: Sequence[tuple[Need, float]], limit: int | None = None) -> float:
    """When the last of the trials ends that fit somewhere; else as :func:`timetable`."""
    return max((times[1] for times in timetable(nodes, work, limit) if times is not None), default=0.0)
