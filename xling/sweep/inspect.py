"""Looking at a sweep from beside it: status, logs, stop, the MLflow UI, what tracking still owes."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from xling.config.load import LoadedSweep
from xling.errors import ConfigError
from xling.storage import Storage
from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.jobs import Job, Study, build_study
from xling.sweep.launch import find_job, resume_command, states_of, sweep_storage
from xling.train.metrics import stored_steps

LINES_SHOWN = 10


def show_status(loaded: LoadedSweep, console: Console, *, as_json: bool) -> None:
    """A row a cell: state, attempts, how far it is, the last failure."""
    study, root, sweep = _open(loaded)
    states = states_of(root, sweep, study.scored)
    rows = []
    for job in study.scored:
        folder = CellFolder(root.child(job.folder(sweep)))
        attempts = folder.attempts()
        last = next((a["end"]["message"] for a in reversed(attempts) if a["end"] and a["end"]["message"]), "")
        message = last if states[job.id] is CellState.FAILED else ""
        rows.append((job, states[job.id], len(attempts), _reached(folder), message))
    if as_json:
        names = ("state", "attempts", "step", "error")
        text = [{"cell": row[0].label, "id": row[0].id, **dict(zip(names, row[1:], strict=True))} for row in rows]
        console.print_json(json.dumps(text))
        return
    table = Table(title=f"{sweep} in {root.url}", title_justify="left")
    for name in ("cell", "state", "attempts", "step"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("attempts", "step") else "left")
    for job, state, attempts_made, step, _ in rows:
        table.add_row(job.label, state, str(attempts_made), str(step))
    console.print(table)
    for job, _, _, _, message in rows:
        if message:
            console.print(f"{job.label}: {message}", highlight=False, markup=False, soft_wrap=True)
    if any(state is not CellState.DONE for _, state, *_ in rows):
        console.print(f"Go on with: {resume_command(loaded)}", highlight=False, soft_wrap=True)


def show_logs(loaded: LoadedSweep, cell: str, console: Console) -> None:
    """Attempts with their errors, then the newest steps."""
    study, root, sweep = _open(loaded)
    job = find_job((*study.scored, *study.warm), cell)
    folder = CellFolder(root.child(job.folder(sweep)))
    console.print(f"{job.label}  {job.id}  {folder.storage.url}", highlight=False, soft_wrap=True)
    for attempt in folder.attempts():
        end = attempt["end"]
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt["started"]))
        how = f"{end['outcome']} at step {end['step']}" if end else "its process was killed, or is still running"
        console.print(f"attempt {attempt['number']}: {began} on {attempt['host']}: {how}", highlight=False)
        if end and end["message"]:
            console.print(f"  {end['message']}", highlight=False, markup=False, soft_wrap=True)
            error = f"attempts/{attempt['number']:04d}.error.txt"
            if folder.storage.exists(error):
                console.print(f"  traceback: {folder.storage.locate(error)}", highlight=False, soft_wrap=True)
    for step in stored_steps(folder.storage)[-LINES_SHOWN:]:
        dev = f"  dev {step['dev']:.4f}" if "dev" in step else ""
        console.print(f"step {step['step']}  loss {step['loss']:.4f}  {step['source']}{dev}", highlight=False)


def stop_cell(loaded: LoadedSweep, cell: str, console: Console) -> None:
    """Leave word for a running cell. Raises ConfigError when it is not running."""
    study, root, sweep = _open(loaded)
    job = find_job(study.cells, cell)
    folder = CellFolder(root.child(job.folder(sweep)))
    state = states_of(root, sweep, [job])[job.id]
    if state is not CellState.RUNNING:
        raise ConfigError(f"cell {job.label} is {state}, only a running one can be stopped")
    folder.ask_to_stop(Outcome.STOPPED)
    console.print(f"{job.label} finishes its step, saves and stops. Go on with: {resume_command(loaded)} --stopped")


def open_ui(name: str | None, storage: str, port: int, console: Console) -> None:
    """Serve the MLflow UI on the storage's own store until Ctrl-C."""
    from xling.track.server import serve_ui

    root = Storage(storage)
    if not root.is_local or not root.exists("mlflow.db"):
        raise ConfigError(
            f"{root.url} holds no mlflow.db: launch a sweep first, name the storage with --storage, "
            "or open your tracking server's own page"
        )
    console.print("Starting the MLflow UI (some seconds); Ctrl-C ends it.")
    serve_ui(f"sqlite:///{root.url}/mlflow.db", root.locate("mlartifacts"), name, port, show=console.print)


def sync_tracking(storage: str, console: Console) -> int:
    """Send every spool below a local storage; 0 when all of it was delivered."""
    from xling.track.mlflow import sync

    root = Storage(storage)
    if not root.is_local:
        raise ConfigError(f"{root.url} is not a local folder: relaunching the sweep sends what is left")
    spools = sorted(path.parent for path in Path(root.url).glob("**/track/*.jsonl"))
    left = 0
    for spool in spools:
        if not sync(spool):
            left += 1
            console.print(f"not delivered: {spool}", highlight=False, soft_wrap=True)
    console.print(f"{len(spools) - left} of {len(spools)} runs are complete in MLflow.", highlight=False)
    return 1 if left else 0


def _open(loaded: LoadedSweep) -> tuple[Study, Storage, str]:
    return build_study(loaded.cells), sweep_storage(loaded), loaded.config.name


def _reached(folder: CellFolder) -> int:
    ends = [attempt["end"]["step"] for attempt in folder.attempts() if attempt["end"]]
    steps = [int(name[5:13]) for name in folder.storage.list("checkpoints") if name.startswith("step-")]
    return max([*ends, *steps], default=0)


def failures(root: Storage, sweep: str, jobs: list[Job]) -> list[tuple[Job, str, str]]:
    """Of each job whose newest attempt failed: the job, the message, where its traceback is."""
    found = []
    for job in jobs:
        folder = CellFolder(root.child(job.folder(sweep)))
        attempts = folder.attempts()
        end = attempts[-1]["end"] if attempts else None
        if end and end["outcome"] == Outcome.FAILED:
            found.append(
                (job, end["message"], folder.storage.locate(f"attempts/{attempts[-1]['number']:04d}.error.txt"))
            )
    return found
