"""Options and output that several commands share."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.console import Console

from xling.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV for programs: a line of names, then the rows.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run the modelling code that comes with the model.")]
Sets = Annotated[Optional[list[str]], typer.Option("--set", help="Override a value: train.lr=2e-3. Repeatable.")]  # noqa: UP045 - typer reads it
Failed = Annotated[bool, typer.Option("--failed", help="Only cells that failed.")]
Stopped = Annotated[bool, typer.Option("--stopped", help="Only cells that were stopped, by you or early.")]
Cells = Annotated[Optional[list[str]], typer.Option(help="Only this cell: its label or id. Repeatable.")]  # noqa: UP045
FromScratch = Annotated[bool, typer.Option("--from-scratch", help="Forget what they reached; also of done ones.")]
StorageOption = Annotated[str, typer.Option(help="Folder or URL that holds the results.")]


def console() -> Console:
    """Prints texts as they are: paths and messages may hold what rich takes for markup."""
    return Console(markup=False, emoji=False, highlight=False)


def require_one_format(json: bool, csv: bool) -> None:
    """Raise ConfigError when both were asked for."""
    if json and csv:
        raise ConfigError("--json and --csv exclude each other: give one of them")
