"""The tables of a sweep's analysis a second time, row by row, from values by query.

A row's labels (size, mix, contrast) say what it is of; its numbers are computed anew by plain arithmetic
(report/plain_statistics.py) and written as the table writes them. None stands where no query has a value: dev
measures, costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from xling.report.blocks import Block, Picture, Table
from xling.report.cell_values import Figure
from xling.report.composition import by_trained_pairs
from xling.report.estimates import FEWEST_SEEDS, Basis, Estimate
from xling.report.groups import LANGUAGE_GROUPS
from xling.report.plain_statistics import over_seeds, without_rounding
from xling.report.published import beside
from xling.report.rows import START, ScoreRow
from xling.report.tables import Grid, alpha_text, by_script, number, signed_number
from xling.sweep.reporting.plain_points import Place, PlainPoints
from xling.sweep.reporting.verify_contrasts import NONE, Again, Row, anova, contrasts, gains, rows_again


def tables_again(
    points: PlainPoints, rows: Sequence[ScoreRow], figures: Sequence[Figure], blocks: Sequence[tuple[str, Block]]
) -> Iterator[tuple[Block, Again]]:
    """Each table, or picture's numbers, of a data set's analysis that can be computed again.

    Args:
        rows: those of the data set, from queries.
        blocks: the ones that are shown, with their names without the data set's.
    """
    makers = {**_of_all(points, figures), **_of_rows(points, rows)}
    for figure in figures:
        makers |= {
            f"response-{figure.slug}": partial(_response, points, figure),
            f"mixes-{figure.slug}": partial(contrasts, points, figure),
            f"interaction-{figure.slug}": partial(contrasts, points, figure),
            f"gain-{figure.slug}": partial(gains, points, figure),
            f"anova-{figure.slug}": partial(anova, points, figure),
        }
    for name, block in blocks:
        made = makers.get(f"{name}-picture" if isinstance(block, Picture) else name)
        shown = block.data if isinstance(block, Picture) else block.grid if isinstance(block, Table) else None
        if made is not None and shown is not None:
            yield block, made(shown)


Maker = Callable[[Grid], Again]


def _of_all(points: PlainPoints, figures: Sequence[Figure]) -> dict[str, Maker]:
    by_group = {figure.group: figure for figure in figures}
    lead = next((figure for figure in figures if figure.group == "Mul"), figures[0])
    found: dict[str, Maker] = {
        "cells": partial(_seeds, points),
        "responses-picture": partial(_drawn, points, {figure.name: figure for figure in figures}, 4),
        "scaling-picture": partial(_drawn, points, {lead.name: lead}, 6),
        "cost": partial(_costs, points, figures),
        "best-on-dev": partial(_choice, points, figures),
        "script-gap": partial(_gaps, points, "mAP/Cr_same_script", "mAP/Cr_different_script"),
        "languages": partial(_languages, points, figures[0].measure),
    }
    if {"Mo", "Cr"} <= set(by_group):
        both = by_group["Mo"], by_group["Cr"]
        found |= {"pareto": partial(_front, points, both), "pareto-picture": partial(_front_drawn, points, both)}
    return found


def _of_rows(points: PlainPoints, rows: Sequence[ScoreRow]) -> dict[str, Maker]:
    """Tables that are of single rows, or of means over seeds without an interval."""

    def texts(row: ScoreRow, name: str, digits: int) -> str:
        estimate = points.estimate(name, {(row.size, alpha_text(row.ratio)): 1.0})
        return NONE if estimate is None else estimate.with_interval(digits)

    found: dict[str, Maker] = {}
    for place, (_, grid) in enumerate(beside(rows, texts)):
        found["published" if place == 0 else f"published-{place + 1}"] = partial(_as_it_is, grid)
    for name, made in (("scripts", by_script(rows)), ("trained-pairs", by_trained_pairs(rows))):
        if made is not None:
            found[name] = partial(_as_it_is, made)
    return found


def _as_it_is(grid: Grid, shown: Grid) -> Again:
    return grid[0], [list(row) for row in grid[1]]


def _seeds(points: PlainPoints, shown: Grid) -> Again:
    def of_row(row: Row) -> list[str | None]:
        found = []
        for mix in points.mixes:
            seeds = [str(cell.seed) for cell in points.cells if (cell.size, cell.mix) == (row[0], mix)]
            found.append(", ".join(seeds) or NONE)
        return [row[0], *found]

    return rows_again(shown, of_row)


def _response(points: PlainPoints, figure: Figure, shown: Grid) -> Again:
    def of_row(row: Row) -> list[str | None] | None:
        size, mix = row[:2]
        if mix == START:
            value = points.starts[size].figure(figure.name) if size in points.starts else None
            return None if value is None else [size, mix, number(value, figure.digits), NONE, NONE]
        estimate = points.estimate(figure.name, {(size, mix): 1.0})
        if estimate is None:
            return None
        shown_value = number(estimate.value, figure.digits)
        return [size, mix, shown_value, estimate.interval_text(figure.digits), estimate.basis_text()]

    return rows_again(shown, of_row)


def _drawn(points: PlainPoints, figures: Mapping[str, Figure], lead: int, shown: Grid) -> Again:
    """The numbers behind a picture: what a row is of, then value and interval as they are."""
    by_figure = shown[0][0] == "figure"

    def of_row(row: Row) -> list[str | None] | None:
        name, size, mix = row[:3] if by_figure else (next(iter(figures)), *row[:2])
        estimate = points.estimate(name, {(size, mix): 1.0}) if name in figures else None
        if estimate is None:
            return None
        known = row[:lead] if by_figure else [*row[:2], *[None] * (lead - 2)]
        return [*known, *map(repr, (estimate.value, estimate.low, estimate.high))]

    return rows_again(shown, of_row)


def _costs(points: PlainPoints, figures: Sequence[Figure], shown: Grid) -> Again:
    """The figures beside the costs."""
    by_title = {figure.title: figure for figure in figures}

    def of_row(row: Row) -> list[str | None]:
        means = {title: points.mean(figure.name, (row[0], row[1])) for title, figure in by_title.items()}
        texts = {t: NONE if (m := means[t]) is None else number(m, by_title[t].digits) for t in by_title}
        return [*row[:2], *(texts.get(heading) for heading in shown[0][2:])]

    return rows_again(shown, of_row)


def _choice(points: PlainPoints, figures: Sequence[Figure], shown: Grid) -> Again:
    """Of the mixes that were chosen the figures on test."""
    by_title = {figure.title: figure for figure in figures}

    def of_row(row: Row) -> list[str | None]:
        place = (row[0], row[1])
        found: list[str | None] = [*row[:2], None, None]
        basis = NONE
        for heading in shown[0][4:-1:2]:
            figure = by_title[heading]
            if (estimate := points.estimate(figure.name, {place: 1.0})) is None:
                found += [NONE, NONE]
                continue
            found += [number(estimate.value, figure.digits), estimate.interval_text(figure.digits)]
            basis = estimate.basis_text() if basis == NONE else basis
        return [*found, basis]

    return rows_again(shown, of_row)


def _places(points: PlainPoints, both: tuple[Figure, Figure]) -> dict[Place, tuple[float, float]]:
    found = {}
    for place in dict.fromkeys((cell.size, cell.mix) for cell in points.cells):
        x, y = (points.mean(figure.name, place) for figure in both)
        if x is not None and y is not None:
            found[place] = (round(x, 12), round(y, 12))  # equal ones were stored equal
    return found


def _on_front(places: Mapping[Place, tuple[float, float]], place: Place) -> bool:
    x, y = places[place]
    return not any((a > x and b >= y) or (a >= x and b > y) for a, b in places.values())


def _front(points: PlainPoints, both: tuple[Figure, Figure], shown: Grid) -> Again:
    places = _places(points, both)

    def of_row(row: Row) -> list[str | None] | None:
        place = (row[0], row[1])
        if place not in places:
            return None
        values = [number(value, figure.digits) for value, figure in zip(places[place], both, strict=True)]
        if _on_front(places, place):
            return [*row[:2], *values, "yes", ""]
        front = sorted((one for one in places if _on_front(places, one)), key=lambda one: places[one])
        ahead = (one for one in front if all(a >= b for a, b in zip(places[one], places[place], strict=True)))
        sure = next((one for one in ahead if _surely(points, both, one, place)), None)
        return [*row[:2], *values, "no", NONE if sure is None else f"{sure[0]} at alpha {sure[1]}"]

    return rows_again(shown, of_row)


def _surely(points: PlainPoints, both: tuple[Figure, Figure], ahead: Place, behind: Place) -> bool:
    leads = [points.estimate(figure.name, {ahead: 1.0, behind: -1.0}) for figure in both]
    return all(lead is not None and lead.low > 0 for lead in leads)


def _front_drawn(points: PlainPoints, both: tuple[Figure, Figure], shown: Grid) -> Again:
    places = _places(points, both)

    def of_row(row: Row) -> list[str | None] | None:
        place = (row[0], row[1])
        return None if place not in places else [*row[:2], *map(repr, places[place]), str(_on_front(places, place))]

    return rows_again(shown, of_row)


def _difference(points: PlainPoints, one: str, other: str, place: Place) -> Estimate | None:
    """A figure less another one within seeds; without an interval where these are few."""
    of_one, of_other = points.seeds(one, place), points.seeds(other, place)
    both = [(of_one[seed], of_other[seed]) for seed in sorted(of_one) if seed in of_other]
    values = [without_rounding(a - b, (a, b)) for a, b in both]
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) < FEWEST_SEEDS:
        return Estimate(mean, len(values))
    return Estimate(mean, len(values), Basis.SEEDS, *over_seeds(values))


def _gaps(points: PlainPoints, one: str, other: str, shown: Grid) -> Again:
    def of_row(row: Row) -> list[str | None] | None:
        if (gap := _difference(points, one, other, (row[0], row[1]))) is None:
            return None
        return [*row[:2], signed_number(gap.value, 3), gap.interval_text(3, sign=True), gap.basis_text()]

    return rows_again(shown, of_row)


def _languages(points: PlainPoints, measure: str, shown: Grid) -> Again:
    names = {title: f"{measure}/{name}" for name, title in LANGUAGE_GROUPS.items()}

    def of_row(row: Row) -> list[str | None]:
        place = (row[0], row[1])
        found = [points.estimate(names[title], {place: 1.0}) for title in shown[0][2:-2]]
        gap = _difference(points, f"{measure}/Mo_seen", f"{measure}/Mo_unseen", place)
        texts = [NONE if one is None else one.with_interval(3) for one in found]
        basis = next((one.basis_text() for one in found if one is not None), NONE)
        return [*row[:2], *texts, NONE if gap is None else gap.with_interval(3, sign=True), basis]

    return rows_again(shown, of_row)
