"""What the drivers of a sweep share, and how they leave early."""

from __future__ import annotations

from dataclasses import dataclass

from xling.sweep.cells import Outcome


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """The same for all drivers of a sweep; plain values, sent to each of them."""

    storage: str  # URL of the storage's root
    sweep: str
    retries: int
    tracking_uri: str
    experiment: str
    artifacts: str | None  # where a database store keeps artifacts
    command: str  # that goes on with the sweep
    launched: float  # Unix seconds: what failed before is tried again, what failed since is not


class Stopped(Exception):
    """The workers left early, as they were asked to."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome
