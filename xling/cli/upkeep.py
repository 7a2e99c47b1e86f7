"""Commands that keep a storage in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.named import Name, SweepStorage, load_named
from xling.cli.options import Json, console
from xling.errors import ConfigError


def gc(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only a table of what would go.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="Also cells that the sweep's grid has no more.")] = False,
    caches: Annotated[bool, typer.Option("--caches", help="Also token tables and embeddings, of all sweeps.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Also the weights of done cells; results stay.")] = False,
    keep: Annotated[Optional[list[str]], typer.Option(help="A cell whose weights stay. Repeatable.")] = None,  # noqa: UP045 - typer reads it
    storage: SweepStorage = None,
    json: Json = False,
) -> None:
    """Show what of a sweep nothing needs any more, with sizes, and delete it if asked to."""
    from xling.sweep.upkeep.show_garbage import show_garbage

    if keep and not models:
        raise ConfigError("--keep names cells whose weights stay, which they do without --models: give both or none")
    show_garbage(
        load_named(name, storage, with_data=orphans),
        console(),
        yes=yes,
        orphans=orphans,
        caches=caches,
        models=models,
        keep=keep or (),
        as_json=json,
    )


def pull(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A local folder, used as --storage afterwards.")],
    only: Annotated[str, typer.Option(help="results, models, or all.")] = "all",
    storage: SweepStorage = None,
    json: Json = False,
) -> None:
    """Copy a sweep's results and models to a local folder; again, only what is new or changed."""
    from xling.sweep.copied import PARTS
    from xling.sweep.upkeep.pull import show_pull

    part = next((one for one in PARTS if one == only), None)
    if part is None:
        raise ConfigError(f"--only is {only!r}, must be results, models or all")
    show_pull(load_named(name, storage, with_data=False), folder.expanduser(), console(), part=part, as_json=json)
