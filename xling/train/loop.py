"""The training loop. It knows neither Ray nor MLflow: it is given hooks.

A step is a function of (seed, step, rank) and the weights before it (train/step.py). So a run that
goes on from a checkpoint does what the uninterrupted run would have done, without any random state to save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from xling.errors import NonFiniteError
from xling.train.loader import Loader
from xling.train.step import StepRecord, step
from xling.train.task import Task


@dataclass
class LoopState:
    """What changes while training, besides weights and optimiser; all of it is checkpointed."""

    step: int = 0
    dev: float | None = None  # the newest dev measure
    best_step: int | None = None
    best_dev: float | None = None


class Hooks(Protocol):
    """What the loop asks of its surroundings. All ranks call all but ``report`` at the same steps."""

    def report(self, records: list[StepRecord]) -> None: ...
    def save(self, state: LoopState) -> None: ...
    def dev(self) -> float | None: ...
    def should_stop(self) -> bool: ...
    def may_go_on(self, step: int, dev: float | None) -> bool:
        """What early stopping decides at a milestone; ``dev`` None where that was before the checkpoint."""


def train(task: Task, state: LoopState, hooks: Hooks) -> bool:
    """Train from ``state.step`` to the end; True when it got there, False when asked to stop or stopped early.

    Tolerates zero remaining steps. A stop finishes its step and saves first. Early stopping's
    measures leave the state alone, so that results are the same without it.

    Raises:
        NonFiniteError: the loss or the gradient of a step is not finite on some rank; nothing
            of that step has been applied.
    """
    with Loader(task.texts, task.config.chunk_size, task.device, first=state.step, stop=task.total_steps) as loader:
        return _train(task, state, hooks, loader)


def _train(task: Task, state: LoopState, hooks: Hooks, loader: Loader) -> bool:
    config, pending = task.config, _Pending(hooks.report, task.config.report_every)
    stopping = state.step in task.milestones and not hooks.may_go_on(state.step, None)
    task.encoder.train()
    while state.step < task.total_steps and not stopping:
        try:
            record, stopping = step(task, loader, hooks.should_stop)
        except NonFiniteError:
            pending.flush()  # the way there is what one wants to look at
            raise
        pending.add(record)
        state.step += 1
        last = state.step == task.total_steps
        asked = last or (config.dev_every is not None and state.step % config.dev_every == 0)
        milestone = state.step in task.milestones
        dev = _measure_dev(task, hooks, pending) if asked or milestone else None
        better = asked and _note_dev(state, dev) and config.keep == "best"
        if milestone:
            stopping = not hooks.may_go_on(state.step, dev) or stopping
        if last or stopping or better or state.step % config.checkpoint_every == 0:
            pending.flush()
            hooks.save(state)
    pending.flush()
    return state.step == task.total_steps


def _measure_dev(task: Task, hooks: Hooks, pending: _Pending) -> float | None:
    """Measure on dev, into the newest record."""
    value = hooks.dev()
    task.encoder.train()
    if value is not None:  # a warm start has no dev set
        pending.records[-1]["dev"] = value
    return value


def _note_dev(state: LoopState, value: float | None) -> bool:
    """Take a measure into the state; whether it is the best so far."""
    if value is None:
        return False
    state.dev = value
    if state.best_dev is not None and value <= state.best_dev:
        return False
    state.best_dev, state.best_step = value, state.step
    return True


class _Pending:
    """Records not reported yet."""

    def __init__(self, report: Callable[[list[StepRecord]], None], every: int) -> None:
        self.records: list[StepRecord] = []
        self._every = every
        self._report = report

    def add(self, record: StepRecord) -> None:
        if len(self.records) >= self._every:  # before, not after: a dev value joins the newest record
            self.flush()
        self.records.append(record)

    def flush(self) -> None:
        if self.records:
            self._report(self.records)
            self.records = []
