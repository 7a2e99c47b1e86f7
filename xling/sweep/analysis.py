"""Gathers from storage what the analysis of a sweep needs beside its rows."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xling.errors import ConfigError
from xling.evaluate.result import PER_QUERY, EvaluationResult
from xling.languages import LangPair
from xling.report.analysis import analyse
from xling.report.blocks import Section
from xling.report.cell_values import CellValues, Figure, SweepValues, figures_of
from xling.report.estimates import FEWEST_SEEDS
from xling.report.groups import language_groups
from xling.report.rows import Ratio, ScoreRow, StoppedRow, in_order
from xling.storage import Storage
from xling.sweep.copied import languages_of
from xling.sweep.jobs import Evaluation, Job, Study
from xling.sweep.results import collect_stopped
from xling.train.inputs import about_model
from xling.train.metrics import stored_steps

Costs = dict[str, Any]  # the fields of CellValues that cost, by name

_KEY = ("query", "query_language", "passage_language", "n_rel")
_BERTS = ("bert", "roberta", "xlm-roberta")  # whose embedding tables are as config.json says


def analyse_sweep(
    root: Storage,
    sweep: str,
    study: Study,
    rows: Sequence[ScoreRow],
    *,
    stopped: Sequence[StoppedRow] | None = None,
    pairs: Sequence[str] = (),
) -> dict[str, list[Section]]:
    """The sections of each data set's analysis, by its name.

    Args:
        rows: those of :func:`xling.sweep.results.collect`.
        stopped: those of :func:`xling.sweep.results.collect_stopped`, read where they are not given.
        pairs: pairs of languages that are analysed as the means are (``ar-en``).

    Raises:
        ConfigError: a pair is not one of a data set's.
    """
    ended = collect_stopped(root, sweep, study.cells) if stopped is None else stopped
    costs = all_costs(root, sweep, study, rows)
    return {
        dataset: analyse(sweep_values(root, sweep, study, rows, dataset, costs, ended, pairs), dataset, pairs=pairs)
        for dataset in in_order(row.dataset for row in rows)
    }


def sweep_values(
    root: Storage,
    sweep: str,
    study: Study,
    rows: Sequence[ScoreRow],
    dataset: str,
    costs: Mapping[str, Costs],
    stopped: Sequence[StoppedRow] = (),
    pairs: Sequence[str] = (),
) -> SweepValues:
    """One data set's cells with their costs; with values by query where there are too few seeds to do without."""
    of_set = [row for row in rows if row.dataset == dataset]
    reader = _Reader(root, sweep, study, costs, figures_of(of_set, pairs), tuple(pairs))
    few = _with_few_seeds(of_set)
    with ThreadPoolExecutor(16) as pool:  # an object store is far
        cells = list(pool.map(lambda row: reader.cell(row, by_query=row.label in few), of_set))
    expected = [(job.row_size, Ratio(job.alpha, job.schedule)) for job in study.cells]
    return SweepValues(cells, stopped, expected)


def _with_few_seeds(rows: Sequence[ScoreRow]) -> Collection[str]:
    """Labels of all trained cells, if any point has fewer seeds in common with another than a t-interval needs."""
    trained = [row for row in rows if row.alpha is not None]
    seeds: dict[object, set[int]] = {}
    for row in trained:
        seeds.setdefault((row.size, row.ratio), set()).add(row.seed)
    if not seeds or len(set.intersection(*seeds.values())) >= FEWEST_SEEDS:
        return ()
    return {row.label for row in trained}


