"""Looking at a sweep from beside it: status, logs, stop, the MLflow UI."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from functools import partial
from typing import Any

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.errors import ConfigError
from xling.report.csv_text import to_csv
from xling.storage import Storage
from xling.sweep.cell_table import show_cells
from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.jobs import Job
from xling.sweep.launched import in_grid_order, launched_study, not_launched
from xling.sweep.live import clock
from xling.sweep.places import sweep_storage
from xling.sweep.remaining import Remaining, Stand, look, remaining
from xling.sweep.remembered import how_to_go_on, resume_command
from xling.sweep.selection import find_job, states_of
from xling.sweep.study import Study
from xling.sweep.tracking import known_id
from xling.track.store import default_store
from xling.train.attempts import local_time
from xling.train.metrics import stored_steps

LINES_SHOWN = 10


def show_status(loaded: LoadedSweep, console: Console, *, as_json: bool, as_csv: bool = False) -> None:
    """A row a cell: state, attempts, how far it is, the time left, why it failed or was stopped early."""
    study, new, root, sweep = _open(loaded)
    stands = look(root, sweep, in_grid_order(loaded, (*study.scored, *new)))
    left = remaining(stands, time.time())
    records = [_status(stand, left) for stand in stands]
    if as_csv:
        console.file.write(to_csv(records))
        return
    if as_json:
        about = {"sweep": sweep, "storage": root.url, "states": Counter(stand.state for stand in stands)}
        of_sweep = {
            "seconds_left": left.seconds,
            "at_once": left.at_once,
            "unknown": [job.label for job in left.unknown],
        }
        console.print_json(json.dumps({**about, **of_sweep, "cells": records}))
        return
    console.print(f"{sweep} in {root.url}", soft_wrap=True)
    rows = []
    for stand, record in zip(stands, records, strict=True):
        running = stand.state is CellState.RUNNING and record["seconds_left"] is not None
        total = "" if stand.total is None else f"/{stand.total}"
        left_s = clock(record["seconds_left"]) if running else ""
        rows.append([stand.job.label, stand.state, str(len(stand.attempts)), f"{stand.step}{total}", left_s])
    figures = ["attempts", "step", "left"]
    show_cells(["cell", "state", *figures], rows, console, right=figures)
    for record in records:
        if why := record["error"] or record["stopped_early"] or record["interrupted"]:
            console.print(f"{record['cell']}: {why}", soft_wrap=True)
    for line in (*_time_left(left), *how_to_go_on(loaded, [stand.state for stand in stands])):
        console.print(line, soft_wrap=True)


def _status(stand: Stand, left: Remaining) -> dict[str, Any]:
    """One cell for JSON and CSV."""
    end = stand.attempts[-1]["end"] if stand.attempts else None
    message = end["message"] if end else ""
    return {
        "cell": stand.job.label,
        "id": stand.job.id,
        "state": stand.state,
        "attempts": len(stand.attempts),
        "step": stand.step,
        "steps": stand.total,
        "seconds_left": left.cells.get(stand.job.id),
        "error": message if stand.state is CellState.FAILED else "",
        "stopped_early": message if stand.state is CellState.STOPPED else "",
        "interrupted": message if stand.state is CellState.INTERRUPTED else "",
    }


def _time_left(left: Remaining) -> list[str]:
    """What can be said of how long it will take; nothing where nothing is left."""
    lines = []
    if left.cells and left.seconds is not None:
        what = "1 cell" if len(left.cells) == 1 else f"{len(left.cells)} cells"
        lines.append(f"Left: about {clock(left.seconds)} for {what}, {left.at_once} at once.")
    elif left.cells:
        lines.append(f"Nothing runs now. Left: about {clock(sum(left.cells.values()))} if cells run one by one.")
    if left.unknown:
        count = len(left.unknown)
        lines.append(
            f"Not counted, since none of its kind is known to have run: {left.unknown[0].label}"
            + (f" and {count - 1} more." if count > 1 else ".")
        )
    return lines


def show_logs(loaded: LoadedSweep, cell: str, console: Console) -> None:
    """Attempts with their errors, then the newest steps. Raises ConfigError when no launch has prepared the cell."""
    study, new, root, sweep = _open(loaded)
    job = find_job((*study.scored, *new, *study.warm), cell)
    if not job.id:
        raise ConfigError(f"cell {job.label} is new, only one that a launch has prepared has logs: launch the sweep")
    folder = CellFolder(root.child(job.folder(sweep)))
    console.print(f"{job.label}  {job.id}  {folder.storage.url}", soft_wrap=True)
    for attempt in folder.attempts():
        end = attempt["end"]
        began = local_time(attempt["started"])
        how = f"{end['outcome']} at step {end['step']}" if end else "its process was killed, or is still running"
        console.print(f"attempt {attempt['number']}: {began} on {attempt['host']}: {how}", soft_wrap=True)
        if end and end["message"]:
            console.print(f"  {end['message']}", soft_wrap=True)
        trace = _trace_of(folder, attempt["number"])
        if trace:
            console.print(f"  traceback: {trace}", soft_wrap=True)
    measure = job.config.train.measure
    for step in stored_steps(folder.storage)[-LINES_SHOWN:]:
        dev = f"  {measure.title} {step[measure.key]:.4f}" if measure.key in step else ""
        loss = f"{step.get('loss', math.nan):.4f}  {step.get('source', '')}"
        console.print(f"step {step['step']}  loss {loss}{dev}", soft_wrap=True)


def stop_cell(loaded: LoadedSweep, cell: str, console: Console) -> None:
    """Leave word for a running cell. Raises ConfigError when it is not running."""
    study, new, root, sweep = _open(loaded)
    job = find_job([job for job in (*study.cells, *new) if job.kind == "cell"], cell)
    folder = CellFolder(root.child(job.folder(sweep)))
    state = states_of(root, sweep, [job])[job.id]
    if state is not CellState.RUNNING:
        raise ConfigError(f"cell {job.label} is {state}, only a running one can be stopped")
    folder.ask_to_stop(Outcome.STOPPED)
    command = f"{resume_command(loaded)} --stopped"
    console.print(f"{job.label} finishes its step, saves and stops. Go on with: {command}", soft_wrap=True)


def open_ui(name: str | None, storage: str, port: int, console: Console) -> None:
    """Serve the MLflow UI on the storage's own store until Ctrl-C."""
    from xling.track.server import serve_ui

    root = Storage(storage)
    if not root.is_local or not root.exists("mlflow.db"):
        raise ConfigError(
            f"{root.url} holds no mlflow.db: launch a sweep first, name the storage with --storage, "
            "or open your tracking server's own page"
        )
    uri, artifacts = default_store(root.url)
    sweep_id = None if name is None else known_id(root, name)
    console.print("Starting the MLflow UI (some seconds); Ctrl-C ends it.")
    show = partial(console.print, soft_wrap=True)  # an address is one line, however long
    serve_ui(uri, artifacts, name, port, show=show, sweep_id=sweep_id)


