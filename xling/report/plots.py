"""Pictures, as matplotlib figures without any global state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xling.report.critical_batch import Found
from xling.report.curves import style_of
from xling.report.rows import ScoreRow, headline, mean_of, ratios_of, sizes_of

_PANELS = (
    ("Mo. (mAP)", "mAP/Mo"),
    ("Cr. (mAP)", "mAP/Cr"),
    ("Mul. (mAP)", "mAP/Mul"),
    ("rank distance", "rank_distance"),
)
_SHORT = 3  # characters of a language's code that the squares have room for


def pair_heatmap(values_LL: NDArray[np.float64], languages: Sequence[str], title: str) -> Figure:
    """A figure's value for each language pair, written into its square; the query's language down."""
    count, longer = len(languages), 0.09 * max(0, max(map(len, languages)) - _SHORT)  # inches that labels need more
    figure = Figure(figsize=(1.8 + 0.55 * count + longer, 1.4 + 0.5 * count + longer), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values_LL, vmin=0, vmax=1, cmap="viridis")
    axes.set(title=title, xlabel="passage", ylabel="query")
    axes.set_xticks(range(count), languages, rotation=90 if longer else 0)
    axes.set_yticks(range(count), languages)
    for row in range(count):
        for column in range(count):
            value = values_LL[row, column]
            if not math.isnan(value):
                colour = "white" if value < 0.6 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, shrink=0.8)
    return figure


def size_by_alpha_plot(rows: Sequence[ScoreRow], title: str) -> Figure:
    """One panel a figure: alpha across, a line a size, the baseline dotted.

    A schedule stands at its mean, beside the line, with its name.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    ratios = ratios_of(rows)
    for axes, (name, key) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for number, size in enumerate(sizes_of(rows)):
            points = [(r, mean) for r in ratios if (mean := mean_of(rows, size, r, headline(key))) is not None]
            style = style_of(number)
            alone = style | {"linestyle": "none"}
            constant = [(r.alpha, mean) for r, mean in points if not r.schedule]
            spread = [mean.spread or 0 for _, mean in constant]
            axes.errorbar([a for a, _ in constant], [m.value for _, m in constant], spread, label=size, **style)
            for ratio, mean in points:
                if ratio.schedule:
                    axes.errorbar([ratio.alpha], [mean.value], [mean.spread or 0], **alone)
                    axes.annotate(ratio.schedule, (ratio.alpha, mean.value), fontsize=7, color=style["color"])
            start = mean_of(rows, size, None, headline(key))
            if start is not None:
                axes.axhline(start.value, color=style["color"], linestyle=":", linewidth=1)
        axes.set(title=name)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(title="size (dotted: start)")
    figure.suptitle(title)
    figure.supxlabel("alpha (share of monolingual batches)", fontsize="medium")
    return figure


def steps_to_target_plot(found: Found, title: str) -> Figure:
    """One panel an alpha, both axes logarithmic: a line a size with its seeds as points, B* as a vertical line.

    Dashed: linear scaling from the batch with the fewest examples. A cross: a seed that did not get to the
    target, at the steps it was given.
    """
    ratios = sorted({curve.ratio for curve, _ in found})
    drawn = [(curve.size, curve.ratio) for curve, _ in found]
    # A size has one colour in all panels; a second target of it has another.
    lines = [(curve.size, drawn[:number].count(drawn[number])) for number, (curve, _) in enumerate(found)]
    colours = {line: style_of(number)["color"] for number, line in enumerate(dict.fromkeys(lines))}
    batches = sorted({batch for curve, _ in found for batch in curve.runs})
    figure = Figure(figsize=(1.0 + 3.4 * len(ratios), 3.6), layout="constrained")
    panels = figure.subplots(1, len(ratios), squeeze=False, sharey=True)[0]
    for line, (curve, critical) in zip(lines, found, strict=True):
        axes, colour = panels[ratios.index(curve.ratio)], colours[line]
        steps = curve.mean_steps
        axes.plot(list(steps), list(steps.values()), color=colour, label=f"{curve.size} to {curve.target:g}")
        for run in (run for runs in curve.runs.values() for run in runs):
            marker = "x" if run.steps is None else "o"
            axes.plot(run.batch_size, run.steps or run.steps_made, marker, color=colour, markersize=4)
        if critical is None:
            continue
        ideal = [critical.best * steps[critical.best] / batch for batch in steps]
        axes.plot(list(steps), ideal, color=colour, linestyle="--", linewidth=1)
        if math.isfinite(critical.measured.value):
            axes.axvline(critical.measured.value, color=colour, linestyle=":", linewidth=1)
    for axes, ratio in zip(panels, ratios, strict=True):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.set(title=f"alpha {ratio}", xlabel="batch size")
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("steps to the target")
    figure.suptitle(title)
    return figure