@dataclass(frozen=True, slots=True)
class _Reader:
    root: Storage
    sweep: str
    study: Study
    costs: Mapping[str, Costs]
    figures: Sequence[Figure]
    pairs: tuple[str, ...]

    def cell(self, row: ScoreRow, *, by_query: bool) -> CellValues:
        if row.alpha is None:
            return CellValues(row)
        job = next(job for job in self.study.cells if job.label == row.label)
        folder = self.root.child(job.folder(self.sweep))
        evaluation = next(evaluation for evaluation in job.evaluations if evaluation.dataset == row.dataset)
        return CellValues(
            row,
            per_query=self._per_query(folder, evaluation) if by_query else None,
            variant=job.variant,
            more=self._more(folder, job, evaluation),
            **self.costs[row.label],
        )

    def _more(self, folder: Storage, job: Job, evaluation: Evaluation) -> dict[str, float]:
        result = EvaluationResult.load_means(folder.child(f"eval/{evaluation.id}"))
        measure = self.figures[0].measure if self.figures else ""
        seen = result.trained_languages
        if seen is None:  # stored before results told
            seen = languages_of(self.study, job, result.languages)
        found = language_groups(result, seen, measure)
        for pair in self.pairs:
            found[f"{measure}/{pair}"] = _of_pair(result, measure, pair)
        return found

    def _per_query(self, folder: Storage, evaluation: Evaluation) -> pa.Table:
        data = io.BytesIO(folder.read(f"eval/{evaluation.id}/{PER_QUERY}"))
        there = pq.read_schema(data).names
        wanted = dict.fromkeys((*_KEY, *(figure.measure for figure in self.figures)))
        return pq.read_table(data, columns=[name for name in wanted if name in there])


def _of_pair(result: EvaluationResult, measure: str, pair: str) -> float:
    try:
        return result.pair(measure, LangPair.parse(pair))
    except ValueError as error:
        known = ", ".join(result.languages)
        raise ConfigError(
            f"the pair is {pair!r}, must be two languages of {result.dataset} ({known}): {error}"
        ) from None


def all_costs(root: Storage, sweep: str, study: Study, rows: Sequence[ScoreRow]) -> dict[str, Costs]:
    """What training took, by the labels of the trained cells that have rows."""
    labels = {row.label for row in rows if row.alpha is not None}
    jobs = [job for job in study.cells if job.label in labels]

    def of(job: Job) -> Costs:
        return training_costs(root.child(job.folder(sweep)), job.config.train.batch_size)

    with ThreadPoolExecutor(16) as pool:
        return dict(zip((job.label for job in jobs), pool.map(of, jobs), strict=True))


def training_costs(cell: Storage, batch_size: int) -> Costs:
    """What a trained cell has and took: the costs of ``CellValues``, by name.

    Tokens and seconds are summed over the steps on storage; not known where some are missing.
    """
    about = about_model(cell)
    steps, made = stored_steps(cell), about["step"]
    inner = about.get("parameters_non_embedding")
    if inner is None:  # trained before models told
        inner = _non_embedding(cell, about)
    costs: Costs = {
        "parameters": about.get("parameters"),
        "parameters_non_embedding": inner,
        "examples": made * batch_size,
    }
    counted = [step for step in steps if step["step"] < made]
    if len(counted) == made and made and all(step.get("pairs_per_s", 0) > 0 for step in counted):
        seconds = [batch_size / step["pairs_per_s"] for step in counted]
        tokens = sum(step["tokens_per_s"] * time for step, time in zip(counted, seconds, strict=True))
        costs |= {"tokens": tokens, "wall_seconds": sum(seconds)}
        costs["flops"] = None if inner is None else 6.0 * inner * tokens
    return costs


def _non_embedding(cell: Storage, about: Mapping[str, Any]) -> int | None:
    """Parameters outside the embedding tables, by what ``config.json`` says of these; None of another kind of model."""
    try:
        config = json.loads(cell.read("model/config.json"))
    except FileNotFoundError:
        return None
    if config.get("model_type") not in _BERTS or about.get("parameters") is None:
        return None
    rows = int(config["vocab_size"] + config["max_position_embeddings"] + config["type_vocab_size"])
    return int(about["parameters"]) - rows * int(config["hidden_size"])
