"""``xling report --verify``: the report's numbers again, from per-query values alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xling.evaluate.recomputed import Compared, Recomputed, compare_pairs, compare_stored, compared, recompute
from xling.evaluate.result import EvaluationResult
from xling.report.blocks import Block, PairMaps, Picture, Section, Table
from xling.report.cell_values import figures_of
from xling.report.composition import score_by_pairs
from xling.report.estimates import FEWEST_SEEDS
from xling.report.plain_statistics import ByQuestion, by_question
from xling.report.questions import RESAMPLES
from xling.report.rows import ScoreRow, headline, mean_of, ratios_of, sizes_of
from xling.report.tables import Grid, alpha_text
from xling.sweep.outcome.gather import Gathered, Scored
from xling.sweep.outcome.results import tables_of_set
from xling.sweep.reporting.plain_points import PlainCell, PlainPoints
from xling.sweep.reporting.verify_analysis import tables_again
from xling.sweep.reporting.verify_contrasts import Again

_DECIMAL = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_WHOLE = re.compile(r"-?\d+\.\d{7,}(e-\d+)?|-?\d+\.\d+e-\d+")  # as repr writes what was not rounded
_PARTLY = (
    "dev measures",
    "costs of training",
    "of language bias what is not rank distance or the share of the query's own language",
    "sentences, whose numbers stand in the tables",
)
_TABLES = ("tables", "curves", "pairs")  # sections that show results as they are; the others are of the analysis


@dataclass(frozen=True, slots=True)
class Verified:
    """How many numbers were recomputed, those that differ, and what holds numbers that no query has a value of."""

    checked: int
    differing: tuple[str, ...]
    not_recomputed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Again:
    """A result's means from its queries."""

    scored: Scored
    overall: Recomputed
    groups: Mapping[str, Recomputed]
    values: Mapping[str, ByQuestion | None]  # of cells whose questions are resampled

    @property
    def result(self) -> EvaluationResult:
        """The stored result with every number replaced that its queries have."""
        stored, overall = self.scored.result, self.overall
        pool = stored.pool and replace(
            stored.pool,
            values={name: overall.pool(name, stored.languages) for name in stored.pool.values},
            rank_distance=overall.pool("rank_distance", stored.languages),
            own_language_share=overall.pool("own_language_share", stored.languages),
        )
        values = {name: overall.pairs(name, stored.languages) for name in stored.pair_values}
        return replace(stored, headline=overall.headline, pair_values=values, pool=pool)


_All = Mapping[
    tuple[str, str], Sequence[_Again]
]  # by label and data set; sizes with several starts have as many of one


def verify(gathered: Gathered, sections: Sequence[Section]) -> Verified:
    """Recompute what the sections show of evaluations.

    Stored results, means over seeds, tables and matrices as they stand, and the analysis of them.
    """
    again, found = _from_queries(gathered)
    differing = [str(of) for of in found if not of.agrees]
    checked, covered = _known(found), set()
    blocks = [block for section in sections if section.name in _TABLES for block in section.blocks]
    analysed = [block for section in sections if section.name not in _TABLES for block in section.blocks]
    for dataset in gathered.datasets:
        rows = [_row_again(gathered, row, _of_row(again, row)) for row in gathered.rows_on(dataset)]
        means = list(_seed_means(gathered.rows_on(dataset), rows))
        checked += _known(means)
        differing += [str(of) for of in means if not of.agrees]
        checks = dict(_shown(gathered, dataset, rows, again))
        results = [(block, checks[block.name](block)) for block in blocks if block.name in checks]
        results += _analysis(gathered, dataset, rows, again, analysed)
        for block, (count, other) in results:
            covered.add(id(block))
            checked += count
            differing += other
    left = [
        block.title
        for block in (*blocks, *analysed)
        if id(block) not in covered and isinstance(block, Table | Picture | PairMaps)
    ]
    return Verified(checked, tuple(dict.fromkeys(differing)), (*_PARTLY, *left))


