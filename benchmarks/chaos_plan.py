"""What ``chaos.py`` kills and when, and what it hears of the sweep meanwhile. No process is touched here."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("worker", "driver", "sweep", "node", "server")
WAIT_S = (0.0, 10.0)
_SHARE = 0.7  # of all steps: the last kill is due before the last cell ends
_STARTS_ONE_IN = 4  # at most so many of the kills hit a start-up


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill to come."""

    kind: str
    after: int  # steps completed for the first time, of all cells, since the kill before
    at_start: bool  # during a start-up, if there is one within ``after`` steps
    wait: float  # seconds that a start-up has lasted by then, or until a killed MLflow server is started again
    pick: int  # chooses among several victims


def plan_kills(seed: int, count: int, steps: int) -> list[Kill]:
    """The kills of a run: every kind equally often, in a seeded order, at seeded distances.

    A start-up is hit only where the kill before makes one follow.

    Args:
        steps: of all jobs together, without repetitions.
    """
    rng = random.Random(seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    rng.shuffle(kinds)
    shares = [rng.uniform(0.2, 1.8) for _ in kinds]
    starts_follow = [
        number
        for number, kind in enumerate(kinds)
        if kind != "server" and (number == 0 or kinds[number - 1] != "server")
    ]
    at_start = rng.sample(starts_follow, min(count // _STARTS_ONE_IN, len(starts_follow)))
    return [
        Kill(
            kind,
            after=max(1, int(_SHARE * steps * share / sum(shares))),
            at_start=number in at_start,
            wait=rng.uniform(*WAIT_S),
            pick=rng.randrange(1_000_000),
        )
        for number, (kind, share) in enumerate(zip(kinds, shares, strict=True))
    ]


@dataclass
class Progress:
    """What the events of all launches of a sweep tell."""

    completed: int = 0  # steps, each counted once
    _phase: dict[str, str] = field(default_factory=dict)
    _furthest: dict[str, int] = field(default_factory=dict)

    def launch(self) -> None:
        """A new launch begins: no job has started in it."""
        self._phase.clear()

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one progress event."""
        job, phase = event["job"], event["phase"]
        if phase == "training" and "note" in event:  # said before the attempt knows its step
            return
        self._phase[job] = phase
        if phase != "training":
            return
        step = event["step"]
        furthest = self._furthest.get(job, 0)
        self.completed += max(0, step - furthest)
        self._furthest[job] = max(step, furthest)

    @property
    def starting(self) -> list[str]:
        """Jobs that have begun an attempt and not trained in it yet."""
        return sorted(job for job, phase in self._phase.items() if phase == "starting")

    @property
    def state(self) -> object:
        """Changes whenever something goes forward."""
        return self.completed, tuple(sorted(self._phase.items()))
