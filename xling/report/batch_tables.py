"""Tables, a sentence and rows for CSV of what is known of the critical batch size."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import fields
from statistics import stdev

from xling.report.critical_batch import LEVEL, OVERHEAD, Curve, Estimate, Found, TargetRun, beyond, overheads
from xling.report.tables import Grid, number

_TARGET = ["size", "alpha", "target"]


def steps_to_target(curves: Sequence[Curve]) -> Grid:
    """Steps to the target by batch size: mean and deviation over seeds; ``>200 (1/3)``: one of three got there."""
    batches = sorted({batch for curve in curves for batch in curve.runs})
    body = [[*_lead(curve), *(_steps(curve.runs.get(batch, ())) for batch in batches)] for curve in curves]
    return [*_TARGET, *(f"batch\n{batch}" for batch in batches)], body


def examples_over_fewest(curves: Sequence[Curve]) -> Grid:
    """Examples to the target over the fewest of any batch size, as ``+12 %``."""
    batches = sorted({batch for curve in curves for batch in curve.runs})
    body = []
    for curve in curves:
        known = dict(overheads(curve))
        body.append([*_lead(curve), *(f"{known[b]:+.0%}".replace("%", " %") if b in known else "–" for b in batches)])
    return [*_TARGET, *(f"batch\n{batch}" for batch in batches)], body


def critical_sizes(found: Found) -> Grid:
    """A line a curve: the batch with the fewest examples, both estimates with intervals, the law's error."""
    headings = [*_TARGET, "fewest\nexamples at", "B* measured", "B* fitted", "law's\nerror"]
    body = []
    for curve, critical in found:
        if critical is None:
            body.append([*_lead(curve), "–", "–", "–", "–"])
            continue
        batches = list(curve.reached)
        estimates = [_estimate(one, batches) for one in (critical.measured, critical.fitted)]
        body.append([*_lead(curve), str(critical.best), *estimates, number(critical.misfit, 2)])
    return headings, body


def says(found: Found) -> str:
    """How the tables are to be read, and what is not in the estimates."""
    seeds = {len(runs) for curve, _ in found for runs in curve.runs.values()}
    interval = (
        f"in brackets the {LEVEL:.0%} interval over resampled seeds ({max(seeds)} at most: rough)"
        if max(seeds) > 1
        else "one seed: no interval"
    )
    every = sorted({run.dev_every for curve, _ in found for runs in curve.runs.values() for run in runs})
    parts = [
        f"B*: the batch size whose examples to the target are {OVERHEAD:.0%} over linear scaling, from the batch with "
        f"the fewest examples (measured, arXiv 2410.21676) or from the limit of small batches (fitted, S = Smin "
        f"(1 + Bc/B), B* = 0.2 Bc); {interval}. < and >: outside of the batch sizes that got there.",
        f"Steps are known to dev_every ({_range(every)}).",
    ]
    missed = [
        f"{curve.size} at alpha {curve.ratio}: {', '.join(map(str, curve.missed))}"
        for curve, _ in found
        if curve.missed
    ]
    if missed:
        parts.append(f"Not reached by every seed, and in no estimate: batch sizes of {'; '.join(missed)}.")
    edge = [
        f"{curve.size} at alpha {curve.ratio}"
        for curve, critical in found
        if critical is not None and critical.best == min(curve.runs)
    ]
    if edge:
        parts.append(
            f"The smallest batch needs the fewest examples for {'; '.join(edge)}: smaller ones may need fewer still, "
            "and B* measured is then too large."
        )
    return " ".join(parts)


def as_csv(runs: Sequence[TargetRun]) -> str:
    """A line a run; ``steps`` is empty where the target was not reached."""
    names = [one.name for one in fields(TargetRun)]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*names, "examples"])
    for run in runs:
        examples = "" if run.steps is None else run.steps * run.batch_size
        writer.writerow([*("" if (v := getattr(run, name)) is None else v for name in names), examples])
    return sink.getvalue()


def _lead(curve: Curve) -> list[str]:
    return [curve.size, str(curve.ratio), f"{curve.target:g}"]


def _steps(runs: Sequence[TargetRun]) -> str:
    if not runs:
        return "–"
    known = [run.steps for run in runs if run.steps is not None]
    if len(known) < len(runs):
        return f">{max(run.steps_made for run in runs if run.steps is None)} ({len(known)}/{len(runs)})"
    mean = f"{sum(known) / len(known):.0f}"
    return f"{mean}±{stdev(known):.0f}" if len(known) > 1 else mean


def _estimate(estimate: Estimate, batches: Sequence[int]) -> str:
    text = _size(estimate.value, batches)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{_size(estimate.low, batches)}, {_size(estimate.high, batches)}]"


def _size(value: float, batches: Sequence[int]) -> str:
    """A batch size; outside of those measured only on which side."""
    where = beyond(value, batches)
    if where:
        return f">{max(batches)}" if where == "above" else f"<{min(batches)}"
    return f"{value:.0f}" if value >= 10 or math.isinf(value) else f"{value:.1f}"


def _range(values: Sequence[int]) -> str:
    return f"{values[0]} steps" if len(values) == 1 else f"{values[0]} to {values[-1]} steps"
