"""Addresses of a sweep's runs in MLflow's pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from xling.errors import TrackingError
from xling.redaction import without_password
from xling.track.reach import translated
from xling.track.store import PARENT_TAG, SWEEP_TAG, connect, runs_of

if TYPE_CHECKING:
    from mlflow.entities import Run

# The page draws every run's every metric; a link with more ids is no link to click on any more.
COMPARED_AT_MOST = 30

# Sorted by anything but the time of its start, the table folds no cell below its sweep.
_FLAT = f"&orderByKey={quote('tags.`mlflow.runName`', safe='')}&orderByAsc=true"


@dataclass(frozen=True, slots=True)
class SweepLinks:
    """Parts of addresses behind a server's own."""

    nested: str  # the experiment's table, cells folded below their sweeps
    cells: str  # this sweep's cells and baselines alone, a line each
    charts: str  # the same, with a chart of each of their metrics
    compare: str | None  # its done cells side by side; None without any, or with too many
    parent: str  # the sweep's own run


def sweep_links(uri: str, sweep: str, experiment: str | None = None, sweep_id: str | None = None) -> SweepLinks:
    """Find a sweep's runs: those of the newest sweep that they may be of.

    Args:
        experiment: its name; any by default.
        sweep_id: as :class:`RunKey` has it; any by default.

    Raises:
        TrackingError: the store holds no such sweep, or cannot be reached.
    """
    client = connect(uri)
    with translated(uri):
        known = [one.experiment_id for one in client.search_experiments() if experiment in (None, one.name)]
        parents = runs_of(sweep_id, client, known, f"tags.`{SWEEP_TAG}` = {json.dumps(sweep)}") if known else []
        if not parents:
            raise TrackingError(
                f"sweep {sweep!r} is not in {without_password(uri)}: nothing was tracked under that name yet"
            )
        place, parent = str(parents[0].info.experiment_id), str(parents[0].info.run_id)
        query = f"tags.`{PARENT_TAG}` = '{parent}' and tags.`xling.kind` = 'cell' and tags.`xling.state` = 'done'"
        done = client.search_runs([place], query, max_results=COMPARED_AT_MOST + 1)
    return _links(place, parent, sorted(done, key=lambda run: str(run.info.run_name)))


def runs_page(experiment: str) -> str:
    """An experiment's table of runs (MLflow opens another page by default)."""
    return f"/#/experiments/{quote(experiment)}/runs?workflowType=machine_learning"


def _links(experiment: str, parent: str, done: Sequence[Run]) -> SweepLinks:
    table = runs_page(experiment)
    cells = f"{table}&searchFilter={quote(f'tags.`{PARENT_TAG}` = {json.dumps(parent)}', safe='')}{_FLAT}"
    compare = None
    if 0 < len(done) <= COMPARED_AT_MOST:
        ids = [str(run.info.run_id) for run in done]
        runs, experiments = (quote(json.dumps(of, separators=(",", ":")), safe="") for of in (ids, [experiment]))
        compare = f"/#/compare-runs?runs={runs}&experiments={experiments}"
    return SweepLinks(
        nested=table,
        cells=cells,
        charts=f"{cells}&compareRunsMode=CHART",
        compare=compare,
        parent=f"/#/experiments/{quote(experiment)}/runs/{quote(parent)}",
    )
