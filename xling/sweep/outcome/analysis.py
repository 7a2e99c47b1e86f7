"""Brings together what the analysis of a sweep needs beside its rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from xling.errors import ConfigError
from xling.evaluate.per_query import read_queries
from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair
from xling.report.analysis import analyse
from xling.report.blocks import Section
from xling.report.cell_values import CellValues, Figure, SweepValues, figures_of
from xling.report.estimates import FEWEST_SEEDS
from xling.report.groups import language_groups
from xling.report.rows import Ratio, ScoreRow
from xling.sweep.costs import Trace
from xling.sweep.outcome.gather import Gathered, Scored


def analyse_sweep(gathered: Gathered, *, pairs: Sequence[str] = ()) -> dict[str, list[Section]]:
    """The sections of each data set's analysis, by its name.

    Args:
        pairs: pairs of languages that are analysed as the means are (``ar-en``).

    Raises:
        ConfigError: a pair is not one of a data set's.
        DataError: a cell's values by query are needed and cannot be read.
    """
    return {
        dataset: analyse(sweep_values(gathered, dataset, pairs), dataset, pairs=pairs) for dataset in gathered.datasets
    }


def sweep_values(gathered: Gathered, dataset: str, pairs: Sequence[str] = ()) -> SweepValues:
    """One data set's cells with their costs; with values by query where there are too few seeds to do without."""
    of_set = gathered.rows_on(dataset)
    reader = _Reader(gathered, gathered.traces, figures_of(of_set, pairs), tuple(pairs))
    few = _with_few_seeds(of_set)
    with ThreadPoolExecutor(16) as pool:  # an object store is far
        cells = list(pool.map(lambda row: reader.cell(row, by_query=row.label in few), of_set))
    expected = [(job.row_size, Ratio(job.alpha, job.schedule)) for job in gathered.study.cells]
    return SweepValues(cells, gathered.stopped, expected)


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
    gathered: Gathered
    traces: Mapping[str, Trace]
    figures: Sequence[Figure]
    pairs: tuple[str, ...]

    def cell(self, row: ScoreRow, *, by_query: bool) -> CellValues:
        if row.alpha is None:
            return CellValues(row)
        one = self.gathered.scored_as(row)
        return CellValues(
            row,
            per_query=self._per_query(one) if by_query else None,
            variant=one.job.variant,
            trained=frozenset(self.gathered.languages_of(one)),
            more=self._more(one),
            **self.traces[row.label].costs,
        )

    def _more(self, one: Scored) -> dict[str, float]:
        result = one.result
        measure = self.figures[0].measure if self.figures else ""
        found = language_groups(result, self.gathered.languages_of(one), measure)
        for pair in self.pairs:
            found[f"{measure}/{pair}"] = _of_pair(result, measure, pair)
        return found

    def _per_query(self, one: Scored) -> pa.Table:
        wanted = {figure.measure for figure in self.figures} | set(one.result.published)
        measures = [name for name in wanted if name in one.result.measures or name in one.result.headline]
        return read_queries(self.gathered.folder(one.job).storage.child(one.folder), measures, wanted)


def _of_pair(result: EvaluationResult, measure: str, pair: str) -> float:
    try:
        return result.pair(measure, LangPair.parse(pair))
    except ValueError as error:
        known = ", ".join(result.languages)
        raise ConfigError(
            f"the pair is {pair!r}, must be two languages of {result.dataset} ({known}): {error}"
        ) from None
