"""``xling gc`` as a user meets it: a table of what would go, or its removal under the sweep's lease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from xling.config.load import LoadedSweep
from xling.sizes import size_text
from xling.sweep.lease import held, holder_of
from xling.sweep.places import sweep_storage
from xling.sweep.study import build_study
from xling.sweep.upkeep.garbage import Asked, Piece, Survey, remove, survey


def show_garbage(
    loaded: LoadedSweep,
    console: Console,
    *,
    yes: bool,
    orphans: bool,
    caches: bool,
    models: bool,
    keep: Sequence[str],
    as_json: bool,
) -> None:
    """Print what would go and what stays; with ``yes`` let it go.

    Raises:
        HeldError: it is to go, and the sweep is running.
        ConfigError, DataError: as :func:`survey`, and reading the grid's data for ``orphans``.
    """
    root, sweep = sweep_storage(loaded), loaded.config.name
    grid = frozenset(job.id for job in build_study(loaded.cells).scored) if orphans else None
    asked = Asked(grid, caches, models, tuple(keep))
    if not yes:
        found, running = survey(root, sweep, asked), holder_of(root.child(sweep))
        if as_json:
            console.print(json.dumps(_record(loaded, found, removed=False)), soft_wrap=True)
            return
        _show(loaded, found, console)
        if running is not None:
            console.print(f"The sweep is held by {running.describe()}: nothing can go until it ends.", soft_wrap=True)
        elif found.goes:
            console.print("Nothing was deleted. To delete it, give the same command with --yes.", soft_wrap=True)
        return
    with held(root, sweep):
        found = survey(root, sweep, asked)
        if not as_json:
            _show(loaded, found, console)
        for _ in remove(root, found.goes):
            pass
    if as_json:
        console.print(json.dumps(_record(loaded, found, removed=True)), soft_wrap=True)
    elif found.goes:
        console.print(f"Deleted: {size_text(found.size)}.")


def _show(loaded: LoadedSweep, found: Survey, console: Console) -> None:
    console.print(f"{loaded.config.name} in {sweep_storage(loaded).url}", soft_wrap=True)
    if found.goes:
        console.print(_going(found.goes, f"goes: {size_text(found.size)}"))
    else:
        console.print("Nothing goes.")
    table = _table("stays", "what", "files", "size")
    for kind, (files, size) in found.stays.items():
        table.add_row(kind, f"{files:,}", size_text(size))
    console.print(table)
    console.print(
        "MLflow's runs and artifacts are left alone: `mlflow gc` removes those deleted there.", soft_wrap=True
    )


def _going(goes: Sequence[Piece], title: str) -> Table:
    """A line for each kind and reason."""
    groups: dict[tuple[str, str], list[Piece]] = {}
    for piece in goes:
        groups.setdefault((piece.kind, piece.why), []).append(piece)
    table = _table(title, "what", "files", "size", "why")
    for (kind, why), of in groups.items():
        table.add_row(kind, f"{sum(p.files for p in of):,}", size_text(sum(p.size for p in of)), why)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in ("files", "size") else "left", overflow="fold")
    return table


def _record(loaded: LoadedSweep, found: Survey, *, removed: bool) -> dict[str, Any]:
    return {
        "event": "gc",
        "sweep": loaded.config.name,
        "storage": sweep_storage(loaded).url,
        "removed": removed,
        "bytes": found.size,
        "goes": [{name: getattr(piece, name) for name in piece.__slots__} for piece in found.goes],
        "stays": {kind: {"files": files, "bytes": size} for kind, (files, size) in found.stays.items()},
    }
