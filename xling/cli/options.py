"""Options and output that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
StorageOption = Annotated[str, typer.Option(help="Folder or URL that holds the results.")]


def console() -> Console:
    """Prints texts as they are: paths and messages may hold what rich takes for markup."""
    return Console(markup=False, emoji=False, highlight=False)
