"""What the analysis of a sweep works on: the trained cells of one data set, by size and mix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from xling.report.rows import Headline, Ratio, ScoreRow, StoppedRow, in_order, ratios_of

Point = tuple[str, Ratio]  # a size and a mix: what seeds are averaged within

DEV = "dev"  # the name of the figure that cells are chosen by
MONOLINGUAL, CROSS_LINGUAL = Ratio(1.0), Ratio(0.0)


@dataclass(frozen=True, slots=True, eq=False)
class CellValues:
    """One trained cell, or baseline, on one data set, with what its training took. None: not known.

    Attributes:
        per_query: as ``EvaluationResult.per_query``, at least the columns of the keys and of the measures
            that are asked about.
        variant: what the grid varies beside size, mix and seed; part of ``row.size`` too.
        parameters_non_embedding: those outside embedding tables.
        examples: pairs trained on, each as often as it was given.
        tokens: of queries and passages, without padding.
        wall_seconds: spent in optimiser steps.
        flops: 6 x non-embedding parameters x tokens.
        trained: the languages trained on; none where that is not known.
        more: figures beside the headline, by name: pairs that are asked about (``mAP/ar-en``), means over pairs by
            whether their languages were trained on (report/groups.py).
    """

    row: ScoreRow
    per_query: pa.Table | None = None
    variant: str = ""
    parameters: int | None = None
    parameters_non_embedding: int | None = None
    examples: int | None = None
    tokens: float | None = None
    wall_seconds: float | None = None
    flops: float | None = None
    trained: frozenset[str] = frozenset()
    more: Headline = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of every cell that the analysis is about, by the evaluator's name (``mAP/Mo``, ``mAP/ar-en``)."""

    name: str
    title: str
    digits: int = 3
    less_is_better: bool = False

    @property
    def slug(self) -> str:
        """For names of files."""
        return self.name.rpartition("/")[2].lower().replace("_", "-")

    @property
    def measure(self) -> str:
        """The column of per-query tables that it is a mean of."""
        return self.name.partition("/")[0]

    @property
    def group(self) -> str:
        """What that mean is over: ``Mo``, ``Cr``, ``Mul``, ``Cr_same_script``, a pair."""
        return self.name.partition("/")[2] or "Mul"


class SweepValues:
    """The cells of one data set, in the sweep's order."""

    def __init__(
        self, cells: Sequence[CellValues], stopped: Sequence[StoppedRow] = (), expected: Sequence[Point] = ()
    ) -> None:
        """``expected``: points of the grid, also of those that have no cell yet."""
        self.cells = tuple(cell for cell in cells if cell.row.alpha is not None)
        self.baselines = tuple(cell for cell in cells if cell.row.alpha is None)
        self.stopped = tuple(stopped)
        self.rows = tuple(cell.row for cell in cells)
        self._expected = tuple(expected)

    @cached_property
    def _by_point(self) -> dict[Point, list[CellValues]]:
        found: dict[Point, list[CellValues]] = {}
        for size in in_order(cell.row.size for cell in self.cells):
            for ratio in self.ratios:
                at = [cell for cell in self.cells if cell.row.size == size and cell.row.ratio == ratio]
                if at:
                    found[size, ratio] = at
        return found

    @cached_property
    def ratios(self) -> list[Ratio]:
        return ratios_of([cell.row for cell in self.cells])

    @property
    def hybrids(self) -> list[Ratio]:
        """Mixes of both kinds of batches: alpha strictly between 0 and 1, and schedules."""
        return [ratio for ratio in self.ratios if ratio.schedule or 0 < ratio.alpha < 1]

    @property
    def points(self) -> list[Point]:
        """Sizes and mixes with at least one cell."""
        return list(self._by_point)

    @property
    def missing(self) -> list[Point]:
        """Points of the grid without any cell; those that early stopping ended are among them."""
        grid = in_order_points([*self.points, *self._expected, *((row.size, row.ratio) for row in self.stopped)])
        return [point for point in grid if point not in self._by_point]

    @cached_property
    def ladders(self) -> list[list[str]]:
        """Sizes that are compared with each other, by parameters, smallest first.

        They are those of one variant: a size trained at one batch size is not held against another at a second.
        Sizes of unknown or equal parameters keep the sweep's order.
        """
        found: dict[str, list[str]] = {}
        for size, _ in self._by_point:
            sizes = found.setdefault(self.variant(size), [])
            if size not in sizes:
                sizes.append(size)
        return [sorted(sizes, key=lambda size: self.parameters(size) or math.inf) for sizes in found.values()]

    def variant(self, size: str) -> str:
        return next(cell.variant for cell in self.cells if cell.row.size == size)

    def at(self, point: Point) -> list[CellValues]:
        """The cells of a point, one a seed."""
        return self._by_point.get(point, [])

    def parameters(self, size: str) -> int | None:
        """Outside embedding tables."""
        return next((cell.parameters_non_embedding for cell in self.cells if cell.row.size == size), None)

    def seeds(self, figure: Figure, point: Point) -> dict[int, float]:
        """A figure by seed, of the cells of a point that have it."""
        found = {cell.row.seed: figure_of(cell, figure) for cell in self.at(point)}
        return {seed: value for seed, value in found.items() if value is not None and not math.isnan(value)}

    def start(self, figure: Figure, size: str) -> float | None:
        """A figure of the weights that a size starts from."""
        return next((figure_of(cell, figure) for cell in self.baselines if cell.row.size == size), None)


def in_order_points(points: Sequence[Point]) -> list[Point]:
    """Distinct points as they first come."""
    return list(dict.fromkeys(points))


def figure_of(cell: CellValues, figure: Figure) -> float | None:
    """A cell's figure; None where it has not got it."""
    if figure.name == DEV:
        return cell.row.dev
    return cell.row.headline.get(figure.name, cell.more.get(figure.name))


def figures_of(rows: Sequence[ScoreRow], pairs: Sequence[str] = ()) -> list[Figure]:
    """What a data set is analysed by: Mo., Cr. and Mul. of mAP, or of what it is published with; rank distance; pairs.

    Args:
        pairs: pairs of languages besides, ``ar-en``.
    """
    known = {name for row in rows if row.alpha is not None for name in row.headline}
    lead = "mAP" if any(name.startswith("mAP/") for name in known) else next((n for r in rows for n in r.published), "")
    means = [Figure(f"{lead}/{mean}", f"{mean}.") for mean in ("Mo", "Cr", "Mul") if f"{lead}/{mean}" in known]
    distance = [Figure("rank_distance", "rank distance", 1, less_is_better=True)] if "rank_distance" in known else []
    return [*means, *distance, *(Figure(f"{lead}/{pair}", pair) for pair in pairs)]


def point_text(point: Point) -> str:
    """``mid at alpha 0.5``."""
    return f"{point[0]} at alpha {point[1]}"
