"""Commands on what was measured: runs and results, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.options import Json, StorageOption, console
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
    from xling.sweep.score import score_files, score_xor

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
) -> None:
    """Test whether A is better than B on the same queries, over all and for each language pair."""
    from xling.sweep.compare import compare_systems

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
    )
