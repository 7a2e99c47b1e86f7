"""What a sweep's tables are made of: one row for each cell and data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import NamedTuple

from xling.config.dev_measure import MAP, DevMeasure

START = "start"  # the column, row or label of the weights that a size starts from

Headline = Mapping[str, float]
Shares = tuple[float, float, float]  # of monolingual, cross-lingual and mixed monolingual batches


class Ratio(NamedTuple):
    """How much of the training was monolingual: what cells of one size are told apart by.

    Two schedules of one mean are two ratios.
    """

    alpha: float  # of a schedule, its mean over the budget
    schedule: str = ""  # its spelling; empty where the share is constant

    def __str__(self) -> str:
        return self.schedule or f"{self.alpha:g}"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One trained cell, or baseline (``alpha`` None), on one data set.

    ``headline`` and each of ``strata`` go by the evaluator's names: ``mAP/Mo``, ``rank_distance``, …
    ``published`` names the measures that the data set is published with. ``schedule`` spells how alpha
    changes; alpha is then its mean. ``by_pairs`` holds the leading measure over cross-lingual pairs by
    whether they were trained on (report/composition.py). ``checkpoint`` is the hub's id of the weights it
    was fine-tuned from, empty for others.
    """

    label: str
    size: str
    alpha: float | None
    seed: int
    dataset: str
    headline: Headline
    strata: Mapping[str, Headline] = field(default_factory=dict)
    dev: float | None = None
    published: tuple[str, ...] = ()
    schedule: str = ""
    by_pairs: Headline = field(default_factory=dict)
    measure: DevMeasure = MAP  # what ``dev`` is of
    dev_set: str = ""  # fingerprint of the dev set that ``dev`` was measured on
    languages: int = 0  # how many the means are over
    part: bool = False  # whether only some of the data set's articles or items were scored
    checkpoint: str = ""
    shares: Shares | None = None  # None also of a schedule, which nobody has published figures of

    @property
    def ratio(self) -> Ratio | None:
        """None of a baseline."""
        return None if self.alpha is None else Ratio(self.alpha, self.schedule)


@dataclass(frozen=True, slots=True)
class StoppedRow:
    """A cell that early stopping ended: it has no scores, and belongs in no table."""

    label: str
    size: str
    alpha: float
    reason: str
    schedule: str = ""

    @property
    def ratio(self) -> Ratio:
        return Ratio(self.alpha, self.schedule)


@dataclass(frozen=True, slots=True)
class Mean:
    """A figure over the seeds of one size and ratio."""

    value: float
    spread: float | None  # sample standard deviation, None for one seed
    seeds: int


def in_order(values: Iterable[str]) -> list[str]:
    """Distinct values as they first come."""
    return list(dict.fromkeys(values))


def sizes_of(rows: Sequence[ScoreRow]) -> list[str]:
    """Sizes in the sweep's order: cells first, since baselines of all sizes come before them."""
    return in_order(row.size for row in rows)


def ratios_of(rows: Sequence[ScoreRow]) -> list[Ratio]:
    """The ratios swept, ascending, a constant one before schedules of that mean; without the baselines."""
    return sorted({row.ratio for row in rows if row.ratio is not None})


def mean_of(
    rows: Sequence[ScoreRow], size: str, ratio: Ratio | None, figure: Callable[[ScoreRow], float | None]
) -> Mean | None:
    """The mean of a figure over the seeds; None where no cell has it."""
    found = [row for row in rows if row.size == size and row.ratio == ratio]
    values = [value for row in found if (value := figure(row)) is not None]
    if not values:
        return None
    return Mean(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def headline(name: str, stratum: str | None = None) -> Callable[[ScoreRow], float | None]:
    """Reads a figure of the headline, or of one stratum's."""

    def read(row: ScoreRow) -> float | None:
        source = row.headline if stratum is None else row.strata.get(stratum, {})
        return source.get(name)

    return read


def measured_on_dev(rows: Iterable[ScoreRow]) -> list[DevMeasure]:
    """What was measured on dev, each measure once."""
    return list(dict.fromkeys(row.measure for row in rows if row.dev is not None))


def dev_sets_of(rows: Iterable[ScoreRow]) -> list[str]:
    """The dev sets that were measured on, each once: values on two cannot be compared, one may be easier."""
    return in_order(row.dev_set for row in rows if row.dev is not None)


def dev_problem(rows: Sequence[ScoreRow]) -> str:
    """Why rows cannot be compared by what was measured on dev; empty where they can."""
    measures, sets = measured_on_dev(rows), dev_sets_of(rows)
    if not measures:
        return "no cell was measured on dev"
    if len(measures) > 1:
        return "the cells were measured on dev in several ways"
    return f"the cells were measured on {len(sets)} dev sets, of different training data" if len(sets) > 1 else ""


def chosen_on_dev(rows: Sequence[ScoreRow]) -> ScoreRow | None:
    """The trained cell with the best dev measure: the one whose test figures may be quoted.

    None where none was measured, or not all by the same measure on the same dev set.
    """
    trained = [row for row in rows if row.alpha is not None]
    if dev_problem(trained):
        return None
    measured = [(row.dev, row) for row in trained if row.dev is not None]
    best = measured[0][1].measure.ranked(dev for dev, _ in measured)[0]
    return next(row for dev, row in measured if dev == best)
