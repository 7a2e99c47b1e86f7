"""What a report reads of a sweep, once: states, rows, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xling.config.load import LoadedSweep
from xling.evaluate.result import EvaluationResult
from xling.report.rows import ScoreRow, StoppedRow, in_order
from xling.storage import Storage
from xling.sweep.cells import CellFolder, CellState
from xling.sweep.jobs import Evaluation, Job, Study
from xling.sweep.results import collect, collect_stopped
from xling.sweep.selection import states_of


@dataclass(frozen=True, slots=True)
class Scored:
    """A done job's result on one data set, without the values of its queries."""

    job: Job
    evaluation: Evaluation
    result: EvaluationResult

    @property
    def folder(self) -> str:
        """Of the result, below the cell's."""
        return f"eval/{self.evaluation.id}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """A sweep as it is on storage."""

    root: Storage
    loaded: LoadedSweep
    study: Study
    states: Mapping[str, CellState]  # by id
    rows: Sequence[ScoreRow]
    stopped: Sequence[StoppedRow]
    scored: Sequence[Scored]  # in the sweep's order, baselines first

    @property
    def sweep(self) -> str:
        return self.loaded.config.name

    @property
    def datasets(self) -> list[str]:
        return in_order(row.dataset for row in self.rows)

    def rows_on(self, dataset: str) -> list[ScoreRow]:
        return [row for row in self.rows if row.dataset == dataset]

    def scored_on(self, dataset: str) -> list[Scored]:
        return [one for one in self.scored if one.evaluation.dataset == dataset]

    def result_of(self, row: ScoreRow) -> EvaluationResult:
        return next(one.result for one in self.scored_on(row.dataset) if one.job.label == row.label)

    def folder(self, job: Job) -> CellFolder:
        return CellFolder(self.root.child(job.folder(self.sweep)))

    def in_sets(self, text: str, dataset: str) -> str:
        """A title, with the data set in front where there are several."""
        return f"{dataset}: {text}" if len(self.datasets) > 1 else text


def gather(root: Storage, loaded: LoadedSweep, study: Study) -> Gathered:
    """Read what a sweep has come to so far."""
    sweep = loaded.config.name
    states = states_of(root, sweep, study.scored)
    return Gathered(
        root=root,
        loaded=loaded,
        study=study,
        states=states,
        rows=collect(root, sweep, study.scored),
        stopped=collect_stopped(root, sweep, study.cells),
        scored=list(_scored(root, sweep, [job for job in study.scored if states[job.id] is CellState.DONE])),
    )


def _scored(root: Storage, sweep: str, jobs: Sequence[Job]) -> Iterator[Scored]:
    for job in jobs:
        for evaluation in job.evaluations:
            folder = root.child(f"{job.folder(sweep)}/eval/{evaluation.id}")
            yield Scored(job, evaluation, EvaluationResult.load_means(folder))
