"""What size buys, and what it costs: figures over parameters and over the cost of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from xling.report.blocks import Block, Picture, Section, Table
from xling.report.cell_values import Figure, Point, SweepValues
from xling.report.contrasts import Compared, Contrast, family_of, family_says, holm_note, verdict
from xling.report.curves import Estimated, mean_cost, scaling_plot
from xling.report.estimates import Estimate, Estimates, basis_says, difference
from xling.report.sentence import capitalised, in_words
from xling.report.tables import Grid, alpha_text, number, signed_number

PARAMETERS = "parameters_non_embedding"
_COSTS = {
    PARAMETERS: "parameters outside embedding tables",
    "examples": "examples",
    "flops": "FLOPs",
    "wall_seconds": "seconds in steps",
}
COUNTED = (
    "FLOPs are approximated: 6 x parameters outside embedding tables x tokens without padding (forward 2, backward 4). "
    "Attention's share that grows with the length of a text, embedding tables, the second forward pass of gradient "
    "caching, dev measurements and a warm start are not in it. Seconds are those of optimiser steps, on the machine "
    "that ran the cell and beside whatever else it ran: start, dev, checkpoints and evaluation are not in them."
)


def scaling(sweep: SweepValues, estimates: Estimates, figures: Sequence[Figure]) -> Section:
    """Figures and costs of every size and mix, the gain from the smallest to the largest size, and the picture."""
    costs = {
        cost: {p: value for p in sweep.points if (value := mean_cost(sweep.at(p), cost)) is not None} for cost in _COSTS
    }
    curves = {figure: estimates.curve(figure) for figure in figures}
    blocks: list[Block] = []
    lead = next((figure for figure in figures if figure.group == "Mul"), figures[0]) if figures else None
    drawn = [  # an axis is logarithmic: it shows no cost of 0
        (_COSTS[cost], of) for cost, of in costs.items() if cost != "examples" and min(of.values(), default=0) > 0
    ]
    if lead is not None and drawn:
        blocks.append(_picture(sweep, lead, curves[lead], drawn, costs))
    blocks.append(Table("cost", "Figures and costs (means over seeds)", _cost_grid(sweep, curves, costs), COUNTED))
    says, gains, known = [_costs_say(sweep, costs)], _gains(sweep), []
    for figure in figures:
        family = family_of(estimates, figure, gains)
        known += [one.estimate for one in family]
        if family:
            title = f"{figure.title}: the largest size less the smallest, at each alpha"
            grid = _gain_grid(sweep, family, figure)
            blocks.append(Table(f"gain-{figure.slug}", title, grid, holm_note(family, "difference")))
            verdicts = family_says(family, figure, "higher", "lower")
            says.append(f"{capitalised(figure.title)} from the smallest to the largest size: {verdicts}.")
    if not gains:
        says.append("No two sizes share a mix: nothing can be said of what size brings.")
    says.append(basis_says(known))
    return Section("scaling", "What size and training cost, and bring", tuple(filter(None, says)), tuple(blocks))


def _gains(sweep: SweepValues) -> list[Contrast]:
    there = set(sweep.points)
    return [
        Contrast(
            f"{ladder[-1]} - {ladder[0]}",
            f"alpha {ratio}",
            f"{ladder[-1]} - {ladder[0]} at alpha {ratio}",
            difference((ladder[-1], ratio), (ladder[0], ratio)),
        )
        for ladder in sweep.ladders
        if len(ladder) > 1
        for ratio in sweep.ratios
        if {(ladder[-1], ratio), (ladder[0], ratio)} <= there
    ]


def _gain_grid(sweep: SweepValues, family: Sequence[Compared], figure: Figure) -> Grid:
    body = []
    for one in family:
        (large, ratio), (small, _) = one.contrast.combination
        row = [one.contrast.sizes, alpha_text(ratio)]
        if (estimate := one.estimate) is None:
            body.append([*row, *["–"] * 6, "not in the sweep"])
            continue
        doublings = _doublings(sweep, large, small)
        row += [signed_number(estimate.value, figure.digits), estimate.interval_text(figure.digits, sign=True)]
        row += [signed_number(estimate.value / doublings, figure.digits + 1) if doublings else "–"]
        body.append([*row, *estimate.p_texts(), verdict(estimate), estimate.basis_text()])
    headings = ["sizes", "alpha", "difference", "95 % interval", "per doubling of parameters", "p", "p (Holm)"]
    return [*headings, "decided", "interval over"], body


def _doublings(sweep: SweepValues, large: str, small: str) -> float | None:
    """How often the parameters outside embedding tables double between two sizes; None where that is not known."""
    more, less = sweep.parameters(large), sweep.parameters(small)
    return math.log2(more / less) if more and less and more > less else None


def _costs_say(sweep: SweepValues, costs: Mapping[str, Mapping[Point, float]]) -> str:
    parts = []
    for cost, name in _COSTS.items():
        shown = [_cost(value, cost) for value in sorted(costs[cost].values())]
        if not shown or cost == PARAMETERS:
            continue
        span = shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"
        parts.append(f"{name[0].upper()}{name[1:]} of a cell: {span}.")
    if len(set(costs["examples"].values())) > 1:
        parts.append("Where sizes were given other numbers of examples, figures over size differ in that too.")
    if unknown := [name for cost, name in _COSTS.items() if len(costs[cost]) < len(sweep.points)]:
        parts.append(f"Not known of all cells: {in_words(unknown)}.")
    return " ".join(parts)


def _cost_grid(
    sweep: SweepValues, curves: Mapping[Figure, Estimated], costs: Mapping[str, Mapping[Point, float]]
) -> Grid:
    body = []
    for point in sweep.points:
        row = [point[0], alpha_text(point[1]), *(_cost(costs[cost].get(point), cost) for cost in _COSTS)]
        found: list[tuple[Figure, Estimate | None]] = [(figure, of.get(point)) for figure, of in curves.items()]
        body.append([*row, *("–" if e is None else number(e.value, figure.digits) for figure, e in found)])
    return ["size", "alpha", *_COSTS.values(), *(figure.title for figure in curves)], body


def _cost(value: float | None, cost: str) -> str:
    if value is None:
        return "–"
    return f"{value:.2e}" if cost == "flops" else f"{value:,.1f}" if cost == "wall_seconds" else f"{value:,.0f}"


def _picture(
    sweep: SweepValues,
    lead: Figure,
    found: Estimated,
    drawn: Sequence[tuple[str, Mapping[Point, float]]],
    costs: Mapping[str, Mapping[Point, float]],
) -> Picture:
    names = in_words([name for name, _ in drawn])
    alt = (
        f"{lead.title} over {names}, axes of cost logarithmic, a line an alpha over the sizes, 95 % intervals as bars."
    )
    for ratio in sweep.ratios:
        at = [(sweep.parameters(p[0]) or 0, p[0], e.value) for p, e in found.items() if p[1] == ratio]
        if len(at) > 1:
            (_, small, low), *_, (_, large, high) = sorted(at)
            values = [number(value, lead.digits) for value in (low, high)]
            alt += f" Alpha {ratio}: {values[0]} at {small}, {values[1]} at {large}."
    body = [
        [
            p[0],
            alpha_text(p[1]),
            *(repr(costs[cost].get(p, math.nan)) for cost in _COSTS),
            *map(repr, (e.value, e.low, e.high)),
        ]
        for p, e in found.items()
    ]
    data = (["size", "alpha", *_COSTS, lead.name, "low", "high"], body)
    return Picture("scaling", f"{lead.title} over size and cost", scaling_plot(sweep, lead, found, drawn), alt, data)
