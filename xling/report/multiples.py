"""Curves in small multiples, a panel a size and a line a ratio: the loss over training, own languages by rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from xling.report.rows import Ratio, in_order
from xling.report.tables import Grid, alpha_text, number

POINTS = 100  # of a loss curve, each the mean of as many steps
_ACROSS = 3  # panels
_MOST_LABELS = 8  # of a legend; more ratios have a colour bar's worth of ends and middle


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: of a size's trained cell, or of the weights it starts from (``ratio`` None)."""

    label: str
    size: str
    ratio: Ratio | None
    x: tuple[float, ...]
    y: tuple[float, ...]


def thinned(steps: Sequence[int], values: Sequence[float], points: int = POINTS) -> tuple[list[float], list[float]]:
    """At most ``points`` means of neighbouring steps: (their mean step, their mean value)."""
    parts = min(points, len(steps))
    groups = [group for group in np.array_split(np.arange(len(steps)), parts) if len(group)] if parts else []
    return (
        [fmean(steps[i] for i in group.tolist()) for group in groups],
        [fmean(values[i] for i in group.tolist()) for group in groups],
    )


def loss_plot(curves: Sequence[Curve], title: str) -> Figure:
    """The training loss of every cell; seeds of one ratio have one colour."""
    figure = _multiples(curves, title)
    for axes in figure.axes:
        axes.set(xlabel="step", yscale="log")
    figure.axes[0].set_ylabel("loss")
    return figure


def own_share_plot(curves: Sequence[Curve], expected: float, title: str) -> Figure:
    """The share of passages in the query's own language at each rank; dotted what is expected."""
    figure = _multiples(curves, title)
    for axes in figure.axes:
        axes.axhline(expected, color="black", linestyle=":", linewidth=1)
        axes.set(xlabel="rank", ylim=(0, None))
    figure.axes[0].set_ylabel("share in the query's language")
    return figure


def as_grid(curves: Sequence[Curve], x: str, y: str) -> Grid:
    """A row a point."""
    return ["cell", x, y], [[c.label, f"{a:g}", f"{b:.6g}"] for c in curves for a, b in zip(c.x, c.y, strict=True)]


def mean_curves(curves: Sequence[Curve]) -> list[Curve]:
    """One line a size and ratio: the mean over the cells, which have the same x."""
    groups: dict[tuple[str, Ratio | None], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.size, curve.ratio), []).append(curve)
    return [
        Curve(
            f"{size} {alpha_text(ratio)}", size, ratio, of[0].x, tuple(map(fmean, zip(*(c.y for c in of), strict=True)))
        )
        for (size, ratio), of in groups.items()
    ]


def by_rank(curves: Sequence[Curve]) -> Grid:
    """A row a line, a column a rank."""
    ranks = [f"{rank:g}" for rank in curves[0].x]
    body = [[curve.size, alpha_text(curve.ratio), *(number(value, 3) for value in curve.y)] for curve in curves]
    return ["size", "alpha", *ranks], body


def _multiples(curves: Sequence[Curve], title: str) -> Figure:
    sizes = in_order(curve.size for curve in curves)
    ratios = sorted({curve.ratio for curve in curves if curve.ratio is not None})
    colours = dict(zip(ratios, matplotlib.colormaps["cividis"](np.linspace(0, 0.92, len(ratios))), strict=True))
    down = -(-len(sizes) // _ACROSS)
    figure = Figure(figsize=(11, 0.6 + 3.0 * down), layout="constrained")
    panels = figure.subplots(down, min(_ACROSS, len(sizes)), squeeze=False, sharey=True).ravel()
    for axes, size in zip(panels, sizes, strict=False):
        for curve in (curve for curve in curves if curve.size == size):
            style = {"color": "grey", "linestyle": "--"} if curve.ratio is None else {"color": colours[curve.ratio]}
            axes.plot(curve.x, curve.y, linewidth=1.2, **style)
        axes.set_title(size)
        axes.grid(alpha=0.3)
    for axes in panels[len(sizes) :]:
        axes.remove()
    shown = [None] * any(curve.ratio is None for curve in curves) + list(_chosen(ratios))
    for ratio in shown:
        style = {"color": "grey", "linestyle": "--"} if ratio is None else {"color": colours[ratio]}
        figure.axes[0].plot([], [], label=alpha_text(ratio), **style)
    figure.axes[0].legend(title="alpha", fontsize=8, title_fontsize=8)
    figure.suptitle(title)
    return figure


def _chosen(ratios: Sequence[Ratio]) -> Iterator[Ratio]:
    """Those that the legend names: all, or as many as fit, the first and the last among them."""
    count = min(len(ratios), _MOST_LABELS)
    return (ratios[round(place)] for place in np.linspace(0, len(ratios) - 1, count))
