"""What came of a sweep, shown as tables, one picture and a few sentences."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from shlex import quote

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.evaluate.result import EvaluationResult
from xling.report.bias import bias_grids
from xling.report.blocks import Table
from xling.report.composition import Composition, by_trained_pairs, given_and_asked, pair_shares
from xling.report.csv_text import to_csv
from xling.report.notes import search_note
from xling.report.plots import size_by_alpha_plot
from xling.report.published import as_published_records, beside
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
from xling.sweep.cells import CellState
from xling.sweep.copied import languages_of, study_of
from xling.sweep.inspect import failures
from xling.sweep.outcome.gather import Gathered, collect, gather
from xling.sweep.places import sweep_storage, tracking_store
from xling.sweep.study import Study

REPORT = "report"  # the report's folder, below the sweep's


def show_results(loaded: LoadedSweep, console: Console, *, as_json: bool, as_csv: bool = False) -> None:
    """The tables of a sweep again; as CSV a line a cell and data set, and one a stratum."""
    root = sweep_storage(loaded)
    study = study_of(root, loaded)
    if as_csv:
        console.file.write(to_csv(as_flat_records(collect(root, loaded.config.name, study.scored))))
        return
    gathered = gather(root, loaded, study)
    if as_json:
        print_json(gathered, gathered.states, console)
        return
    show_tables(gathered, console)
    show_places(loaded, root, console)


def show_tables(gathered: Gathered, console: Console) -> None:
    if not gathered.rows:
        console.print(summary(gathered.rows, stopped=gathered.stopped))
    for dataset in gathered.datasets:
        of_set = gathered.rows_on(dataset)
        for table in tables_of_set(gathered.study, of_set, gathered.result_of):
            console.print(as_rich(table.grid, f"{dataset}: {table.title}", lead=_lead(table.grid)))
            console.print()
        console.print(says_of_set(of_set, gathered.stopped))
        console.print()
    for table in mix_tables(gathered.rows, gathered.compositions):
        console.print(as_rich(table.grid, table.title, lead=1))
        console.print()
    if gathered.batches:
        gathered.batches.show(console)
        gathered.batches.write()
    for row in gathered.stopped:
        console.print(f"stopped: {row.label}: {row.reason}", soft_wrap=True)


def write_tables(gathered: Gathered) -> list[str]:
    """Write each data set's tables as Markdown, and a picture, beside the sweep; their paths below the storage."""
    root, sweep, written = gathered.root, gathered.sweep, []
    for dataset in gathered.datasets:
        of_set = gathered.rows_on(dataset)
        tables = tables_of_set(gathered.study, of_set, gathered.result_of)
        text = "\n".join(f"## {dataset}: {table.title}\n\n{as_markdown(table.grid)}" for table in tables)
        root.write(f"{sweep}/tables-{dataset}.md", f"{text}\n{says_of_set(of_set, gathered.stopped)}\n".encode())
        picture = io.BytesIO()
        size_by_alpha_plot(of_set, f"{sweep} on {dataset}").savefig(picture, format="png", dpi=144)
        root.write(f"{sweep}/size-by-alpha-{dataset}.png", picture.getvalue())
        written += [f"{sweep}/tables-{dataset}.md", f"{sweep}/size-by-alpha-{dataset}.png"]
    if tables := mix_tables(gathered.rows, gathered.compositions):
        text = "\n".join(f"## {table.title}\n\n{as_markdown(table.grid)}" for table in tables)
        root.write(f"{sweep}/tables-mix.md", text.encode())
        written.append(f"{sweep}/tables-mix.md")
    if gathered.batches:
        written += gathered.batches.write()
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
        seen = languages_of(study, next(job for job in study.cells if job.label == best.label), result)
        for number, (title, grid) in enumerate(bias_grids(best.label, result, seen), start=1):
            add(f"bias-of-best-{number}", title, grid)
    return tables


def mix_tables(rows: Sequence[ScoreRow], compositions: Mapping[str, Composition]) -> list[Table]:
    """What the batches of the done cells were made of, by label; of the best on dev by language pair."""
    if (grid := given_and_asked(compositions)) is None:
        return []
    tables = [Table("mix", "what the batches were made of, in % (asked for in brackets)", grid)]
    best = chosen_on_dev(rows)
    of_best = compositions.get(best.label) if best is not None else None
    if best is not None and of_best is not None and (pairs := pair_shares(of_best)) is not None:
        title = f"training pairs of {best.label} by language, in %: given/asked (query down)"
        tables.append(Table("mix-pairs", title, pairs))
    return tables


def show_places(loaded: LoadedSweep, root: Storage, console: Console) -> None:
    sweep = loaded.config.name
    page = f"{sweep}/{REPORT}/index.html"
    for line in (
        f"Files:  {root.locate(sweep)}",
        *([f"Report: {root.locate(page)}"] if root.exists(page) else []),
        f"MLflow: {tracking_store(loaded)[0]}",
        f"Compare the runs in the MLflow UI: xling ui {sweep} --storage {quote(loaded.config.storage)}",
    ):
        console.print(line, soft_wrap=True)


def print_json(gathered: Gathered, states: Mapping[str, CellState], console: Console) -> None:
    text = {
        "event": "results",
        "sweep": gathered.sweep,
        "states": {job.label: states[job.id] for job in gathered.study.scored},
        "failures": {
            job.label: why for job, why, _ in failures(gathered.root, gathered.sweep, list(gathered.study.scored))
        },
        "stopped_early": {row.label: row.reason for row in gathered.stopped},
        "rows": as_records(gathered.rows),
        "published": as_published_records(gathered.rows),
    }
    console.print(json.dumps(text), soft_wrap=True)
