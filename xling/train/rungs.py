"""Early stopping by asynchronous successive halving (ASHA, Li et al. 2020, arXiv 1810.05934).

A *rung* is what the cells of a group had on dev when they came to a milestone:

    <sweep>/rungs/<group>/<milestone>/<cell id>.json    value, step and what was decided

Nobody waits for anybody: a cell is held against those that were there before it. What was decided
once stands, so a cell that died and comes by again is told the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, NotRequired

from typing_extensions import TypedDict

from xling.config.dev_measure import DevMeasure, Name
from xling.storage import Storage
from xling.stored_json import DamagedFile

_SHARES = {2: "half", 3: "third", 4: "quarter", 5: "fifth"}


@dataclass(frozen=True, slots=True)
class RungSpec:
    """What a worker needs to know of early stopping, plain."""

    folder: str  # the group's, below the storage's root
    cell: str
    milestones: tuple[float, ...]  # shares of the budget
    reduction_factor: int
    stops: bool = True  # False: the cell was asked for, its values are kept but it goes on
    measure: Name = "mAP"  # that the values are of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided of a cell at a milestone, and by what."""

    value: float
    cells: int  # that were there, itself among them
    cutoff: float | None  # what it had to reach; None when it was the first
    goes_on: bool


class _Decided(TypedDict):
    """A :class:`Verdict`."""

    value: float
    cells: int
    cutoff: float | None
    goes_on: bool


class _Entry(TypedDict):
    """A cell's file in a rung."""

    value: float
    step: int
    decision: NotRequired[_Decided]
    reduction_factor: NotRequired[int]


def decide(value: float, rivals: Sequence[float], reduction_factor: int, measure: DevMeasure) -> Verdict:
    """Whether ``value`` is among the best 1/reduction_factor of all values so far, itself among them.

    At least one place is free, however few there are, and a tie goes on. This is ASHA's own
    ``top_k(rung, |rung| / eta)``, decided once, when the cell arrives.
    """
    cells = len(rivals) + 1
    places = max(1, cells // reduction_factor)
    if len(rivals) < places:
        return Verdict(value, cells, None, True)
    cutoff = measure.ranked(rivals)[places - 1]
    return Verdict(value, cells, cutoff, measure.reaches(value, cutoff))


def milestone_steps(milestones: Sequence[float], total_steps: int) -> dict[int, float]:
    """The steps after which a cell is held against the others, with their milestones.

    Rounded up; a budget so small that a milestone falls on its end has none there, and of two on
    one step the later counts.
    """
    steps = {math.ceil(Fraction(repr(share)) * total_steps): share for share in milestones}
    return {step: share for step, share in steps.items() if step < total_steps}


class Rungs:
    """The rungs of one cell's group, as that cell sees them."""

    def __init__(self, root: Storage, spec: RungSpec, total_steps: int, tell: Callable[[str], None]) -> None:
        """Args: tell: of a file that was passed over."""
        self._tell = tell
        self._root = root
        self._spec = spec
        self._measure = DevMeasure(spec.measure)
        self._milestones = milestone_steps(spec.milestones, total_steps)

    @property
    def steps(self) -> frozenset[int]:
        """After which of its steps the cell is held against the others."""
        return frozenset(self._milestones)

    def arrive(self, step: int, value: float | None) -> str | None:
        """Record what the cell has after a milestone's step; why it must stop there, None when it goes on.

        Args:
            value: on dev; None when it goes on from a checkpoint of that step, written after the decision.
        """
        milestone = self._milestones[step]
        folder, file = f"{self._spec.folder}/{milestone!r}", f"{self._spec.cell}.json"
        kept = self._read(f"{folder}/{file}")
        if kept is None and value is not None:
            kept = {"value": value, "step": step}
            # Before looking at the others: of two that come at once each sees the other, or one of them does.
            self._root.write_json(f"{folder}/{file}", kept)
        if kept is None or not self._spec.stops:
            return None
        if "decision" not in kept:
            others = [name for name in self._root.list(folder) if name != file]
            rivals = [other["value"] for name in others if (other := self._read(f"{folder}/{name}")) is not None]
            kept["decision"] = asdict(decide(kept["value"], rivals, self._spec.reduction_factor, self._measure))
            kept["reduction_factor"] = self._spec.reduction_factor
            self._root.write_json(f"{folder}/{file}", kept)
        verdict = Verdict(**kept["decision"])
        return None if verdict.goes_on else self._reason(verdict, milestone, kept["reduction_factor"])

    def _reason(self, verdict: Verdict, milestone: float, reduction_factor: int) -> str:
        assert verdict.cutoff is not None, "only a rival can stop a cell"
        measure, share = self._measure, best_share(reduction_factor)
        return (
            f"early stopping: {measure.title} {verdict.value:.4f} after {as_percent(milestone)} of its steps; to go on "
            f"it had to be {measure.at_its_limit} {verdict.cutoff:.4f}, {share} of {verdict.cells} cells"
        )

    def _read(self, path: str) -> dict[str, Any] | None:
        try:
            entry: dict[str, Any] = self._root.read_json(path, _Entry)
        except FileNotFoundError:  # another cell's may go while we look: it starts from scratch
            return None
        except DamagedFile as error:
            self._tell(f"early stopping passes over a cell's value: {error.what}")
            return None
        return entry


def forget(root: Storage, sweep: str, cell: str) -> None:
    """Remove a cell's entries from all rungs of a sweep, whatever group it was in."""
    for group in root.list(f"{sweep}/rungs"):
        for milestone in root.list(f"{sweep}/rungs/{group}"):
            root.delete(f"{sweep}/rungs/{group}/{milestone}/{cell}.json")


def best_share(reduction_factor: int) -> str:
    """``the best third`` and the like."""
    return f"the best {_SHARES.get(reduction_factor, f'1/{reduction_factor}')}"


def as_percent(milestone: float) -> str:
    return f"{100 * milestone:.4g} %"
