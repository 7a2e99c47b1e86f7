"""``xling doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.named import SweepStorage, load
from xling.cli.options import Json, console
from xling.errors import ConfigError


def doctor(
    file: Annotated[Optional[Path], typer.Argument(metavar="[SWEEP.yaml]", help="Check what this sweep needs.")] = None,  # noqa: UP045 - typer reads it
    set_: Annotated[Optional[list[str]], typer.Option("--set", help="Override a value of it. Repeatable.")] = None,  # noqa: UP045
    storage: SweepStorage = None,
    address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Ray cluster, asked on every node; this machine alone by default."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a node may take to answer.")] = 60,
    json: Json = False,
) -> None:
    """Check this machine, or every node of a cluster, before a sweep runs there; exit 1 when something is wrong."""
    if file is None and set_:
        raise ConfigError("--set overrides values of a sweep file, and none is given: name one, or leave it out")
    from xling.sweep.doctor.show import doctor as examine
    from xling.sweep.remembered import storage_override

    loaded = None
    if file is not None:
        loaded = load(file, [*(set_ or ()), *([storage_override(storage)] if storage is not None else [])])
    raise typer.Exit(examine(loaded, storage, address, console(), timeout_s=timeout, as_json=json))
