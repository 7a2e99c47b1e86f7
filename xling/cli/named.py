"""A sweep as it is named on the command line: by its file, or by its name in a storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from xling.errors import ConfigError

if TYPE_CHECKING:
    from xling.config.load import LoadedSweep

Name = Annotated[str, typer.Argument(help="A sweep's name in the storage, or its file.")]
SweepStorage = Annotated[Optional[str], typer.Option(help="Its folder or URL; runs, or what the file says.")]  # noqa: UP045 - typer reads it


def load(file: Path, overrides: list[str] | None) -> LoadedSweep:
    """A sweep by its file. Raises ConfigError: also where it is the name of one in the usual storage, not a file."""
    from xling.config.load import load_sweep
    from xling.sweep.registered import check_registered

    if len(file.parts) == 1 and not file.exists():
        _refuse_name(file.name)
    return load_sweep(file, overrides or (), [check_registered])


def _refuse_name(name: str) -> None:
    from xling.storage import Storage
    from xling.sweep.remembered import is_remembered

    if is_remembered(Storage("runs"), name):
        raise ConfigError(
            f"{name}: there is no such file; to go on with the sweep of that name in runs: xling resume {name}"
        )


def is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def load_named(
    name: str, storage: str | None, overrides: list[str] | None = None, *, with_data: bool = True
) -> LoadedSweep:
    """A sweep by its file and overrides, or by its name in a storage, which has kept both.

    Args:
        with_data: its data must be on this machine, where it is no copy that `xling pull` made. Without it nothing is
            asked of data and models: they may be elsewhere.
    """
    from xling.config.load import load_sweep
    from xling.storage import Storage
    from xling.sweep.copied import is_copy
    from xling.sweep.remembered import remembered, storage_override

    if is_file(name):
        given = [*(overrides or ()), *([storage_override(storage)] if storage is not None else ())]
        return load(Path(name), given) if with_data else load_sweep(Path(name), given)
    if overrides:
        raise ConfigError(f"--set goes with a sweep's file, {name} is a name: what it was launched with stands")
    with_data = with_data and not is_copy(Storage(storage or "runs"), name)  # found from here, not from its folder
    with remembered(storage or "runs", name) as (file, overrides):
        return load(file, overrides) if with_data else load_sweep(file, overrides, places=False)
