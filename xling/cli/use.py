"""Commands that use a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.options import Csv, Json, StorageOption, Trust, console, require_one_format
from xling.errors import ConfigError

Model = Annotated[
    str,
    typer.Argument(help="SWEEP/CELL in one word, as in demo/mid/a0/s0; a model folder, a preset or a hub id."),
]


def export(
    model: Model,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write; it must not exist or be empty.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier export wrote there.")] = False,
    storage: StorageOption = "runs",
    json: Json = False,
    trust_remote_code: Trust = False,
) -> None:
    """Write a model as a folder for sentence-transformers and transformers, with a model card."""
    from xling.sweep.models.export import export_model

    export_model(model, folder, storage, console(), force=force, as_json=json, trust_remote_code=trust_remote_code)


def search(
    model: Model,
    corpus: Annotated[Path, typer.Option(help="JSON Lines with text, passage or contents; or a passage a line.")],
    questions: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it
        typer.Argument(help="What is looked for, in any language; read from standard input if none is given."),
    ] = None,
    field: Annotated[Optional[str], typer.Option(help="The field of a row that holds its text.")] = None,  # noqa: UP045
    k: Annotated[int, typer.Option("-k", min=1, help="Passages shown a question.")] = 10,
    bad_rows: Annotated[str, typer.Option(help="stop at a wrong row, or skip and count.")] = "stop",
    storage: StorageOption = "runs",
    json: Json = False,
    csv: Csv = False,
    trust_remote_code: Trust = False,
) -> None:
    """Find the passages of a file that are nearest to questions, whatever language either is in."""
    if bad_rows not in ("stop", "skip"):
        raise ConfigError(f"--bad-rows is {bad_rows!r}, must be stop or skip")
    require_one_format(json, csv)
    from xling.data.files import BadRows
    from xling.data.passage_file import PassageFile
    from xling.sweep.models.search import search_corpus

    search_corpus(
        model,
        PassageFile(corpus, field),
        questions or (),
        storage,
        console(),
        k=k,
        bad_rows=BadRows(strict=bad_rows == "stop"),
        as_json=json,
        as_csv=csv,
        trust_remote_code=trust_remote_code,
    )
