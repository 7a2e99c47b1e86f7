"""What a sweep has scored, ranked by one figure, and where the best on dev stands there.

Ranking by the figures of a data set describes it and chooses nothing: a cell is chosen on dev.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xling.errors import ConfigError
from xling.report.rows import Mean, ScoreRow, chosen_on_dev, dev_problem, headline, in_order, mean_of, measured_on_dev
from xling.report.significance import LESS_IS_BETTER
from xling.report.tables import FIGURES, MEANS, Grid, alpha_text, lines, mean_text

DEV = "dev"
_SHORT = {mean.lower(): mean for _, mean in MEANS}  # mul is the leading measure's Mul
_NO_QUALITY = ("own_language_share_expected", "search_depth", "index_recall")  # of the data or the search, no model's


@dataclass(frozen=True, slots=True)
class Criterion:
    """The figure that is ranked by; ``name`` is the evaluator's, or ``dev``."""

    name: str
    title: str
    less_is_better: bool
    read: Callable[[ScoreRow], float | None]

    @property
    def digits(self) -> int:
        return next((digits for _, name, digits in FIGURES if name == self.name), 3)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A place: a size and ratio over its seeds, or a single cell; a baseline has alpha None."""

    place: int
    value: Mean
    rows: tuple[ScoreRow, ...]


def criterion(by: str, rows: Sequence[ScoreRow]) -> Criterion:
    """What the user asked to rank by, of the figures that the rows have.

    Raises:
        ConfigError: there is no such figure, or dev was measured in ways that cannot be compared.
    """
    if by.lower() == DEV:
        if problem := dev_problem(rows):
            raise ConfigError(f"--by is {by!r}, but {problem}: rank by a figure of the data set")
        (measure,) = measured_on_dev(rows)
        return Criterion(DEV, measure.title, measure.lower_is_better, lambda row: row.dev)
    known = [n for n in in_order(n for row in rows for n in row.headline) if n not in _NO_QUALITY]
    name = _resolved(by, known, rows)
    if name not in known:
        choices = [
            *(short for short, mean in _SHORT.items() if any(n.endswith(f"/{mean}") for n in known)),
            DEV,
            *known,
        ]
        near = difflib.get_close_matches(by, choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"--by is {by!r}, must be one of {', '.join(choices)}{hint}")
    title = next((title for title, figure, _ in FIGURES if figure == name), name)
    return Criterion(name, title, name in LESS_IS_BETTER, headline(name))


def _resolved(by: str, known: Sequence[str], rows: Sequence[ScoreRow]) -> str:
    """The evaluator's name of a short one: mAP's mean, else that of the measure the set is published with."""
    mean = _SHORT.get(by.lower())
    if mean is None:
        return by
    leading = ("mAP", *in_order(name for row in rows for name in row.published))
    return next((f"{measure}/{mean}" for measure in leading if f"{measure}/{mean}" in known), by)


def ranked(rows: Sequence[ScoreRow], of: Criterion, *, single_cells: bool = False) -> list[Ranked]:
    """The best first; equal ones in the sweep's order. What lacks the figure is left out.

    Args:
        single_cells: every cell for itself, not the mean over the seeds of a size and ratio.
    """
    groups = [(row,) for row in rows] if single_cells else _by_seeds(rows)
    found = []
    for group in groups:
        value = mean_of(group, group[0].size, group[0].ratio, of.read)
        if value is not None and not math.isnan(value.value):
            found.append((value, group))
    found.sort(key=lambda one: one[0].value if of.less_is_better else -one[0].value)
    return [Ranked(place, value, group) for place, (value, group) in enumerate(found, start=1)]


def _by_seeds(rows: Sequence[ScoreRow]) -> list[tuple[ScoreRow, ...]]:
    return [tuple(row for row in rows if (row.size, row.ratio) == (size, ratio)) for size, ratio, _ in lines(rows)]


def place_of_chosen(places: Sequence[Ranked], rows: Sequence[ScoreRow]) -> tuple[ScoreRow, int | None] | None:
    """The cell that is best on dev, and its place or that of its size and ratio; None without a choice on dev."""
    best = chosen_on_dev(rows)
    if best is None:
        return None
    return best, next((one.place for one in places if best in one.rows), None)


def ranking_grid(places: Sequence[Ranked], of: Criterion, *, single_cells: bool = False) -> Grid:
    """A line a place: the figure that is ranked by, then the usual ones."""
    rows = [row for one in places for row in one.rows]
    others = [f for f in FIGURES if f[1] != of.name and any(f[1] in row.headline for row in rows)]
    seeds = not single_cells and any(one.value.seeds > 1 for one in places)
    lead = ["place", "cell"] if single_cells else ["place", "size", "alpha"]
    headings = [*lead, of.title.replace("/", "\n"), *(["seeds"] if seeds else []), *(title for title, _, _ in others)]
    body = []
    for one in places:
        first = one.rows[0]
        name = [first.label] if single_cells else [first.size, alpha_text(first.ratio)]
        figures = [mean_text(mean_of(one.rows, first.size, first.ratio, headline(n)), d) for _, n, d in others]
        count = [str(one.value.seeds)] if seeds else []
        body.append([str(one.place), *name, mean_text(one.value, of.digits), *count, *figures])
    return headings, body


def ranking_records(places: Sequence[Ranked], of: Criterion, chosen: ScoreRow | None) -> list[dict[str, Any]]:
    """For JSON and CSV: a record a place, ``best_on_dev`` where the cell chosen on dev is in it."""
    found = []
    for one in places:
        first = one.rows[0]
        names = in_order(name for row in one.rows for name in row.headline)
        means = {name: mean_of(one.rows, first.size, first.ratio, headline(name)) for name in names}
        found.append(
            {
                "place": one.place,
                "size": first.size,
                "alpha": first.alpha,
                "schedule": first.schedule,
                "cells": " ".join(row.label for row in one.rows),
                "seeds": one.value.seeds,
                "by": of.name,
                "value": one.value.value,
                "spread": one.value.spread,
                "best_on_dev": chosen in one.rows,
                **{name: mean.value for name, mean in means.items() if mean is not None},
            }
        )
    return found


def ranking_note(of: Criterion, dataset: str, chosen: tuple[ScoreRow, int | None] | None) -> str:
    """How the ranking is to be read."""
    if of.name == DEV:
        return "Ranked by the measure on dev, which cells are chosen by; quote the figures of what is first."
    direction = " (less is better)" if of.less_is_better else ""
    text = f"Ranked by {of.title}{direction} on {dataset}, which describes and must not choose."
    if chosen is None:
        return f"{text} No cell can be chosen: none was measured on dev, or not all by one measure on one dev set."
    row, place = chosen
    where = f"is at place {place} here" if place is not None else "is not ranked here"
    return f"{text} Chosen on dev: {row.label} ({row.measure.title} {row.dev:.3f}), which {where}."
