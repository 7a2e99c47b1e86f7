"""The analysis' contrasts and F tests a second time: what ``verify_analysis.py`` holds their tables against."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from xling.report.cell_values import Figure
from xling.report.contrasts import verdict
from xling.report.estimates import Estimate
from xling.report.plain_statistics import doubled, two_way
from xling.report.significance import p_value
from xling.report.tables import Grid, number, signed_number
from xling.sweep.reporting.plain_points import PlainPoints, Weights

Again = tuple[list[str], Sequence[Sequence[str | None]]]  # a table's headings and rows; None: not recomputed
Row = Sequence[str]
NONE, UNKNOWN = "–", "of nothing in the sweep"


def rows_again(shown: Grid, of_row: Callable[[Row], Sequence[str | None] | None]) -> Again:
    """The table whose rows are made from the shown ones' labels."""
    headings, body = shown
    made = [of_row(row) for row in body]
    return headings, [
        [*row[:1], *[UNKNOWN] * (len(row) - 1)] if of is None else list(of) for row, of in zip(body, made, strict=True)
    ]


def _weights(points: PlainPoints, sizes: str, mixes: str) -> Weights | None:
    """What a contrast's labels mean: ``mid - tiny`` (or ``mid``), ``alpha 0.5 - alpha 1`` (or ``0.5``)."""
    of_sizes = _signs(sizes, {size: size for size in points.sizes})
    named = {mix: mix for mix in points.mixes} | {f"alpha {mix}": mix for mix in points.mixes}
    of_mixes = _signs(mixes, named)
    if of_sizes is None or of_mixes is None:
        return None
    return {(size, mix): a * b for size, a in of_sizes.items() for mix, b in of_mixes.items()}


def _signs(text: str, names: Mapping[str, str]) -> dict[str, float] | None:
    if text in names:
        return {names[text]: 1.0}
    pairs = ((one, other) for one in names for other in names if f"{one} - {other}" == text)
    found = next(pairs, None)
    return None if found is None else {names[found[0]]: 1.0, names[found[1]]: -1.0}


def _family(points: PlainPoints, figure: Figure, shown: Grid) -> dict[tuple[str, str], Estimate | None]:
    """Each row's contrast by its labels, p-values corrected over the table."""
    labels = [(row[0], row[1]) for row in shown[1]]
    found = points.family(figure.name, [_weights(points, *one) for one in labels])
    return dict(zip(labels, found, strict=True))


def contrasts(points: PlainPoints, figure: Figure, shown: Grid) -> Again:
    family = _family(points, figure, shown)

    def of_row(row: Row) -> list[str | None] | None:
        if (estimate := family[row[0], row[1]]) is None:
            return None
        value = signed_number(estimate.value, figure.digits)
        return [*row[:2], value, estimate.interval_text(figure.digits, sign=True), *_tested(estimate)]

    return rows_again(shown, of_row)


def _tested(estimate: Estimate) -> list[str]:
    return [*estimate.p_texts(), verdict(estimate), estimate.basis_text()]


def gains(points: PlainPoints, figure: Figure, shown: Grid) -> Again:
    family = _family(points, figure, shown)

    def of_row(row: Row) -> list[str | None] | None:
        estimate, sizes = family[row[0], row[1]], _signs(row[0], {size: size for size in points.sizes})
        if estimate is None or sizes is None:
            return None
        doublings = doubled(points.parameters, *sizes)
        per = signed_number(estimate.value / doublings, figure.digits + 1) if doublings else NONE
        value = signed_number(estimate.value, figure.digits)
        return [*row[:2], value, estimate.interval_text(figure.digits, sign=True), per, *_tested(estimate)]

    return rows_again(shown, of_row)


def anova(points: PlainPoints, figure: Figure, shown: Grid) -> Again:
    several = shown[0][0] == "sizes"

    def of_row(row: Row) -> list[str | None] | None:
        sizes = row[0].split(", ") if several else _compared(points)
        seen = [
            (cell.size, cell.mix, cell.seed, value)
            for cell in points.cells
            if cell.size in sizes and (value := cell.figure(figure.name)) is not None
        ]
        lead, name = row[:several], row[several]
        if (test := two_way(seen).get(name)) is None:
            return None
        ratio = NONE if math.isnan(test.ratio) else number(test.ratio, 2)
        return [*lead, name, f"{test.squares:.4g}", str(test.df), str(test.df_error), ratio, p_value(test.p)]

    return rows_again(shown, of_row)


def _compared(points: PlainPoints) -> list[str]:
    """The sizes of the only variant that has several."""
    by_variant: dict[str, list[str]] = {}
    for size in points.sizes:
        by_variant.setdefault(points.variants[size], []).append(size)
    return next((sizes for sizes in by_variant.values() if len(sizes) > 1), [])
