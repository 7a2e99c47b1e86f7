"""Pictures of the analysis. Colours are told apart by colour-blind people, sizes by their marker too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from xling.report.cell_values import CellValues, Figure, Point, SweepValues
from xling.report.estimates import Estimate
from xling.report.rows import Ratio, in_order
from xling.report.tables import alpha_text

# Okabe and Ito, "Color universal design" (2008), without the yellow, which is hardly seen on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_ROW = 4  # panels side by side, at most

Estimated = Mapping[Point, Estimate]


def style_of(number: int) -> dict[str, Any]:
    """Colour, marker and line of the n-th size: 49 before one comes again."""
    rounds = number // len(PALETTE)
    return {
        "color": PALETTE[number % len(PALETTE)],
        "marker": MARKERS[(number + rounds) % len(MARKERS)],
        "linestyle": ("-", "--", "-.", ":")[rounds % 4],
    }


def response_plot(sweep: SweepValues, found: Sequence[tuple[Figure, Estimated]], title: str) -> Drawing:
    """A panel a figure: alpha across, a line a size with its interval as a band.

    A schedule stands at its mean with its name and a bar, beside the line.
    """
    drawing, panels = _panels(len(found), title)
    sizes = in_order(size for size, _ in sweep.points)
    for axes, (figure, estimates) in zip(panels, found, strict=True):
        for number, size in enumerate(sizes):
            _response(axes, sweep, estimates, size, style_of(number))
        axes.set(title=figure.title, xlabel="alpha (share of monolingual batches)")
        axes.grid(alpha=0.3)
    if panels:
        panels[0].legend(title="size", fontsize=8)
    return drawing


def _response(axes: Axes, sweep: SweepValues, estimates: Estimated, size: str, style: dict[str, Any]) -> None:
    constant = [(r.alpha, e) for r in sweep.ratios if not r.schedule and (e := estimates.get((size, r))) is not None]
    alphas = [alpha for alpha, _ in constant]
    axes.plot(alphas, [e.value for _, e in constant], label=size, markersize=5, **style)
    axes.fill_between(
        alphas, [e.low for _, e in constant], [e.high for _, e in constant], color=style["color"], alpha=0.18, lw=0
    )
    for ratio in sweep.ratios:
        estimate = estimates.get((size, ratio))
        if ratio.schedule and estimate is not None:
            axes.plot([ratio.alpha], [estimate.value], marker=style["marker"], color=style["color"], fillstyle="none")
            axes.vlines(ratio.alpha, estimate.low, estimate.high, color=style["color"], linewidth=1)
            axes.annotate(ratio.schedule, (ratio.alpha, estimate.value), fontsize=7, color=style["color"])


def front_plot(
    sweep: SweepValues, places: Mapping[Point, tuple[float, float]], front: Sequence[Point], names: tuple[str, str]
) -> Drawing:
    """A point a size and mix, by its alpha; the front joined and filled, the others hollow."""
    drawing = Drawing(figsize=(6.4, 4.8), layout="constrained")
    axes = drawing.subplots()
    steps = sorted(places[point] for point in front)
    axes.plot([x for x, _ in steps], [y for _, y in steps], color="0.5", linewidth=1, zorder=1)
    for number, size in enumerate(in_order(size for size, _ in places)):
        style = {**style_of(number), "linestyle": "none"}
        for full in (True, False):
            at = [p for p in places if p[0] == size and (p in front) == full]
            axes.plot(
                [places[p][0] for p in at],
                [places[p][1] for p in at],
                fillstyle="full" if full else "none",
                label=size if full else None,
                markersize=8,
                **style,
            )
    for (_, ratio), place in places.items():
        axes.annotate(alpha_text(ratio), place, fontsize=7, xytext=(5, 4), textcoords="offset points")
    axes.set(xlabel=names[0], ylabel=names[1], title="filled: on the front; beside each point its alpha")
    axes.grid(alpha=0.3)
    axes.legend(title="size", fontsize=8)
    return drawing


def scaling_plot(
    sweep: SweepValues, figure: Figure, found: Estimated, costs: Sequence[tuple[str, Mapping[Point, float]]]
) -> Drawing:
    """A panel a cost, its axis logarithmic: a line an alpha over the sizes, a marker each, with intervals as bars."""
    drawing, panels = _panels(len(costs), figure.title)
    sizes = in_order(size for size, _ in sweep.points)
    ratios = [ratio for ratio in sweep.ratios if any(point[1] == ratio for point in found)]
    for axes, (name, cost) in zip(panels, costs, strict=True):
        for ratio, colour in zip(ratios, _shades(ratios), strict=True):
            at = sorted((cost[p], p) for p in found if p[1] == ratio and p in cost)
            axes.plot([x for x, _ in at], [found[p].value for _, p in at], color=colour, label=f"alpha {ratio}")
            for x, point in at:
                estimate, marker = found[point], MARKERS[sizes.index(point[0]) % len(MARKERS)]
                axes.plot([x], [estimate.value], marker=marker, color=colour, markersize=6)
                axes.vlines(x, estimate.low, estimate.high, color=colour, linewidth=1)
                if axes is panels[0] and ratio == ratios[0]:
                    axes.annotate(point[0], (x, estimate.value), fontsize=7, xytext=(4, 5), textcoords="offset points")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=name, ylabel=figure.title)
        axes.grid(alpha=0.3)
    if panels:
        panels[0].legend(fontsize=8)
    return drawing


def mean_cost(cells: Sequence[CellValues], cost: str) -> float | None:
    """The mean over seeds of what cells cost (an attribute); None where it is not known of all."""
    values = [getattr(cell, cost) for cell in cells]
    return None if not values or None in values else float(sum(values)) / len(values)


def _shades(ratios: Sequence[Ratio]) -> list[Any]:
    """A colour a mix, from dark to light as alpha grows; without the lightest, which is hardly seen on white."""
    shades = matplotlib.colormaps["cividis"]
    return [shades(0.85 * number / max(1, len(ratios) - 1)) for number in range(len(ratios))]


def _panels(count: int, title: str) -> tuple[Drawing, list[Axes]]:
    rows = -(-count // _ROW) or 1
    width = min(count, _ROW) or 1
    drawing = Drawing(figsize=(1.0 + 3.2 * width, 0.5 + 3.2 * rows), layout="constrained")
    drawing.suptitle(title)
    panels = list(drawing.subplots(rows, width, squeeze=False).ravel())
    for spare in panels[count:]:
        spare.remove()
    return drawing, panels[:count]
