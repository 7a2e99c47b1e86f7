"""Commands on what was measured: runs and results, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.named import Name, SweepStorage, load_named
from xling.cli.options import Csv, Json, StorageOption, console, require_one_format
from xling.errors import ConfigError

Measures = Annotated[Optional[str], typer.Option(help="With commas: mAP,nDCG@10,R@100.")]  # noqa: UP045 - typer reads it


def score(
    run: Annotated[Path, typer.Argument(help="A TREC run, plain or .gz, or a folder of runs, one a pair.")],
    qrels: Annotated[Optional[Path], typer.Argument(help="Its qrels or their folder; beside it if not given.")] = None,  # noqa: UP045
    measures: Measures = None,
    xor: Annotated[Optional[Path], typer.Option(help="XOR-Retrieve's questions: RUN is a predictions JSON.")] = None,  # noqa: UP045
    per_query: Annotated[Optional[Path], typer.Option(help="Parquet file for the values of every query.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Measure TREC runs as trec_eval does, or XOR-Retrieve's predictions; unanswered queries count 0."""
    from xling.sweep.outcome.score import score_files, score_xor

    if xor is not None:
        if qrels is not None or measures is not None or per_query is not None:
            raise ConfigError(
                "--xor has measures and answers of its own: give it without QRELS, --measures, --per-query"
            )
        score_xor(run, xor, console(), as_json=json)
        return
    score_files(run, qrels, measures, per_query, console(), as_json=json)


def compare(
    a: Annotated[str, typer.Argument(help="SWEEP/CELL of the storage, a result's folder, or a TREC run (folder).")],
    b: Annotated[str, typer.Argument(help="The system it is compared with, likewise.")],
    dataset: Annotated[Optional[str], typer.Option(help="Which of the cells' data sets.")] = None,  # noqa: UP045
    measure: Annotated[str, typer.Option(help="What is compared.")] = "mAP",
    qrels: Annotated[Optional[Path], typer.Option(help="Of the runs; beside them by default.")] = None,  # noqa: UP045
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap, and swaps of the test.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    storage: StorageOption = "runs",
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Test whether A is better than B on the same queries, over all and for each language pair."""
    require_one_format(json, csv)
    from xling.sweep.outcome.compare import compare_systems

    compare_systems(
        a,
        b,
        storage,
        console(),
        dataset=dataset,
        measure=measure,
        qrels=qrels,
        resamples=resamples,
        seed=seed,
        as_json=json,
        as_csv=csv,
    )


def top(
    name: Name,
    by: Annotated[
        str,
        typer.Option(help="mul, mo, cr, rank_distance, own_language_share, dev, or a headline's name: nDCG@10/Mo."),
    ] = "mul",
    dataset: Annotated[Optional[str], typer.Option(help="Which of the sweep's data sets.")] = None,  # noqa: UP045
    cells: Annotated[bool, typer.Option("--cells", help="Single cells, not means over seeds.")] = False,
    storage: SweepStorage = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Rank what a sweep has scored, the best first, and say which cell is the best on dev."""
    require_one_format(json, csv)
    from xling.sweep.outcome.top import show_top

    show_top(load_named(name, storage), console(), by=by, dataset=dataset, single_cells=cells, as_json=json, as_csv=csv)


def matrix(
    cell: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP/CELL", help="A cell of the storage, in one word as in demo/mid/a0/s0; or a result's folder."
        ),
    ],
    measure: Annotated[str, typer.Option(help="What is shown.")] = "mAP",
    dataset: Annotated[Optional[str], typer.Option(help="Which of the cell's data sets.")] = None,  # noqa: UP045
    minus: Annotated[Optional[str], typer.Option(help="Show how much higher it is than this one.")] = None,  # noqa: UP045
    storage: StorageOption = "runs",
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Show a cell's scores for every pair of languages, or their differences from another's."""
    require_one_format(json, csv)
    from xling.sweep.outcome.matrix import show_matrix

    show_matrix(cell, storage, console(), measure=measure, dataset=dataset, minus=minus, as_json=json, as_csv=csv)
