"""The parts of a report that show scores: summary, tables, curves, pair matrices, language bias by rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xling.report.bias import languages_at_ranks, own_share_by_rank
from xling.report.blocks import Block, PairMaps, Picture, Section, Table
from xling.report.multiples import Curve, by_rank, mean_curves, own_share_plot
from xling.report.plots import size_by_alpha_plot
from xling.report.rows import Ratio, ScoreRow, chosen_on_dev, dev_problem, measured_on_dev
from xling.report.sentence import counted, summary
from xling.report.tables import FIGURES, number, size_by_alpha
from xling.sweep.jobs import Job
from xling.sweep.outcome.gather import Gathered, Scored
from xling.sweep.outcome.results import mix_tables, says_of_set, tables_of_set


def summary_section(gathered: Gathered, more: Iterable[str] = ()) -> Section:
    """What the numbers say, first of all; ``more``: what the analysis says of them."""
    says = [_states(gathered)]
    if not gathered.rows:
        says.append(summary([], stopped=gathered.stopped))
    for dataset in gathered.datasets:
        of_set = gathered.rows_on(dataset)
        says += [gathered.in_sets(line, dataset) for line in says_of_set(of_set, gathered.stopped).splitlines()]
        if (best := chosen_on_dev(of_set)) is not None:
            says.append(gathered.in_sets(_of_best(best), dataset))
        elif measured_on_dev(trained := [row for row in of_set if row.alpha is not None]):
            says.append(gathered.in_sets(f"No cell can be chosen on dev: {dev_problem(trained)}.", dataset))
    return Section("summary", "Summary", (*says, *more))


def table_section(gathered: Gathered) -> Section:
    """All tables that ``xling results`` shows."""
    tables = []
    for dataset in gathered.datasets:
        for table in tables_of_set(gathered.study, gathered.rows_on(dataset), gathered.result_of):
            tables.append(Table(table.name, gathered.in_sets(table.title, dataset), table.grid, table.note))
    tables += mix_tables(gathered.rows, gathered.compositions)
    says = (
        "Mo.: query and passage in one language. Cr.: in two. Mul.: against the passages of all languages. "
        "Rank distance: how far apart a query's parallel passages lie there (less is better). "
        "start: the weights a size starts from. ±: standard deviation over seeds.",
    )
    return Section("tables", "Tables", says if tables else (), tuple(tables))


def curve_section(gathered: Gathered) -> Section:
    """Mo., Cr., Mul. and rank distance over alpha."""
    pictures = []
    for dataset in gathered.datasets:
        of_set = gathered.rows_on(dataset)
        title = gathered.in_sets("scores over alpha, a line a size", dataset)
        alt = f"{title}. {says_of_set(of_set, gathered.stopped)}"
        figure = size_by_alpha_plot(of_set, f"{gathered.sweep} on {dataset}")
        pictures.append(Picture(f"{dataset}-over-alpha", title, figure, alt, size_by_alpha(of_set)))
    return Section("curves", "Curves", (), tuple(pictures))


def map_section(gathered: Gathered) -> Section:
    """Every cell's leading measure by pair of languages, one cell at a time or as the difference of two."""
    maps = []
    for dataset in gathered.datasets:
        scored = _best_first(gathered, dataset)
        languages, lead = scored[0].result.languages, scored[0].result.measures[0]
        values_LL = {
            one.job.label: one.result.pair_values[lead]
            for one in scored
            if one.result.languages == languages and lead in one.result.pair_values
        }
        title = gathered.in_sets(f"{lead} by pair of languages", dataset)
        maps.append(PairMaps(f"{dataset}-pairs", title, lead, languages, values_LL))
    says = ("Choose cells A and B, and what is shown; in a difference blue means that A is better.",)
    return Section("pairs", "Pairs of languages", says if maps else (), tuple(maps))