def _from_queries(gathered: Gathered) -> tuple[_All, list[Compared]]:
    """Every result from its queries, and its stored numbers beside what they give."""
    found: list[Compared] = []
    again: dict[tuple[str, str], list[_Again]] = {}
    resampled = {dataset: _resampled_measures(gathered.rows_on(dataset)) for dataset in gathered.datasets}
    for one in gathered.scored:
        dataset, folder = one.evaluation.dataset, gathered.folder(one.job).storage.child(one.folder)
        per_query = EvaluationResult.load(folder).per_query
        overall, groups = recompute(per_query)
        found += [
            replace(of, name=f"{one.job.label} on {dataset}: {of.name}")
            for of in compare_stored(one.result, overall, groups)
        ]
        measures = resampled.get(dataset, ()) if one.job.kind == "cell" else ()
        values = {measure: by_question(per_query, measure) for measure in measures}
        again.setdefault((one.job.label, dataset), []).append(_Again(one, overall, groups, values))
    return again, found


def _resampled_measures(rows: Sequence[ScoreRow]) -> set[str]:
    """The measures whose questions are resampled; none where all sizes and mixes share seeds enough."""
    trained = [row for row in rows if row.alpha is not None]
    seeds = [
        {row.seed for row in trained if (row.size, row.ratio) == place}
        for place in {(r.size, r.ratio) for r in trained}
    ]
    if not seeds or len(set.intersection(*seeds)) >= FEWEST_SEEDS:
        return set()
    return {figure.measure for figure in figures_of(rows)} | {name for row in rows for name in row.published}


def _analysis(
    gathered: Gathered, dataset: str, rows: Sequence[ScoreRow], again: _All, blocks: Sequence[Block]
) -> Iterator[tuple[Block, tuple[int, list[str]]]]:
    """The blocks of a data set's analysis, each with how many numbers it holds and those that differ."""
    lead = f"{dataset}-" if len(gathered.datasets) > 1 else ""
    own = [(block.name.removeprefix(lead), block) for block in blocks if block.name.startswith(lead)]
    figures = figures_of(rows)
    if not own or not figures:
        return
    cells = [
        _plain(gathered, row, _of_row(again, shown)) for shown, row in zip(gathered.rows_on(dataset), rows, strict=True)
    ]
    points = PlainPoints(cells, list(map(alpha_text, ratios_of(rows))), resamples=RESAMPLES, seed=0)
    for block, grid in tables_again(points, rows, figures, own):
        yield block, _against(grid)(block)


def _plain(gathered: Gathered, row: ScoreRow, again: _Again) -> PlainCell:
    job = again.scored.job
    is_cell = job.kind == "cell"
    return PlainCell(
        row.label,
        row.size,
        alpha_text(row.ratio) if is_cell else "",
        row.seed,
        again.overall,
        gathered.languages_of(again.scored),
        again.values,
        row.dev,
        job.variant,
        gathered.traces[row.label].costs.get("parameters_non_embedding") if is_cell else None,
    )


def _known(found: Sequence[Compared]) -> int:
    return sum(of.stored is not None or of.recomputed is not None for of in found)


def _of_row(again: _All, row: ScoreRow) -> _Again:
    return next(of for of in again[row.label, row.dataset] if of.scored.result.headline == row.headline)


def _row_again(gathered: Gathered, row: ScoreRow, again: _Again) -> ScoreRow:
    by_pairs: Mapping[str, float] = {}
    if row.by_pairs:
        by_pairs = score_by_pairs(again.result, gathered.compositions[row.label])
    kept = {name: row.headline[name] for name in row.headline if name not in again.overall.headline}
    strata = {label: of.headline for label, of in again.groups.items()}
    return replace(row, headline={**again.overall.headline, **kept}, strata=strata, by_pairs=by_pairs)


