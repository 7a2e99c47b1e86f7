"""``xling sweep FILE --dry-run``: whether all parts of a sweep run together, before its data or weights are fetched.

The code path is that of the sweep itself: Ray Tune, Ray Train, the evaluator, a local MLflow store. Storage, caches and
made-up data lie in a temporary folder that goes with the command.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from xling.config.load import LoadedSweep, load_sweep
from xling.report.rows import ScoreRow, in_order
from xling.report.tables import Grid, as_records, as_rich, number
from xling.storage import Storage
from xling.sweep.inspect import failures
from xling.sweep.jobs import Job
from xling.sweep.launching.in_small import BATCH, LAYERS, STAND_IN, STEPS, check_names, in_small, stands_in
from xling.sweep.launching.launch import Launched, launch
from xling.sweep.live import Display, display_for
from xling.sweep.places import sweep_storage


def dry_run(file: Path, overrides: Sequence[str], console: Console, *, as_json: bool) -> int:
    """Run a sweep in small and print what came of it.

    Args:
        file: the sweep file; its variables need not be set and its paths may lead nowhere.

    Returns:
        The exit status, as that of a sweep.

    Raises:
        ConfigError, DataError, ResourceError, TrackingError, CheckpointError: as a sweep.
    """
    started = time.monotonic()
    loaded = load_sweep(file, overrides, [check_names], places=False)
    with _temporary_folder() as folder:
        small = in_small(loaded, folder)
        if not as_json:
            _say_what(loaded, small, console)

        def make_display(jobs: Sequence[Job]) -> Display:
            return display_for(console, jobs, as_json=as_json)

        done = launch(small, make_display)
        root, sweep = sweep_storage(small), small.config.name
        rows = [] if done.gathered is None else done.gathered.rows
        failed = [
            (job.label, message, _text_of(root, trace)) for job, message, trace in failures(root, sweep, list(done.ran))
        ]
    _show(small, done, rows, failed, time.monotonic() - started, console, as_json=as_json)
    return done.exit_status


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that goes; until then this process and what it starts keep caches there, and ask no hub."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="xling-dry-run-", ignore_cleanup_errors=True) as name:
        os.environ |= {"XLING_CACHE": f"{name}/cache", "HF_HUB_OFFLINE": "1"}
        try:
            yield Path(name)
        finally:
            for key in ("XLING_CACHE", "HF_HUB_OFFLINE"):
                os.environ.pop(key)
                os.environ |= {key: before[key]} if key in before else {}


def _text_of(root: Storage, trace: str) -> str:
    """A traceback, which would go with the folder."""
    return Path(trace).read_text(encoding="utf-8") if trace else ""


def _say_what(loaded: LoadedSweep, small: LoadedSweep, console: Console) -> None:
    sets = in_order(entry.dataset for cell in small.cells for entry in cell.config.data.evaluate)
    replaced = in_order(cell.model_name for cell in loaded.cells if stands_in(cell.config.model))
    lines = [
        f"Dry run of {loaded.config.name}: {len(small.cells)} of its {len(loaded.cells)} cells, the first of each "
        f"model, {STEPS} steps of {BATCH} pairs.",
        f"Random weights of at most {LAYERS} layers, made-up texts in each set's format, one CPU worker a cell; "
        "no network, no early stopping. Scored on: " + (", ".join(sets) or "nothing"),
    ]
    if replaced:
        lines.append(f"No preset, so a {STAND_IN} stands in: {', '.join(replaced)}")
    for line in lines:
        console.print(line, soft_wrap=True)


def _show(
    small: LoadedSweep,
    done: Launched,
    rows: Sequence[ScoreRow],
    failed: Sequence[tuple[str, str, str]],
    seconds: float,
    console: Console,
    *,
    as_json: bool,
) -> None:
    if as_json:
        text = {
            "event": "dry-run",
            "sweep": small.config.name,
            "cells": [cell.label for cell in small.cells],
            "states": {job.label: done.states[job.id] for job in done.study.scored},
            "failures": {label: message for label, message, _ in failed},
            "rows": as_records(rows),
            "seconds": round(seconds, 1),
        }
        console.print(json.dumps(text), soft_wrap=True)
        return
    if rows:
        console.print(as_rich(_scores(rows), "Figures of random weights after two steps: they mean nothing", lead=2))
    for label, message, trace in failed:
        console.print(f"failed: {label}: {message}", style="red", soft_wrap=True)
        if trace:
            console.print(trace, soft_wrap=True)
    how = "Interrupted" if done.interrupted else "Every part ran" if done.exit_status == 0 else "Not every part ran"
    console.print(f"{how}: {seconds:.0f} s, and nothing of it is kept.", soft_wrap=True)


def _scores(rows: Sequence[ScoreRow]) -> Grid:
    """A line a data set: the first of its measures, for each trained cell."""
    trained = [row for row in rows if row.alpha is not None]
    cells = in_order(row.label for row in trained)
    body = []
    for dataset in in_order(row.dataset for row in trained):
        of_set = {row.label: row for row in trained if row.dataset == dataset}
        name = _lead(next(iter(of_set.values())))
        values = [number(of_set[cell].headline[name], 3) if cell in of_set else "–" for cell in cells]
        body.append([dataset, name, *values])
    return ["data set", "measure", *cells], body


def _lead(row: ScoreRow) -> str:
    """The headline's name of the measure that the set is published with, or of the first there is."""
    measure = row.published[0] if row.published else "mAP"
    return next((name for name in row.headline if name.startswith(f"{measure}/")), next(iter(row.headline)))
