"""What is measured on dev, and which of two values is better: the one place that knows the direction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Name = Literal["mAP", "loss"]


@dataclass(frozen=True, slots=True)
class DevMeasure:
    """A measure with all its values depend on beside model and data: values of equal measures can be compared.

    ``temperature`` and ``pool`` are those of the loss, None for mAP.
    """

    name: Name = "mAP"
    temperature: float | None = None
    pool: int | None = None

    @property
    def lower_is_better(self) -> bool:
        return self.name == "loss"

    @property
    def title(self) -> str:
        """What columns and sentences call a value of it."""
        return "dev" if self.name == "mAP" else f"dev {self.name}"

    @property
    def key(self) -> str:
        """Its name in the records of steps and, behind ``train/``, in MLflow."""
        return self.title.replace(" ", "_")

    @property
    def at_its_limit(self) -> str:
        """How a value relates to one it must reach: ``at least``, ``at most``."""
        return "at most" if self.lower_is_better else "at least"

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value is better than another, not merely as good."""
        return value < other if self.lower_is_better else value > other

    def reaches(self, value: float, limit: float) -> bool:
        """Whether a value is as good as a limit, or better."""
        return not self.is_better(limit, value)

    def ranked(self, values: Iterable[float]) -> list[float]:
        """The values, the best first."""
        return sorted(values, reverse=not self.lower_is_better)


MAP = DevMeasure()
KEYS = tuple(DevMeasure(name).key for name in get_args(Name))
