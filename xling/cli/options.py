"""Options and output that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from xling.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV for programs: a line of names, then the rows.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run the modelling code that comes with the model.")]
StorageOption = Annotated[str, typer.Option(help="Folder or URL that holds the results.")]


def console() -> Console:
    """Prints texts as they are: paths and messages may hold what rich takes for markup."""
    return Console(markup=False, emoji=False, highlight=False)


def require_one_format(json: bool, csv: bool) -> None:
    """Raise ConfigError when both were asked for."""
    if json and csv:
        raise ConfigError("--json and --csv exclude each other: give one of them")
