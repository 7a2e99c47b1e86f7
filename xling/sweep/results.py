"""What came of a sweep: its rows read from storage, shown as tables, one picture and a few sentences."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from shlex import quote

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.evaluate.result import EvaluationResult
from xling.report.bias import bias_grids
from xling.report.blocks import Table
from xling.report.composition import Composition, by_trained_pairs, given_and_asked, pair_shares, score_by_pairs
from xling.report.csv_text import to_csv
from xling.report.notes import search_note
from xling.report.plots import size_by_alpha_plot
from xling.report.published import as_published_records, beside, checkpoint_of, shares_of
from xling.report.rows import ScoreRow, StoppedRow, chosen_on_dev, in_order
from xling.report.sentence import summary
from xling.report.tables import (
    Grid,
    as_flat_records,
    as_markdown,
    as_records,
    as_rich,
    by_script,
    by_stratum,
    matrix,
    size_by_alpha,
    stratum_keys,
)
from xling.storage import Storage
from xling.sweep.batch_study import BatchStudy
from xling.sweep.cells import CellFolder, CellState
from xling.sweep.copied import languages_of, study_of
from xling.sweep.inspect import failures
from xling.sweep.jobs import Job, Study
from xling.sweep.launch import Launched, how_to_go_on, sweep_storage, tracking_store
from xling.sweep.pages import page_addresses
from xling.sweep.selection import states_of
from xling.train.inputs import about_model

REPORT = "report"  # the report's folder, below the sweep's


def collect(root: Storage, sweep: str, jobs: Sequence[Job]) -> list[ScoreRow]:
    """The rows of all jobs that are done, cells and baselines, in the sweep's order.

    Another axis of the grid, a batch size say, becomes part of the row's size, so that only seeds
    are ever averaged. A baseline stands before each of the sizes it is the start of, unless early
    stopping ended all of it.
    """
    rows = []
    states = states_of(root, sweep, jobs)
    stopped = {row.label for row in _stopped(root, sweep, jobs, states)}
    going = [job for job in jobs if job.label not in stopped]
    chosen = any(job.config.mix.pairs != "all" for job in jobs)
    for job in jobs:
        if states[job.id] is not CellState.DONE:
            continue
        folder = CellFolder(root.child(job.folder(sweep)))
        about, composition = about_model(folder.storage), composition_of(folder.storage) if chosen else None
        for evaluation in job.evaluations:
            result = EvaluationResult.load_means(folder.storage.child(f"eval/{evaluation.id}"))
            rows += [
                ScoreRow(
                    label=job.label,
                    size=f"{job.size} {variant}".rstrip(),
                    alpha=job.alpha if job.kind == "cell" else None,
                    seed=job.config.seed,
                    dataset=evaluation.dataset,
                    headline=result.headline,
                    strata={label: stratum.headline for label, stratum in result.strata.items()},
                    dev=about["dev"],
                    published=result.published,
                    schedule=job.schedule,
                    by_pairs=score_by_pairs(result, composition) if composition is not None else {},
                    measure=job.config.train.measure,
                    languages=len(result.languages),
                    checkpoint=checkpoint_of(job.config.model),
                    shares=shares_of(job.config.mix) if job.kind == "cell" else None,
                )
                for variant in _variants(job, going)
            ]
    return rows


def collect_stopped(root: Storage, sweep: str, jobs: Sequence[Job]) -> list[StoppedRow]:
    """The cells that early stopping ended, in the sweep's order."""
    return _stopped(root, sweep, jobs, states_of(root, sweep, jobs))


def _stopped(root: Storage, sweep: str, jobs: Sequence[Job], states: Mapping[str, CellState]) -> list[StoppedRow]:
    rows = []
    for job in jobs:
        if states[job.id] is not CellState.STOPPED:
            continue
        if reason := CellFolder(root.child(job.folder(sweep))).stopped_early():
            size = job.row_size
            rows.append(StoppedRow(job.label, size, job.alpha, reason, job.schedule))
    return rows


def composition_of(job: Storage) -> Composition | None:
    """What a trained cell's batches were made of; None of a baseline, and of one trained before pairs were counted."""
    try:
        found: Composition = job.read_json("composition.json")
    except FileNotFoundError:
        return None
    return found if "pairs" in found else None


def _variants(job: Job, jobs: Sequence[Job]) -> list[str]:
    if job.kind == "cell":
        return [job.variant]
    started = (other for other in jobs if other.kind == "cell" and (other.size, other.warm) == (job.size, job.warm))
    return in_order(other.variant for other in started)


