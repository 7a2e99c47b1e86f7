"""``xling report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.named import Name, SweepStorage, load_named
from xling.cli.options import Json, console


def report(
    name: Name,
    storage: SweepStorage = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder for it; SWEEP/report in the storage by default.")] = None,  # noqa: UP045 - typer reads it
    verify: Annotated[
        bool, typer.Option("--verify", help="Recompute its numbers from per-query values; exit 1 if one differs.")
    ] = False,
    examples: Annotated[
        int, typer.Option(min=0, help="Encode again, and show ranked passages of so many queries each way.")
    ] = 0,
    json: Json = False,
) -> None:
    """Write a sweep's report: one HTML page, with its pictures and tables as files beside it."""
    from xling.sweep.reporting.show import show_report

    status = show_report(load_named(name, storage), console(), out=out, check=verify, examples=examples, as_json=json)
    raise typer.Exit(status)
