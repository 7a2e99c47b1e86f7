"""What the drivers of a sweep share, and how they leave early."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from xling.config.dev_measure import Name
from xling.config.schema import EarlyStoppingConfig
from xling.sweep.cells import Outcome
from xling.train.rungs import RungSpec


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
    early_stopping: dict[str, Any] | None = None  # an EarlyStoppingConfig
    system_metrics: bool = False  # whether the driver's machine is watched
    log_models: str = "none"  # which trained models go to MLflow: small, all, none
    min_free: int = 0  # bytes that stay free on the storage
    sweep_id: str = ""  # by which the sweep's run in MLflow is told from others of its name

    def rungs(self, group: str, cell: str, measure: Name, *, stops: bool) -> dict[str, Any] | None:
        """A cell's RungSpec for its workers; None without early stopping, or a group to compare it with."""
        if not group or self.early_stopping is None:
            return None
        config = EarlyStoppingConfig.model_validate(self.early_stopping)
        folder = f"{self.sweep}/rungs/{group}"
        return asdict(RungSpec(folder, cell, config.milestones, config.reduction_factor, stops, measure))


class Stopped(Exception):
    """The workers left early, as they were asked to, or by early stopping, which says why."""

    def __init__(self, outcome: Outcome, reason: str = "") -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.reason = reason
