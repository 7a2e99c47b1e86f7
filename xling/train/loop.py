"""The training loop. It knows neither Ray nor MLflow: it is given hooks.

A step is a function of (seed, step, rank) and the weights before it (train/step.py). So a run that
goes on from a checkpoint does what the uninterrupted run would have done, without any random state to save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from xling.config.schema import TrainConfig
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
    misses: int = 0  # dev measures in a row that were no better than the best
    target_step: int | None = None  # the step after which the target was reached


Ending = Literal["target", "patience", "budget"]


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

    The end is the budget's, or comes before by patience or by the target (:func:`ending`). Tolerates zero
    remaining steps. A stop finishes its step and saves first. Early stopping's measures leave the state
    alone, so that results are the same without it.

    Raises:
        NonFiniteError: the loss or the gradient of a step is not finite on some rank; nothing
            of that step has been applied.
    """
    with Loader(task.texts, task.config.chunk_size, task.device, first=state.step, stop=task.total_steps) as loader:
        return _train(task, state, hooks, loader)


def _train(task: Task, state: LoopState, hooks: Hooks, loader: Loader) -> bool:
    config, pending = task.config, _Pending(hooks.report, task.config.report_every)
    ended = ending(task, state) is not None
    stopping = not ended and state.step in task.milestones and not hooks.may_go_on(state.step, None)
    task.encoder.train()
    while not ended and not stopping:
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
        better = asked and _note_dev(state, dev, config) and config.keep == "best"
        ended = ending(task, state) is not None
        if state.target_step == state.step:
            pending.records[-1]["steps_to_target"] = state.step
        if milestone and not ended:
            stopping = not hooks.may_go_on(state.step, dev) or stopping
        if ended or stopping or better or state.step % config.checkpoint_every == 0:
            pending.flush()
            hooks.save(state)
    pending.flush()
    return ended


def ending(task: Task, state: LoopState) -> Ending | None:
    """Why training is over; None while it is not."""
    if state.target_step is not None:
        return "target"
    if task.config.patience is not None and state.misses >= task.config.patience:
        return "patience"
    return "budget" if state.step >= task.total_steps else None


def early_end(task: Task, state: LoopState) -> str:
    """Why training ended before its budget was spent; empty when it did not."""
    reason, title = ending(task, state), task.config.measure.title
    if state.step >= task.total_steps or reason is None:
        return ""
    what = f"target reached: {title} {state.dev:.4f}"
    if reason == "patience":
        what = f"patience is over: no better {title} than {state.best_dev:.4f} in {state.misses} measurements"
    return f"{what} after {state.step} of at most {task.total_steps} steps"


def _measure_dev(task: Task, hooks: Hooks, pending: _Pending) -> float | None:
    """Measure on dev, into the newest record."""
    value = hooks.dev()
    task.encoder.train()
    if value is not None:  # a warm start has no dev set
        pending.records[-1][task.config.measure.key] = value
    return value


def _note_dev(state: LoopState, value: float | None, config: TrainConfig) -> bool:
    """Take a measure into the state; whether it is the best so far."""
    if value is None:
        return False
    state.dev = value
    if config.target_dev is not None and config.measure.reaches(value, config.target_dev):
        state.target_step = state.step
    if state.best_dev is not None and not config.measure.is_better(value, state.best_dev):
        state.misses += 1
        return False
    state.best_dev, state.best_step, state.misses = value, state.step, 0
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
