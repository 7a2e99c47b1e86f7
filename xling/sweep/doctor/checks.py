"""What a check is: probes, which run on the nodes, and a judge, which holds their answers against each other.

A group of checks is a module, named in ``MODULES``. Adding a check is one function under :func:`check`, and one under
:func:`probe` where no probe tells yet what it needs. Probes travel to the nodes by value (asking.py), since a node may
have another xling, or none: they import what they need inside, and take and return plain values.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from xling.sweep.placing.packing import Node

MODULES = ("nodes", "packages", "gpus", "storage", "tracking", "inputs", "machines")  # in the order they are shown
CALLER = "this process"

Order = Mapping[str, Any]  # what a probe is told: see Subject.order_for
Probe = Callable[[Order], Any]


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge makes of the answers."""

    state: State
    seen: str
    fix: str = ""  # the check's own where it is empty
    nodes: tuple[str, ...] = ()  # those it is about, where it is not about all
    stops: bool = True  # whether a failure is a reason not to launch


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a node's clock is ahead of the caller's, in seconds, and how far that may be off."""

    ahead: float
    within: float


@dataclass(frozen=True)
class Answers:
    """What the nodes said."""

    subject: Any  # a Subject; it stands below, and reads models and data
    nodes: tuple[Node, ...]  # those that were asked; the caller offers nothing of its own
    values: Mapping[str, Mapping[str, Any]]  # by probe, by node
    errors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # likewise, of probes that raised
    silent: Mapping[str, str] = field(default_factory=dict)  # nodes that did not answer, and why
    clocks: Mapping[str, Clock] = field(default_factory=dict)

    def of(self, probe: Probe) -> dict[str, Any]:
        """A probe's values, by node, of the nodes that it ran on."""
        return dict(self.values.get(probe.__name__, {}))

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


Key = TypeVar("Key")
Judge = Callable[[Answers], Verdict]


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a cluster."""

    group: str
    name: str
    why: str  # it matters
    fix: str  # in general
    probes: tuple[Probe, ...]  # whose errors are failures of this check
    judge: Judge
    quick: bool  # whether it is part of what runs before every launch


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's outcome, as it is shown."""

    group: str
    check: str
    state: State
    seen: str
    why: str
    fix: str
    nodes: tuple[str, ...]
    stops: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """When and by whom a probe is run."""

    run: Probe
    round: int
    by_caller: bool


_checks: list[Check] = []
_probes: dict[str, _Asked] = {}


def probe(*, round: int = 1, by_caller: bool = False) -> Callable[[Probe], Probe]:
    """Decorator: a function that runs on the nodes. A round begins when all nodes have ended the one before.

    Args: by_caller: whether the process that asks, itself on one of the nodes, runs it as well.
    """

    def remember(function: Probe) -> Probe:
        if function.__name__ in _probes:
            raise ValueError(f"two probes are named {function.__name__}")
        _probes[function.__name__] = _Asked(function, round, by_caller)
        return function

    return remember


def check(
    name: str, *, why: str, fix: str, probes: Iterable[Probe] = (), quick: bool = False
) -> Callable[[Judge], Judge]:
    """Decorator: a function that judges the answers of ``probes``."""

    def remember(judge: Judge) -> Judge:
        group = judge.__module__.rpartition(".")[2]
        if any((known.group, known.name) == (group, name) for known in _checks):
            raise ValueError(f"two checks of {group} are named {name!r}")
        _checks.append(Check(group, name, why, fix, tuple(probes), judge, quick))
        return judge

    return remember


@cache
def _load_modules() -> None:
    for module in MODULES:
        importlib.import_module(f"{__package__}.{module}")


def all_checks(*, quick: bool = False) -> list[Check]:
    """The checks in the order they are shown; with ``quick`` those that run before a launch."""
    _load_modules()
    chosen = [one for one in _checks if one.quick or not quick]
    return sorted(chosen, key=lambda one: MODULES.index(one.group))


def rounds_of(checks: Iterable[Check], *, by_caller: bool = False) -> list[dict[str, Probe]]:
    """The probes that some checks need, by name, round by round; with ``by_caller`` only what the caller runs."""
    needed = {function.__name__: _probes[function.__name__] for one in checks for function in one.probes}
    numbers = sorted({asked.round for asked in needed.values()})
    run = {name: asked for name, asked in needed.items() if asked.by_caller or not by_caller}
    return [{name: asked.run for name, asked in run.items() if asked.round == number} for number in numbers]


def judge_all(checks: Iterable[Check], answers: Answers) -> list[Finding]:
    """Each check's finding. A probe that raised on a node is a failure of the checks that name it."""
    return [_finding(one, answers) for one in checks]


def _finding(one: Check, answers: Answers) -> Finding:
    raised = {node: text for probe in one.probes for node, text in answers.errors.get(probe.__name__, {}).items()}
    if raised:
        seen = "; ".join(f"{node}: {text}" for node, text in raised.items())
        verdict = Verdict(State.FAILED, seen, nodes=tuple(raised))
    else:
        verdict = one.judge(answers)
    fix = "" if verdict.state in (State.OK, State.NOT_APPLICABLE) else verdict.fix or one.fix
    return Finding(one.group, one.name, verdict.state, verdict.seen, one.why, fix, verdict.nodes, verdict.stops)


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for a sentence, cut where they are many."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def by_value(values: Mapping[Key, Any]) -> dict[Any, list[Key]]:
    """The nodes (or what else the keys are) of each value, the most frequent value first."""
    found: dict[Any, list[Key]] = {}
    for key, value in values.items():
        found.setdefault(value, []).append(key)
    return dict(sorted(found.items(), key=lambda entry: -len(entry[1])))