def _seed_means(shown: Sequence[ScoreRow], again: Sequence[ScoreRow]) -> Iterator[Compared]:
    """Means and deviations over seeds, as tables take them, beside NumPy's of the recomputed rows."""
    strata = [None, *sorted({label for row in shown for label in row.strata})]
    names = sorted({name for row in again for name in row.headline})
    for size in sizes_of(shown):
        for ratio in (None, *ratios_of(shown)):
            own = [row for row in again if row.size == size and row.ratio == ratio]
            for stratum in strata:
                for name in names:
                    read = headline(name, stratum)
                    values = [value for row in own if (value := read(row)) is not None]
                    mean = mean_of(shown, size, ratio, read)
                    what = f"{size} at {ratio or 'the start'}: {stratum or 'all queries'}: {name}"
                    yield compared(
                        f"mean of {what}",
                        None if mean is None else mean.value,
                        float(np.mean(values)) if values else None,
                    )
                    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
                    yield compared(f"deviation of {what}", None if mean is None else mean.spread, spread)


Check = Callable[[Block], tuple[int, list[str]]]


def _shown(gathered: Gathered, dataset: str, rows: Sequence[ScoreRow], again: _All) -> Iterator[tuple[str, Check]]:
    """By a block's name, what holds it against the recomputed numbers."""
    for table in tables_of_set(gathered.study, rows, lambda row: again[row.label, row.dataset][0].result):
        yield table.name, _against(table.grid)
        if table.name == f"{dataset}-size-by-alpha":
            yield f"{dataset}-over-alpha", _against(table.grid)
    yield f"{dataset}-pairs", lambda block: _maps(block, dataset, again)


def _against(grid: Again) -> Check:
    def check(block: Block) -> tuple[int, list[str]]:
        shown = block.grid if isinstance(block, Table) else block.data if isinstance(block, Picture) else None
        assert shown is not None, "only blocks with a table are held against one"
        return _same_table(block.title, shown, grid)

    return check


def _same_table(title: str, shown: Grid, again: Again) -> tuple[int, list[str]]:
    """Cells of two tables of one shape: how many hold a number, and those that differ by more than rounding.

    None, in the second one, is not compared.
    """
    if shown[0] != again[0] or len(shown[1]) != len(again[1]):
        return 0, [f"{title}: has other rows or columns than its queries give"]
    checked, differing, group = 0, [], ""
    for of_shown, of_again in zip(shown[1], again[1], strict=True):
        group = of_shown[0] or group  # rows of a group name it once
        for heading, one, other in zip(shown[0], of_shown, of_again, strict=True):
            if other is None:
                continue
            checked += bool(_DECIMAL.search(one))
            if not _same_text(one, other):
                where = f"row {group} {of_shown[1]}, column {heading}".replace("\n", " ")
                differing.append(f"{title}: {where}: shown as {one}, its queries give {other}")
    return checked, differing


def _same_text(one: str, other: str) -> bool:
    """Equal, or numbers one unit of the last digit apart: a half was rounded up here and down there.

    Numbers that were written whole may be the sum of the same ones in another order.
    """
    if one == other:
        return True
    if any(_WHOLE.fullmatch(text) for text in (one, other)):
        values = [_float(text) for text in (one, other)]
        return math.isclose(*values, rel_tol=1e-9, abs_tol=1e-9)
    numbers = [_DECIMAL.findall(text) for text in (one, other)]
    if _DECIMAL.sub("", one) != _DECIMAL.sub("", other) or len(numbers[0]) != len(numbers[1]):
        return False
    return all(_within_rounding(a, b) for a, b in zip(*numbers, strict=True))


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _within_rounding(one: str, other: str) -> bool:
    unit = 10.0 ** -len(one.partition(".")[2])
    values = (float(text.replace(",", "")) for text in (one, other))
    return math.isclose(*values, rel_tol=0, abs_tol=1.001 * unit)


def _maps(block: Block, dataset: str, again: _All) -> tuple[int, list[str]]:
    assert isinstance(block, PairMaps), "the name is that of pair matrices"
    found = []
    for label, values_LL in block.values_LL.items():
        ours_LL = again[label, dataset][-1].overall.pairs(block.measure, block.languages)
        found += list(compare_pairs(f"{block.title}: {label}: {block.measure}", block.languages, values_LL, ours_LL))
    return len(found), [str(of) for of in found if not of.agrees]
