"""How much time a sweep still takes, from what its cells took so far, as storage tells it.

A cell takes the time until its first step, its steps, and what comes after them (scoring). Each is measured
on cells that differ in nothing a step's cost depends on; of a kind that none has run yet nothing is said.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over
from xling.sweep.cells import CellFolder, CellState
from xling.sweep.jobs import Job
from xling.sweep.selection import states_of
from xling.track.spool import newest_operations
from xling.train.attempts import CheckpointName, stored_checkpoints
from xling.train.metrics import read_segment, segments
from xling.train.trained import MODEL_MARKER

# What does not change what a step costs.
_NO_COST = {
    "budget", "lr", "betas", "weight_decay", "warmup", "decay", "temperature", "keep", "dev_every",
    "patience", "target_dev", "checkpoint_every", "report_every",
}  # fmt: skip
_CELLS_MEASURED = 3  # of each kind, the newest that are done
_TO_RUN = (CellState.NEW, CellState.INTERRUPTED, CellState.RUNNING)

Timed = tuple[int, float]  # a step and the Unix seconds at which it was made


class _Budgeted(TypedDict):
    """What a checkpoint's state and a model's marker tell of the budget."""

    total_steps: int


@dataclass(frozen=True, slots=True)
class Stand:
    """How a job stands. ``total`` is None where the budget is in FLOPs and no step was made yet."""

    job: Job
    folder: CellFolder
    state: CellState
    attempts: tuple[dict[str, Any], ...]  # as CellFolder.attempts has them
    step: int  # that it was seen at: of a checkpoint, of an attempt's end, or made since
    total: int | None
    recent: tuple[Timed, ...] = ()  # of a running one, the last steps of this attempt that are known


@dataclass(frozen=True, slots=True)
class Pace:
    """What a kind of cell takes: seconds until the first step, a step, and from the last step to the end."""

    start_s: float
    step_s: float
    after_s: float | None  # None while none got to its end


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of a sweep."""

    cells: Mapping[str, float]  # seconds by job id, of what will run and can be foretold
    unknown: tuple[Job, ...]  # that will run, and are of a kind that none is known to have run
    at_once: int  # how many run now

    @property
    def seconds(self) -> float | None:
        """Until all that can be foretold is done; None while nothing runs."""
        return longest(self.cells.values(), self.at_once) if self.at_once else None


def longest(seconds: Iterable[float], at_once: int) -> float:
    """When the last of several jobs ends that begin in turn, each where a place comes free first."""
    free = [0.0] * at_once
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def cost_key(job: Job) -> str:
    """Equal for jobs whose steps cost the same, but for the texts that the mix chooses."""
    config = job.config
    train = config.train.model_dump_json(exclude=_NO_COST)
    return "|".join(
        (job.training, job.weights, config.model.model_dump_json(), train, config.resources.model_dump_json())
    )


def look(root: Storage, sweep: str, jobs: Sequence[Job]) -> list[Stand]:
    """How each job stands, in their order; one without an id has nothing on storage yet."""
    states = states_of(root, sweep, jobs)

    def stand(job: Job) -> Stand:
        folder = CellFolder(root.child(job.folder(sweep)))
        if not job.id:
            return Stand(job, folder, CellState.NEW, (), 0, _total(job, folder, CellState.NEW, ()))
        attempts = () if states[job.id] is CellState.NEW else tuple(folder.attempts())
        is_done = states[job.id] is CellState.DONE  # which has no checkpoints any more
        checkpoints = [] if is_done else stored_checkpoints(folder.storage)
        ends = [attempt["end"]["step"] for attempt in attempts if attempt["end"]]
        recent = _recent_steps(folder, attempts) if states[job.id] is CellState.RUNNING and attempts else []
        steps = [*ends, *(name.step for name in checkpoints), *(step + 1 for step, _ in recent)]
        total = _total(job, folder, states[job.id], checkpoints)
        return Stand(job, folder, states[job.id], attempts, max(steps, default=0), total, tuple(recent))

    with ThreadPoolExecutor(16) as pool:  # an object store is far
        return list(pool.map(stand, jobs))


def remaining(stands: Sequence[Stand], now: float) -> Remaining:
    """Args: now: Unix seconds."""
    paces = _paces(stands)
    cells: dict[str, float] = {}
    unknown: list[Job] = []
    for stand in sorted(stands, key=lambda one: one.state is not CellState.RUNNING):  # these have their places
        if stand.state not in _TO_RUN:
            continue
        seconds = _left(stand, paces, now)
        if seconds is None:
            unknown.append(stand.job)
        else:
            cells[stand.job.id] = seconds
    return Remaining(cells, tuple(unknown), sum(stand.state is CellState.RUNNING for stand in stands))


def _total(job: Job, folder: CellFolder, state: CellState, checkpoints: Sequence[CheckpointName]) -> int | None:
    """Steps of the whole budget; one in FLOPs is known once it was counted, at the first checkpoint."""
    budget = job.config.train.budget
    if budget.steps is not None:
        return budget.steps
    if budget.examples is not None:
        return budget.examples // job.config.train.batch_size
    paths = [f"checkpoints/{name}/state.json" for name in checkpoints[-1:]]
    for path in [MODEL_MARKER] if state is CellState.DONE else paths:
        try:
            return int(folder.storage.read_json(path, _Budgeted)["total_steps"])
        except FileNotFoundError:  # dropped meanwhile
            return None
        except DamagedFile as error:
            pass_over(error, "how many steps there are in all is not known")
            return None
    return None