def show_outcome(loaded: LoadedSweep, done: Launched, console: Console, *, as_json: bool) -> None:
    """After a launch: the tables, what failed and why, how to go on, where everything is."""
    root, sweep = sweep_storage(loaded), loaded.config.name
    if as_json:
        _print_json(loaded, done.study, done.states, console)
        return
    if not done.ran:
        console.print("Nothing to run: no cell that was asked for is left to do.")
    _show_tables(root, sweep, done.study, console)
    for job, message, trace in failures(root, sweep, list(done.study.scored)):
        console.print(f"failed: {job.label}: {message}", style="red", soft_wrap=True)
        if trace:
            console.print(f"  traceback: {trace}", soft_wrap=True)
    if done.interrupted:
        console.print("Interrupted; everything is saved.")
    for line in how_to_go_on(loaded, done.states.values()):
        console.print(line, soft_wrap=True)
    _show_places(loaded, root, console)
    if done.ran:
        for line in page_addresses(loaded):
            console.print(line, soft_wrap=True)


def show_results(loaded: LoadedSweep, console: Console, *, as_json: bool, as_csv: bool = False) -> None:
    """The tables of a sweep again; as CSV a line a cell and data set, and one a stratum."""
    root, sweep = sweep_storage(loaded), loaded.config.name
    study = study_of(root, loaded)
    if as_csv:
        console.file.write(to_csv(as_flat_records(collect(root, sweep, study.scored))))
        return
    if as_json:
        _print_json(loaded, study, states_of(root, sweep, study.scored), console)
        return
    _show_tables(root, sweep, study, console)
    _show_places(loaded, root, console)


def _show_tables(root: Storage, sweep: str, study: Study, console: Console) -> None:
    rows, stopped = collect(root, sweep, study.scored), collect_stopped(root, sweep, study.cells)
    if not rows:
        console.print(summary(rows, stopped=stopped))
    for dataset in in_order(row.dataset for row in rows):
        of_set = [row for row in rows if row.dataset == dataset]
        for table in tables_of_set(study, of_set, partial(result_of, root, sweep, study)):
            console.print(as_rich(table.grid, f"{dataset}: {table.title}", lead=_lead(table.grid)))
            console.print()
        console.print(says_of_set(of_set, stopped))
        console.print()
    for table in mix_tables(root, sweep, study, rows):
        console.print(as_rich(table.grid, table.title, lead=1))
        console.print()
    if batches := BatchStudy(root, sweep, study.cells):
        batches.show(console)
        batches.write()
    for row in stopped:
        console.print(f"stopped: {row.label}: {row.reason}", soft_wrap=True)


def write_tables(root: Storage, sweep: str, study: Study) -> list[str]:
    """Write each data set's tables as Markdown, and a picture, beside the sweep; their paths below the storage."""
    written = []
    rows, stopped = collect(root, sweep, study.scored), collect_stopped(root, sweep, study.cells)
    for dataset in in_order(row.dataset for row in rows):
        of_set = [row for row in rows if row.dataset == dataset]
        tables = tables_of_set(study, of_set, partial(result_of, root, sweep, study))
        text = "\n".join(f"## {dataset}: {table.title}\n\n{as_markdown(table.grid)}" for table in tables)
        root.write(f"{sweep}/tables-{dataset}.md", f"{text}\n{says_of_set(of_set, stopped)}\n".encode())
        picture = io.BytesIO()
        size_by_alpha_plot(of_set, f"{sweep} on {dataset}").savefig(picture, format="png", dpi=144)
        root.write(f"{sweep}/size-by-alpha-{dataset}.png", picture.getvalue())
        written += [f"{sweep}/tables-{dataset}.md", f"{sweep}/size-by-alpha-{dataset}.png"]
    if tables := mix_tables(root, sweep, study, rows):
        text = "\n".join(f"## {table.title}\n\n{as_markdown(table.grid)}" for table in tables)
        root.write(f"{sweep}/tables-mix.md", text.encode())
        written.append(f"{sweep}/tables-mix.md")
    if batches := BatchStudy(root, sweep, study.cells):
        written += batches.write()
    return written


def says_of_set(of_set: Sequence[ScoreRow], stopped: Sequence[StoppedRow]) -> str:
    """The summary; of questions worded as none in training, where the set has such. And how it was searched."""
    text = summary(of_set, "wording=unseen" if "wording" in stratum_keys(of_set) else None, stopped)
    return "\n".join(filter(None, (text, search_note([row.headline for row in of_set]))))


