"""What a sweep has come to so far, read from storage once: states, rows, results, what batches were made of.

On an object store every file is a request: whoever shows several things of one sweep gathers first, and hands that on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xling.config.load import LoadedSweep
from xling.evaluate.result import EvaluationResult
from xling.report.composition import Composition, score_by_pairs
from xling.report.published import checkpoint_of, shares_of
from xling.report.rows import ScoreRow, StoppedRow, in_order
from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over, shaped
from xling.sweep.cells import CellFolder, CellState
from xling.sweep.copied import languages_of
from xling.sweep.costs import Trace, read_trace
from xling.sweep.jobs import Evaluation, Job
from xling.sweep.outcome.batch_study import BatchStudy
from xling.sweep.selection import states_of
from xling.sweep.study import Study
from xling.train.inputs import about_model

_AT_ONCE = 16  # an object store is far


@dataclass(frozen=True, slots=True)
class Finished:
    """A done job's files: about its model, its batches (None of a baseline), its results without values of queries."""

    job: Job
    about: Mapping[str, Any]
    composition: Composition | None
    results: tuple[EvaluationResult, ...]  # of its evaluations, in their order


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


@dataclass(frozen=True)
class Gathered:
    """A sweep as it is on storage."""

    root: Storage
    loaded: LoadedSweep
    study: Study
    states: Mapping[str, CellState]  # by id
    finished: Sequence[Finished]  # in the sweep's order, baselines first
    rows: Sequence[ScoreRow]
    stopped: Sequence[StoppedRow]

    @property
    def sweep(self) -> str:
        return self.loaded.config.name

    @property
    def datasets(self) -> list[str]:
        return in_order(row.dataset for row in self.rows)

    @cached_property
    def scored(self) -> list[Scored]:
        """In the sweep's order, baselines first."""
        return [
            Scored(of.job, evaluation, result)
            for of in self.finished
            for evaluation, result in zip(of.job.evaluations, of.results, strict=True)
        ]

    @property
    def compositions(self) -> dict[str, Composition]:
        """What the batches of the done cells were made of, by label, where that was counted."""
        return {of.job.label: of.composition for of in self.finished if of.composition is not None}

    @cached_property
    def batches(self) -> BatchStudy:
        return BatchStudy(self.root, self.sweep, self.study.cells)

    @cached_property
    def attempts(self) -> dict[str, list[dict[str, Any]]]:
        """Those of every job, warm starts too, by id."""
        jobs = (*self.study.scored, *self.study.warm)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda job: self.folder(job).attempts(), jobs)
            return dict(zip((job.id for job in jobs), found, strict=True))

    @cached_property
    def traces(self) -> dict[str, Trace]:
        """What the steps of every cell tell, by label: their losses, and what a done one cost."""
        about = {of.job.id: of.about for of in self.finished}

        def of(job: Job) -> Trace:
            return read_trace(self.folder(job).storage, about.get(job.id), job.config.train.batch_size)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip((job.label for job in self.study.cells), pool.map(of, self.study.cells), strict=True))

    def rows_on(self, dataset: str) -> list[ScoreRow]:
        return [row for row in self.rows if row.dataset == dataset]

    def scored_on(self, dataset: str) -> list[Scored]:
        return [one for one in self.scored if one.evaluation.dataset == dataset]

    def result_of(self, row: ScoreRow) -> EvaluationResult:
        return self.scored_as(row).result

    def scored_as(self, row: ScoreRow) -> Scored:
        """What a row was made from."""
        return next(one for one in self.scored_on(row.dataset) if one.job.label == row.label)

    def languages_of(self, one: Scored) -> tuple[str, ...]:
        """The languages that a scored model was trained on."""
        return languages_of(self.study, one.job, one.result)

    def folder(self, job: Job) -> CellFolder:
        return CellFolder(self.root.child(job.folder(self.sweep)))

    def in_sets(self, text: str, dataset: str) -> str:
        """A title, with the data set in front where there are several."""
        return f"{dataset}: {text}" if len(self.datasets) > 1 else text