def _left(stand: Stand, paces: Mapping[str, Pace], now: float) -> float | None:
    """Seconds that a job still takes once it runs; None where that cannot be known."""
    pace = paces.get(_kind(stand.job))
    step_s = _step_seconds(stand.recent) or (pace.step_s if pace else None)
    if step_s is None or stand.total is None:
        return None
    after_s = pace.after_s or 0.0 if pace else 0.0
    if stand.recent:
        step, made = stand.recent[-1]
        return max(0.0, (stand.total - step - 1) * step_s + after_s - (now - made))
    is_starting = stand.state is CellState.RUNNING and stand.attempts
    waited = now - stand.attempts[-1]["started"] if is_starting else 0.0
    start_s = max(0.0, (pace.start_s if pace else 0.0) - waited)
    return start_s + max(0, stand.total - stand.step) * step_s + after_s


def _kind(job: Job) -> str:
    """Jobs of one kind take equally long, but for their number of steps."""
    return _start_of(job) if job.kind == "baseline" else cost_key(job)


def _start_of(job: Job) -> str:
    """The kind of the baselines whose model is a job's own before its first step."""
    return f"baseline|{job.weights}|{job.config.model.model_dump_json()}"


def _paces(stands: Sequence[Stand]) -> dict[str, Pace]:
    """By kind, from the newest done cells of it, else from one that is running."""
    by_kind: defaultdict[str, list[Stand]] = defaultdict(list)
    for stand in stands:
        if stand.state in (CellState.DONE, CellState.RUNNING):
            by_kind[_kind(stand.job)].append(stand)
    paces = {}
    for kind, of_kind in by_kind.items():
        done = [stand for stand in of_kind if stand.state is CellState.DONE and stand.attempts and _end(stand)]
        newest = sorted(done, key=_end)[-_CELLS_MEASURED:]
        measured = [pace for stand in newest if (pace := _measured(stand)) is not None]
        if not measured:
            step_s = next((s for stand in of_kind if (s := _step_seconds(stand.recent)) is not None), None)
            measured = [Pace(0.0, step_s, None)] if step_s is not None else []
        if measured:
            after = [pace.after_s for pace in measured if pace.after_s is not None]
            start_s, after_s = fmean(pace.start_s for pace in measured), fmean(after) if after else None
            paces[kind] = Pace(start_s, fmean(pace.step_s for pace in measured), after_s)
            if after_s is not None:  # a baseline is loaded and scored as a cell is; those that ran came before
                paces.setdefault(_start_of(of_kind[0].job), Pace(start_s, 0.0, after_s))
    return paces


def _end(stand: Stand) -> float:
    end = stand.attempts[-1]["end"]
    return float(end["ended"]) if end else 0.0


def _measured(stand: Stand) -> Pace | None:
    """What a done job took in its newest attempt; None where that only scored a model trained before."""
    started, ended = stand.attempts[-1]["started"], _end(stand)
    if stand.job.kind == "baseline":
        return Pace(0.0, 0.0, ended - started)
    written = segments(stand.folder.storage, stand.attempts[-1]["number"])
    if not written:
        return None
    begun, last = (_steps_of(stand.folder, segment) for segment in (written[0], written[-1]))
    steps = [*begun, *last]
    step_s = _step_seconds(steps)
    if step_s is None or not begun or not last:
        return None
    return Pace(max(0.0, steps[0][1] - started - step_s), step_s, max(0.0, ended - steps[-1][1]))


def _step_seconds(steps: Sequence[Timed]) -> float | None:
    """Mean seconds from step to step, with what is done between them; None of fewer than two."""
    if len(steps) < 2 or steps[-1][0] == steps[0][0]:
        return None
    return (steps[-1][1] - steps[0][1]) / (steps[-1][0] - steps[0][0])


def _recent_steps(folder: CellFolder, attempts: Sequence[dict[str, Any]]) -> list[Timed]:
    """The last steps of the newest attempt that are known.

    Of a cell in a local folder those of its spool, a few steps old; else those of the last checkpoint.
    """
    if not folder.storage.is_local:
        written = segments(folder.storage, attempts[-1]["number"])
        return _steps_of(folder, written[-1]) if written else []
    steps = [
        (operation["step"], operation["timestamp_ms"] / 1000)
        for operation in newest_operations(Path(folder.storage.url) / "track")
        if operation["op"] == "point" and operation["key"] == "train/loss"
    ]
    return [step for step in steps if step[1] > attempts[-1]["started"]]


def _steps_of(folder: CellFolder, segment: str) -> list[Timed]:
    """The first step of a metrics file, and its last; none of one that was cut or changed."""
    try:
        records = read_segment(folder.storage, segment, ends=True)
    except DamagedFile as error:
        pass_over(error, "no time is foretold by it")
        return []
    return [(record["step"], record["time_ms"] / 1000) for record in records]