def _open(loaded: LoadedSweep) -> tuple[Study, list[Job], Storage, str]:
    """What storage has of a sweep, what its grid has beside that, the storage, the sweep's name."""
    root = sweep_storage(loaded)
    study = launched_study(root, loaded)
    return study, not_launched(loaded, study), root, loaded.config.name


def failures(root: Storage, sweep: str, jobs: list[Job]) -> list[tuple[Job, str, str]]:
    """Of each job whose newest attempt failed: the job, the message, where its traceback is."""
    return ended_as(Outcome.FAILED, root, sweep, jobs)


def ended_as(outcome: Outcome, root: Storage, sweep: str, jobs: list[Job]) -> list[tuple[Job, str, str]]:
    """Of each job whose newest attempt ended so: the job, the message, where its traceback is."""
    found = []
    for job in jobs:
        folder = CellFolder(root.child(job.folder(sweep)))
        attempts = folder.attempts()
        end = attempts[-1]["end"] if attempts else None
        if end and end["outcome"] == outcome:
            found.append((job, end["message"], _trace_of(folder, attempts[-1]["number"])))
    return found


def _trace_of(folder: CellFolder, attempt: int) -> str:
    """Where the traceback of an attempt is; empty when it left none, as a machine's failure does."""
    path = f"attempts/{attempt:04d}.error.txt"
    return folder.storage.locate(path) if folder.storage.exists(path) else ""