def bias_section(gathered: Gathered) -> Section:
    """The languages of the nearest passages, rank by rank."""
    blocks: list[Block] = []
    for dataset in gathered.datasets:
        curves, expected = _own_share(gathered, dataset)
        if not curves:
            continue
        title = gathered.in_sets("passages in the query's own language, by rank", dataset)
        alt = f"{title}: a line a ratio, a panel a size; the table below has its numbers"
        figure = own_share_plot(curves, expected, f"{gathered.sweep} on {dataset}")
        blocks.append(Picture(f"{dataset}-own-language-by-rank", title, figure, alt, by_rank(curves)))
        blocks += _of_best_by_rank(gathered, dataset)
    says = (
        "The share of passages in the query's own language among all queries' passages at each rank of the pool of all "
        "languages, mean over languages and seeds; dotted: what a ranking blind to language gives.",
    )
    return Section("bias", "Language bias by rank", says if blocks else (), tuple(blocks))


def _states(gathered: Gathered) -> str:
    counts = Counter(gathered.states[job.id] for job in gathered.study.cells)
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{counted(len(gathered.study.cells), 'cell')}: {listed}."


def _of_best(best: ScoreRow) -> str:
    """The cell whose test figures may be quoted, and those."""
    figures = [
        (name, f"{title} {number(best.headline[name], digits)}")
        for title, name, digits in FIGURES
        if name in best.headline
    ]
    precision = ", ".join(text for name, text in figures if name.startswith("mAP"))
    others = "".join(f", {text}" for name, text in figures if not name.startswith("mAP"))
    return f"Chosen on dev: {best.label}; its mAP on the test questions: {precision}{others}."


def _best_first(gathered: Gathered, dataset: str) -> list[Scored]:
    """The best on dev, then the monolingual cell of its size and seed, then all in their order."""
    scored = gathered.scored_on(dataset)
    best = chosen_on_dev(gathered.rows_on(dataset))
    if best is None:
        return scored
    first = next(one for one in scored if one.job.label == best.label)
    rival = next((one for one in scored if is_monolingual_like(one.job, first.job)), None)
    ahead = [first] + ([rival] if rival is not None and rival is not first else [])
    return ahead + [one for one in scored if all(one is not other for other in ahead)]


def is_monolingual_like(job: Job, other: Job) -> bool:
    """Whether a job is the cell of monolingual batches alone of another's size, seed and all else."""
    same = (job.size, job.variant, job.config.seed) == (other.size, other.variant, other.config.seed)
    return job.kind == "cell" and job.alpha == 1 and not job.schedule and same


def _own_share(gathered: Gathered, dataset: str) -> tuple[list[Curve], float]:
    """A curve a size and ratio, and the share that is expected."""
    curves, expected = [], float("nan")
    for one in gathered.scored_on(dataset):
        shares_K = own_share_by_rank(one.result)
        if shares_K is None or one.result.pool is None:
            continue
        expected = float(one.result.pool.own_language_share_expected[one.result.pool.queries > 0].mean())
        ratio = Ratio(one.job.alpha, one.job.schedule) if one.job.kind == "cell" else None
        ranks = tuple(map(float, range(1, len(shares_K) + 1)))
        size = one.job.row_size
        curves.append(Curve(one.job.label, size, ratio, ranks, tuple(shares_K.tolist())))
    return mean_curves(curves), expected


def _of_best_by_rank(gathered: Gathered, dataset: str) -> list[Table]:
    """Of the best cell on dev, a table a query language: the share of each language at each rank."""
    best = chosen_on_dev(gathered.rows_on(dataset))
    if best is None:
        return []
    result = gathered.result_of(best)
    tables = []
    for code in result.languages:
        if result.pool is None or not result.pool.queries[result.languages.index(code)]:
            continue
        if (grid := languages_at_ranks(result, code)) is not None:
            title = f"{best.label}: languages of the passages at each rank, queries in {code}"
            tables.append(Table(f"{dataset}-ranks-{code}", gathered.in_sets(title, dataset), grid))
    return tables
