"""Options and output that several commands share."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, Optional

import typer
from rich.console import Console

from xling import __version__
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


class _Plain(Console):
    """Prints texts as they are: paths and messages may hold what rich takes for markup."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def print_json(self, json: str | None = None, **options: Any) -> None:
        """As JSON's own escapes what the terminal or pipe cannot show, so that it stays the same JSON."""
        super().print_json(json, **{"ensure_ascii": not self.encoding.startswith("utf"), **options})


def console() -> Console:
    """What a command prints to."""
    return _Plain()


def print_whatever_can_be() -> None:
    """Let characters that standard output's encoding lacks come out as ``?``, where Python would raise."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # standard error escapes them by itself
        sys.stdout.reconfigure(errors="replace")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xling {__version__}")
        raise typer.Exit


def of_every_command(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """What stands before a command's name."""


def require_one_format(json: bool, csv: bool) -> None:
    """Raise ConfigError when both were asked for."""
    if json and csv:
        raise ConfigError("--json and --csv exclude each other: give one of them")