def gather(root: Storage, loaded: LoadedSweep, study: Study, states: Mapping[str, CellState] | None = None) -> Gathered:
    """Read what a sweep has come to so far. Args: states: of its jobs, by id, where they are known."""
    sweep, jobs = loaded.config.name, study.scored
    states = states_of(root, sweep, jobs) if states is None else states
    finished = _read(root, sweep, jobs, states, batches=True)
    stopped = _stopped(root, sweep, jobs, states)
    return Gathered(root, loaded, study, states, finished, list(_rows(jobs, finished, stopped)), stopped)


def collect(root: Storage, sweep: str, jobs: Sequence[Job]) -> list[ScoreRow]:
    """The rows of all jobs that are done, cells and baselines, in the sweep's order, and nothing else.

    Another axis of the grid, a batch size say, becomes part of the row's size, so that only seeds
    are ever averaged. A baseline stands before each of the sizes it is the start of, unless early
    stopping ended all of it.
    """
    states = states_of(root, sweep, jobs)
    finished = _read(root, sweep, jobs, states, batches=_chosen_pairs(jobs))
    return list(_rows(jobs, finished, _stopped(root, sweep, jobs, states)))


def _chosen_pairs(jobs: Sequence[Job]) -> bool:
    """Whether some cell was trained on some pairs of languages only."""
    return any(job.config.mix.pairs != "all" for job in jobs)


def _read(
    root: Storage, sweep: str, jobs: Sequence[Job], states: Mapping[str, CellState], *, batches: bool
) -> list[Finished]:
    """The done ones' files; with ``batches`` also what these were made of."""

    def of(job: Job) -> Finished:
        folder = root.child(job.folder(sweep))
        results = [EvaluationResult.load_means(folder.child(f"eval/{evaluation.id}")) for evaluation in job.evaluations]
        composition = _composition(folder) if batches and job.kind == "cell" else None
        return Finished(job, about_model(folder), composition, tuple(results))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(of, [job for job in jobs if states[job.id] is CellState.DONE]))


def _composition(cell: Storage) -> Composition | None:
    """What a trained cell's batches were made of; None of one that was trained before pairs were counted."""
    try:
        found: dict[str, Any] = cell.read_json("composition.json", dict)
        if "pairs" not in found:
            return None
        composition: Composition = shaped(found, Composition, cell.locate("composition.json"))
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        pass_over(error, "what its batches were made of is left out")
        return None
    return composition


def _rows(jobs: Sequence[Job], finished: Sequence[Finished], stopped: Sequence[StoppedRow]) -> Iterator[ScoreRow]:
    ended = {row.label for row in stopped}
    going = [job for job in jobs if job.label not in ended]
    by_pairs = _chosen_pairs(jobs)
    for of in finished:
        job = of.job
        for evaluation, result, entry in zip(job.evaluations, of.results, job.config.data.evaluate, strict=True):
            for variant in _variants(job, going):
                yield ScoreRow(
                    label=job.label,
                    size=f"{job.size} {variant}".rstrip(),
                    alpha=job.alpha if job.kind == "cell" else None,
                    seed=job.config.seed,
                    dataset=evaluation.dataset,
                    headline=result.headline,
                    strata={label: stratum.headline for label, stratum in result.strata.items()},
                    dev=of.about["dev"],
                    published=result.published,
                    schedule=job.schedule,
                    by_pairs=score_by_pairs(result, of.composition) if by_pairs and of.composition is not None else {},
                    measure=job.config.train.measure,
                    dev_set=job.dev,
                    languages=len(result.languages),
                    part=entry.titles is not None or entry.limit is not None,
                    checkpoint=checkpoint_of(job.config.model),
                    shares=shares_of(job.config.mix) if job.kind == "cell" else None,
                )


def _variants(job: Job, jobs: Sequence[Job]) -> list[str]:
    if job.kind == "cell":
        return [job.variant]
    started = (other for other in jobs if other.kind == "cell" and other.start == job.start)
    return in_order(other.variant for other in started)


def _stopped(root: Storage, sweep: str, jobs: Sequence[Job], states: Mapping[str, CellState]) -> list[StoppedRow]:
    """The cells that early stopping ended, in the sweep's order."""
    rows = []
    for job in jobs:
        if states[job.id] is not CellState.STOPPED:
            continue
        if reason := CellFolder(root.child(job.folder(sweep))).stopped_early():
            rows.append(StoppedRow(job.label, job.row_size, job.alpha, reason, job.schedule))
    return rows
