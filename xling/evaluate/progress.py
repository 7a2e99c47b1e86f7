"""What an evaluation tells while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is.

    ``done`` of ``total`` texts are encoded, or pairs scored (pool rows included); for a search by
    shards, products of queries and passages. ``left`` is how many seconds the stage will take at the
    rate so far, None where nothing is known yet.
    """

    stage: str
    done: int
    total: int
    left: float | None = field(default=None, compare=False)


Report = Callable[[Progress], None]


@dataclass
class Clock:
    """Tells how far a stage is, and how long the rest takes at the rate so far."""

    tell: Report
    stage: str
    started: float = field(default_factory=time.monotonic)

    def at(self, done: int, total: int) -> None:
        passed = time.monotonic() - self.started
        self.tell(Progress(self.stage, done, total, passed / done * (total - done) if done else None))
