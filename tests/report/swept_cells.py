"""Cells with made-up figures, as the analysis of a sweep gets them."""

import numpy as np
import pyarrow as pa

from xling.report.cell_values import CellValues, Figure, SweepValues
from xling.report.rows import Ratio, ScoreRow

MO, CR = Figure("mAP/Mo", "Mo."), Figure("mAP/Cr", "Cr.")
PARAMETERS = {"small": 1_000_000, "base": 2_000_000, "large": 8_000_000}


def cell(
    size, alpha, seed=0, *, schedule="", dev=None, per_query=None, variant="", measure=None, dev_set="", **figures
):
    """Figures by their names, ``Mo``, ``Cr``, ``Mul`` and ``rank_distance``; alpha None is the start."""
    headline = {name if name == "rank_distance" else f"mAP/{name}": float(value) for name, value in figures.items()}
    name = f"{size} {variant}".rstrip()
    label = f"{name}/a{schedule or alpha}/s{seed}"
    more = {} if measure is None else {"measure": measure}
    row = ScoreRow(label, name, alpha, seed, "geo", headline, dev=dev, schedule=schedule, dev_set=dev_set, **more)
    return CellValues(row, per_query, variant, parameters_non_embedding=PARAMETERS.get(size))


def grid_of(means, seeds=3, noise=0.0, rng=None, **more):
    """Cells from {(size, alpha): Mo.}, seeds ``noise`` apart."""
    rng = rng or np.random.default_rng(0)
    return [
        cell(size, alpha, seed, Mo=mean + noise * rng.normal(), **more)
        for (size, alpha), mean in means.items()
        for seed in range(seeds)
    ]


def at(size, alpha, schedule=""):
    return size, Ratio(alpha, schedule)


def per_query(values, languages, measure="mAP"):
    """Values by question, query and passage language, QLT; the last T is the pool; NaN where there is no row."""
    targets = [*languages, "*"]
    rows = [
        {
            "query": f"{l1}/{q}",
            "query_language": l1,
            "passage_language": l2,
            "n_rel": 1,
            measure: float(values[q, i, j]),
        }
        for q in range(values.shape[0])
        for i, l1 in enumerate(languages)
        for j, l2 in enumerate(targets[: values.shape[2]])
        if not np.isnan(values[q, i, j])
    ]
    return pa.Table.from_pylist(rows)


def sweep(*cells, **more):
    return SweepValues([one for part in cells for one in (part if isinstance(part, list) else [part])], **more)
