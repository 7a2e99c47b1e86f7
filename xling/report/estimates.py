"""Figures of a sweep's points, and sums and differences of them, each with its interval.

Three seeds or more: a t-interval on the seeds' values. Of a sum over several points, the sum is taken within each
seed first: what a seed has in common between cells (the batches' random numbers, at one size the fresh weights)
cancels out of a difference, and what is left of it between seeds is all the error that there is. No variance is
assumed to be equal anywhere. Only seeds that all points have count.

Fewer: the interval is over questions (report/questions.py), for these trained models. It says nothing of what
another seed would give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from xling.evaluate.significance import CONFIDENCE, holm
from xling.report.cell_values import DEV, Figure, Point, SweepValues
from xling.report.questions import RESAMPLES, QuestionValues
from xling.report.significance import LEVEL, p_value
from xling.report.tables import number, signed_number

FEWEST_SEEDS = 3
_ROUNDING = 1e-13  # of the largest term: what may be left of terms that cancel out

Combination = Mapping[Point, float]  # the weight of each point


class Basis(StrEnum):
    """What an interval is over."""

    SEEDS = "seeds"
    QUESTIONS = "questions"
    NONE = "none"  # there is no interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval; ``p`` is two-sided, of the value's being 0. NaN where there is none."""

    value: float
    seeds: int
    basis: Basis = Basis.NONE
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan  # corrected over the family it was tested in

    @property
    def decided(self) -> bool:
        """Whether chance does not explain that it is not 0: by the corrected p-value where there is one."""
        return (self.p if math.isnan(self.p_holm) else self.p_holm) < LEVEL

    def interval_text(self, digits: int, *, sign: bool = False) -> str:
        """``.12 … .34``; a dash without an interval."""
        if math.isnan(self.low):
            return "–"
        text = signed_number if sign else number
        return f"{text(self.low, digits)} … {text(self.high, digits)}"

    def with_interval(self, digits: int, *, sign: bool = False) -> str:
        """``.21 [.12, .34]``; the value alone without an interval."""
        text = signed_number if sign else number
        value = text(self.value, digits)
        return value if math.isnan(self.low) else f"{value} [{text(self.low, digits)}, {text(self.high, digits)}]"

    def basis_text(self) -> str:
        """``3 seeds``; ``questions (1 seed)``; a dash without an interval."""
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        return {Basis.SEEDS: seeds, Basis.QUESTIONS: f"questions ({seeds})"}.get(self.basis, f"– ({seeds})")

    def p_texts(self) -> list[str]:
        """The p-value and the corrected one."""
        return ["–" if math.isnan(p) else p_value(p) for p in (self.p, self.p_holm)]