def _lead(grid: Grid) -> int:
    """Columns that are shown again in each part of a wide table."""
    return 3 if "whose" in grid[0] else 2 if "alpha" in grid[0] else 1


def tables_of_set(
    study: Study, of_set: Sequence[ScoreRow], result_of: Callable[[ScoreRow], EvaluationResult]
) -> list[Table]:
    """One data set's tables; their names begin with the set's."""
    dataset = of_set[0].dataset
    tables = []

    def add(name: str, title: str, grid: Grid | None) -> None:
        if grid is not None:
            tables.append(Table(f"{dataset}-{name}", title, grid))

    lead = ", ".join(in_order([*of_set[0].published, "mAP"]))
    add("size-by-alpha", f"size x alpha ({lead}; alpha = share of monolingual batches)", size_by_alpha(of_set))
    for key in stratum_keys(of_set):
        add(f"by-{key}", f"by {key}", by_stratum(of_set, key))
    warm = ", warm starts aside" if study.warm else ""
    add("by-trained-pairs", f"by whether the pair was trained on{warm}", by_trained_pairs(of_set))
    add("by-script", "by script", by_script(of_set))
    for number, (title, grid) in enumerate(beside(of_set), start=1):
        add(f"published-{number}", title, grid)
    best = chosen_on_dev(of_set)
    if best is not None:
        result = result_of(best)
        lead = result.measures[0]
        title = f"{lead} of {best.label}, the best on dev (query down, passage across)"
        add("pairs-of-best", title, matrix(result.pair_values[lead], result.languages))
        for number, (title, grid) in enumerate(bias_grids(best.label, result, _seen(study, best, result)), start=1):
            add(f"bias-of-best-{number}", title, grid)
    return tables


def mix_tables(root: Storage, sweep: str, study: Study, rows: Sequence[ScoreRow]) -> list[Table]:
    """What the batches of the done cells were made of; of the best on dev by language pair."""
    done = {row.label for row in rows}
    found = {
        job.label: composition
        for job in study.cells
        if job.label in done and (composition := composition_of(root.child(job.folder(sweep)))) is not None
    }
    if (grid := given_and_asked(found)) is None:
        return []
    tables = [Table("mix", "what the batches were made of, in % (asked for in brackets)", grid)]
    best = chosen_on_dev(rows)
    if best is not None and best.label in found and (pairs := pair_shares(found[best.label])) is not None:
        title = f"training pairs of {best.label} by language, in %: given/asked (query down)"
        tables.append(Table("mix-pairs", title, pairs))
    return tables


def _seen(study: Study, row: ScoreRow, result: EvaluationResult) -> tuple[str, ...]:
    """The languages a cell was trained on."""
    if result.trained_languages is not None:
        return result.trained_languages
    job = next(job for job in study.cells if job.label == row.label)  # stored before results told
    return languages_of(study, job, result.languages)


def result_of(root: Storage, sweep: str, study: Study, row: ScoreRow) -> EvaluationResult:
    """A row's result, without the values of its queries."""
    job = next(job for job in study.scored if job.label == row.label)
    evaluation = next(evaluation for evaluation in job.evaluations if evaluation.dataset == row.dataset)
    return EvaluationResult.load_means(root.child(f"{job.folder(sweep)}/eval/{evaluation.id}"))


def _show_places(loaded: LoadedSweep, root: Storage, console: Console) -> None:
    sweep = loaded.config.name
    page = f"{sweep}/{REPORT}/index.html"
    for line in (
        f"Files:  {root.locate(sweep)}",
        *([f"Report: {root.locate(page)}"] if root.exists(page) else []),
        f"MLflow: {tracking_store(loaded)[0]}",
        f"Compare the runs in the MLflow UI: xling ui {sweep} --storage {quote(loaded.config.storage)}",
    ):
        console.print(line, soft_wrap=True)


def _print_json(loaded: LoadedSweep, study: Study, states: dict[str, CellState], console: Console) -> None:
    root, sweep = sweep_storage(loaded), loaded.config.name
    rows = collect(root, sweep, study.scored)
    text = {
        "event": "results",
        "sweep": sweep,
        "states": {job.label: states[job.id] for job in study.scored},
        "failures": {job.label: why for job, why, _ in failures(root, sweep, list(study.scored))},
        "stopped_early": {row.label: row.reason for row in collect_stopped(root, sweep, study.cells)},
        "rows": as_records(rows),
        "published": as_published_records(rows),
    }
    console.print(json.dumps(text), soft_wrap=True)
