"""What a sweep's own MLflow run tells: its headline by size and alpha, the best on dev, its tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from xling.errors import TrackingError
from xling.report.rows import ScoreRow, chosen_on_dev, headline, in_order, mean_of
from xling.report.sentence import summary
from xling.report.tables import FIGURES, MEANS, alpha_text, as_markdown, lines, size_by_alpha
from xling.sweep.outcome.gather import Gathered
from xling.track.links import sweep_links
from xling.track.mlflow import MetricPoint, RunTracker, metric_name
from xling.track.names import as_name

log = logging.getLogger(__name__)

_LONGEST_TAG = 8000  # characters that MLflow takes


def record_sweep(run: RunTracker, gathered: Gathered) -> None:
    """Log, after a launch, what the sweep has come to so far.

    Metrics: ``eval/<data set>/<figure>/<size>/a<alpha>``, the mean over seeds, and ``best/<data set>/<figure>`` of
    the cell that is best on dev, both at the number of cells that are done.
    """
    rows = gathered.rows
    if not rows:
        return
    for dataset in gathered.datasets:
        of_set = gathered.rows_on(dataset)
        headings, body = size_by_alpha(of_set)
        run.log_table([heading.replace("\n", " ") for heading in headings], _filled(body), f"{dataset}.json")
    figures = {**_by_line(rows), **_of_best(rows)}
    done = len({row.label for row in rows if row.alpha is not None})
    now = time.time_ns() // 1_000_000
    run.log_points(MetricPoint(name, value, _step(run, name, done), now) for name, value in figures.items())
    best = chosen_on_dev(rows)
    run.set_tags(
        {
            # Empty where none can be chosen: an earlier launch, of another grid, may have named one.
            "xling.best_on_dev": best.label if best is not None else "",
            "xling.done": str(done),
            "mlflow.note.content": _description(run, gathered.sweep, rows),
        }
    )


def _by_line(rows: Sequence[ScoreRow]) -> dict[str, float]:
    """The headline of every size and alpha, the baselines' at alpha ``start``."""
    found = {}
    for dataset in in_order(row.dataset for row in rows):
        of_set = [row for row in rows if row.dataset == dataset]
        for size, ratio, _ in lines(of_set):
            line = f"{as_name(size)}/{'start' if ratio is None else as_name(f'a{ratio}')}"
            for name in _figures(of_set):
                if (mean := mean_of(of_set, size, ratio, headline(name))) is not None:
                    found[f"{metric_name(dataset, name)}/{line}"] = mean.value
    return found


def _figures(of_set: Sequence[ScoreRow]) -> list[str]:
    """What the tables show: the measures that the data set is published with, then the usual figures."""
    published = [f"{measure}/{mean}" for row in of_set for measure in row.published for _, mean in MEANS]
    return in_order([*published, *(name for _, name, _ in FIGURES)])


def _of_best(rows: Sequence[ScoreRow]) -> dict[str, float]:
    """The headline of the cell that is best on dev, on every data set."""
    best = chosen_on_dev(rows)
    if best is None or best.dev is None:
        return {}
    found = {f"best/{best.measure.key}": best.dev}
    for row in rows:
        if row.label == best.label:
            names = [name for name in _figures([row]) if name in row.headline]
            found |= {metric_name(row.dataset, name).replace("eval/", "best/", 1): row.headline[name] for name in names}
    return found


def _step(run: RunTracker, name: str, done: int) -> int:
    """The cells done; of a sweep that was launched again without new ones the next free step."""
    return max(done, run.spool.floor(name) + 1)


def _filled(body: list[list[str]]) -> list[list[str]]:
    """A table's lines with the size on each of them: a viewer may sort them."""
    filled, size = [], ""
    for line in body:
        size = line[0] or size
        filled.append([size, *line[1:]])
    return filled


def _description(run: RunTracker, sweep: str, rows: Sequence[ScoreRow]) -> str:
    """What the run's page shows, in Markdown: ways on, the tables, and sentences on them."""
    says, tables = [], []
    for dataset in in_order(row.dataset for row in rows):
        of_set = [row for row in rows if row.dataset == dataset]
        says.append(f"### {dataset}\n\n{summary(of_set)}")
        tables.append(f"### {dataset}\n\n{as_markdown(size_by_alpha(of_set))}\n{summary(of_set)}")
    ways = _ways_on(run, sweep, rows)
    whole = "\n\n".join([*ways, *tables])
    return whole if len(whole) <= _LONGEST_TAG else "\n\n".join([*ways, *says])[:_LONGEST_TAG]


def _ways_on(run: RunTracker, sweep: str, rows: Sequence[ScoreRow]) -> list[str]:
    """The best on dev, and links into MLflow's pages, where the server can be asked for the runs."""
    parts = []
    best = chosen_on_dev(rows)
    if best is not None:
        parts.append(
            f"Best on dev: {best.label} (alpha {alpha_text(best.ratio)}), {best.measure.title} {best.dev:.4f}."
        )
    try:
        links = sweep_links(run.key.uri, sweep, run.key.experiment, run.key.sweep_id)
    except TrackingError as error:  # the rest is spooled, and this is not needed
        log.info("no links in the sweep's description: %s", error)
    else:
        ways = {"side by side": links.compare, "as charts": links.charts, "as a table": links.cells}
        listed = ", ".join(f"[{text}]({way.removeprefix('/')})" for text, way in ways.items() if way is not None)
        parts.append(f"The cells: {listed}.")
    return parts