class Estimates:
    """Estimates from one data set's cells. The same seed gives the same numbers."""

    def __init__(self, sweep: SweepValues, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.sweep = sweep
        self._questions = QuestionValues(resamples, seed)
        self._curves: dict[Figure, dict[Point, Estimate]] = {}

    def curve(self, figure: Figure) -> Mapping[Point, Estimate]:
        """A figure at every point that has it; computed once, since several sections show it."""
        if figure not in self._curves:
            points = self.sweep.points
            found = self.of(figure, [{point: 1.0} for point in points])
            self._curves[figure] = {p: e for p, e in zip(points, found, strict=True) if e is not None}
        return self._curves[figure]

    def of(self, figure: Figure, sums: Sequence[Combination]) -> list[Estimate | None]:
        """Of each weighted sum of points; None where some point lacks the figure."""
        found: list[Estimate | None] = []
        labels: dict[int, dict[str, float]] = {}  # by place, of those whose interval is over questions
        terms: dict[int, list[float]] = {}
        for place, one in enumerate(sums):
            by_point = {point: self.sweep.seeds(figure, point) for point in one}
            if not all(by_point.values()):
                found.append(None)
                continue
            common = sorted(set.intersection(*(set(values) for values in by_point.values())))
            if len(common) >= FEWEST_SEEDS:
                found.append(from_seeds([added([one[p] * by_point[p][seed] for p in one]) for seed in common]))
                continue
            used = {point: common or sorted(values) for point, values in by_point.items()}
            terms[place] = [one[p] * sum(by_point[p][seed] for seed in used[p]) / len(used[p]) for p in one]
            found.append(Estimate(added(terms[place]), min(map(len, used.values()))))
            if figure.name != DEV:
                labels[place] = self._labels(one, used)
        intervals = self._questions.intervals(figure, list(labels.values()), self.sweep.cells)
        for place, interval in zip(labels, intervals, strict=True):
            estimate = found[place]
            if interval is not None and estimate is not None:
                low, high = (_settled(end, terms[place]) for end in interval[:2])
                found[place] = replace(estimate, basis=Basis.QUESTIONS, low=low, high=high, p=interval[2])
        return found

    def family(self, figure: Figure, sums: Sequence[Combination]) -> list[Estimate | None]:
        """The same, with p-values corrected for the number of sums."""
        found = self.of(figure, sums)
        tested = [place for place, estimate in enumerate(found) if estimate is not None and not math.isnan(estimate.p)]
        estimates = [estimate for place in tested if (estimate := found[place]) is not None]
        for place, estimate, p in zip(tested, estimates, holm([e.p for e in estimates]), strict=True):
            found[place] = replace(estimate, p_holm=p)
        return found

    def _labels(self, one: Combination, used: Mapping[Point, Sequence[int]]) -> dict[str, float]:
        """The weight of each cell in a weighted sum of points' means over seeds."""
        return {
            cell.row.label: weight / len(used[point])
            for point, weight in one.items()
            for cell in self.sweep.at(point)
            if cell.row.seed in used[point]
        }


def added(terms: Sequence[float]) -> float:
    """The sum of terms; 0 where they cancel out but for rounding, which is no difference, however often it comes."""
    return _settled(sum(terms), terms)


def _settled(value: float, terms: Iterable[float]) -> float:
    return 0.0 if abs(value) <= _ROUNDING * max(map(abs, terms)) else value


def from_seeds(values: Sequence[float]) -> Estimate:
    """The mean over seeds, with three or more its t-interval and p-value.

    Seeds that agree to the last digit leave no doubt.
    """
    from scipy.special import stdtr, stdtrit

    count, mean = len(values), float(np.mean(values))
    if count < FEWEST_SEEDS:
        return Estimate(mean, count)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    if error <= 1e-15 * max(map(abs, values)):
        return Estimate(mean, count, Basis.SEEDS, mean, mean, float(mean == 0))
    margin = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(count - 1, -abs(mean) / error))
    return Estimate(mean, count, Basis.SEEDS, mean - margin, mean + margin, p)


def difference(a: Point, b: Point) -> dict[Point, float]:
    """a - b."""
    return {a: 1.0, b: -1.0}


def basis_says(estimates: Sequence[Estimate | None]) -> str:
    """What the intervals of a section are over, and what is not claimed."""
    known = [estimate for estimate in estimates if estimate is not None]
    seeds = sorted({estimate.seeds for estimate in known if estimate.basis is Basis.SEEDS})
    parts = []
    if seeds:
        span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        parts.append(f"95 % intervals are t-intervals over {span} seeds.")
    if any(estimate.basis is Basis.QUESTIONS for estimate in known):
        which = "the other intervals" if seeds else "95 % intervals"
        parts.append(
            f"Fewer than {FEWEST_SEEDS} seeds: {which} are over questions, for these trained models; "
            "what other seeds would give is not known, and nothing is claimed of it."
        )
    if any(estimate.basis is Basis.NONE for estimate in known):
        parts.append("Where no interval stands there are neither seeds enough nor values by question of all its cells.")
    return " ".join(parts)


def pairs_of(ladder: Sequence[str]) -> list[tuple[str, str]]:
    """(larger, smaller): the largest size with each smaller one, the smallest first."""
    return [(ladder[-1], smaller) for smaller in ladder[:-1]]
