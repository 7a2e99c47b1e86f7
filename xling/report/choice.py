"""The mix that is best at each size: chosen on dev, reported on test."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from xling.config.dev_measure import DevMeasure
from xling.report.blocks import Section, Table
from xling.report.cell_values import DEV, Figure, Point, SweepValues
from xling.report.estimates import Basis, Estimate, Estimates, basis_says, difference
from xling.report.rows import dev_sets_of, in_order, measured_on_dev
from xling.report.sentence import in_words
from xling.report.tables import Grid, alpha_text, number

_DIGITS = 4  # of a dev measure, which may be a loss


def choice(sweep: SweepValues, estimates: Estimates, figures: Sequence[Figure]) -> Section:
    """At each size the mix with the best dev, the ones that dev does not tell from it, and its figures on test."""
    rows = [cell.row for cell in sweep.cells]
    measures, sizes = measured_on_dev(rows), in_order(row.size for row in rows)
    why = ""
    if not measures:
        why = "Nothing was measured on dev"
    elif len(measures) > 1:
        why = "Cells were measured on dev by different measures"
    elif any(len(dev_sets_of(row for row in rows if row.size == size)) > 1 for size in sizes):
        why = "Cells of one size were measured on different dev sets"
    if why:
        return Section("best-on-dev", _TITLE, (f"{why}: no mix can be chosen without looking at test figures.",))
    dev = Figure(DEV, measures[0].title, _DIGITS, less_is_better=measures[0].lower_is_better)
    chosen = [
        (best, rivals)
        for size in in_order(s for s, _ in sweep.points)
        if (best := _best(sweep, dev, measures[0], size)) is not None
        for rivals in [_rivals(estimates, dev, best)]
    ]
    on_test = {figure: estimates.of(figure, [{best: 1.0} for best, _ in chosen]) for figure in figures}
    says = _together(chosen)
    says.append(basis_says([estimate for found in on_test.values() for estimate in found]))
    note = (
        "Chosen by dev alone, then looked up on test. Not told apart: mixes whose difference in dev from the best is "
        f"not decided over seeds (Holm, within a size). {'Less dev is better.' if dev.less_is_better else ''}"
    ).strip()
    table = Table(
        "best-on-dev",
        "The best mix of each size by dev, and its figures on test",
        _grid(sweep, dev, chosen, on_test),
        note,
    )
    return Section("best-on-dev", _TITLE, tuple(filter(None, says)), (table,))


_TITLE = "Which mix to take: chosen on dev, reported on test"
_Rivals = Sequence[tuple[Point, Estimate | None]]


def _best(sweep: SweepValues, dev: Figure, measure: DevMeasure, size: str) -> Point | None:
    """The point of a size with the best mean dev over seeds; None where no cell of it has one."""
    means = {p: fmean(values.values()) for p in sweep.points if p[0] == size and (values := sweep.seeds(dev, p))}
    if not means:
        return None
    top = measure.ranked(means.values())[0]
    return next(point for point, mean in means.items() if mean == top)


def _rivals(estimates: Estimates, dev: Figure, best: Point) -> _Rivals:
    """The size's other points with dev, and how far dev is from the best there."""
    others = [p for p in estimates.sweep.points if p[0] == best[0] and p != best and estimates.sweep.seeds(dev, p)]
    return list(zip(others, estimates.family(dev, [difference(other, best) for other in others]), strict=True))


def _open(rivals: _Rivals) -> list[Point]:
    """Those that dev does not tell from the best."""
    return [point for point, estimate in rivals if estimate is None or not estimate.decided]


def _unknown(rivals: _Rivals) -> bool:
    """Whether too few seeds were run to tell anything apart."""
    return all(estimate is None or estimate.basis is Basis.NONE for _, estimate in rivals)


def _open_text(rivals: _Rivals) -> str:
    if rivals and _unknown(rivals):
        return "not known"
    return ", ".join(alpha_text(ratio) for _, ratio in _open(rivals)) or "–"


def _together(chosen: Sequence[tuple[Point, _Rivals]]) -> list[str]:
    """A sentence for all sizes of which the same is to be said."""
    sizes: dict[str, list[str]] = {}
    for best, rivals in chosen:
        sizes.setdefault(_says(best, rivals), []).append(best[0])
    return [f"At {in_words(named)} {text}" for text, named in sizes.items()]


def _says(best: Point, rivals: _Rivals) -> str:
    mix = f"alpha {best[1]}"
    if not rivals:
        return f"only {mix} was measured on dev: there was nothing to choose from."
    text = f"{mix} has the best dev"
    if _unknown(rivals):
        return f"{text}; with so few seeds it is not known how sure that choice is."
    undecided = _open(rivals)
    if not undecided:
        return f"{text}, and dev tells it from every other mix there."
    named = in_words([f"alpha {ratio}" for _, ratio in undecided])
    return f"{text}; dev does not decide between it and {named}."


def _grid(
    sweep: SweepValues,
    dev: Figure,
    chosen: Sequence[tuple[Point, _Rivals]],
    on_test: dict[Figure, list[Estimate | None]],
) -> Grid:
    headings = ["size", "alpha", dev.title, "not told apart from"]
    headings += [text for figure in on_test for text in (figure.title, "95 % interval")]
    body = []
    for number_of, (best, rivals) in enumerate(chosen):
        value = fmean(sweep.seeds(dev, best).values())
        row = [best[0], alpha_text(best[1]), number(value, _DIGITS), _open_text(rivals)]
        for figure, found in on_test.items():
            estimate = found[number_of]
            row += (
                ["–", "–"]
                if estimate is None
                else [number(estimate.value, figure.digits), estimate.interval_text(figure.digits)]
            )
        body.append(row)
    return [*headings, "interval over"], [
        [*row, next((e.basis_text() for found in on_test.values() if (e := found[n]) is not None), "–")]
        for n, row in enumerate(body)
    ]
