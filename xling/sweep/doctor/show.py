"""``xling doctor``: what was found, as a table with the fixes below it, or as JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xling.config.load import LoadedSweep
from xling.storage import Storage
from xling.sweep.doctor.asking import examine
from xling.sweep.doctor.checks import Finding, State, all_checks
from xling.sweep.doctor.subject import Subject, of_sweep

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "red", State.NOT_APPLICABLE: "dim"}
_SEEN = 20  # columns that what was seen has at the least


def doctor(
    loaded: LoadedSweep | None,
    storage: str | None,
    address: str | None,
    console: Console,
    *,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Check a cluster, or this machine, for a sweep; print what was found.

    Args:
        loaded: the sweep; without it only what needs none is checked.
        storage: where results shall lie, when there is no sweep.
        address: of the cluster; RAY_ADDRESS, else this machine alone, by default.
        timeout_s: how long a node may take to answer.

    Returns:
        The exit status: 1 when something failed.

    Raises:
        ResourceError: there is no cluster at the address.
        TrackingError: the sweep names a tracking store that cannot be.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    on_cluster = where != "local"
    if loaded is not None:
        subject = of_sweep(loaded, on_cluster=on_cluster)
    else:
        subject = Subject(on_cluster=on_cluster, storage=Storage(storage).url if storage is not None else None)
    with _connected(where) if on_cluster else nullcontext():
        findings = examine(all_checks(), subject, timeout_s)
    show_findings(findings, where if on_cluster else None, console, as_json=as_json)
    return int(any(finding.state is State.FAILED for finding in findings))


def _connected(address: str) -> AbstractContextManager[None]:
    from xling.sweep.placing.cluster import (
        ray_cluster,  # it imports Ray Tune, which this machine alone need not wait for
    )

    return ray_cluster(address)


def show_findings(findings: Sequence[Finding], address: str | None, console: Console, *, as_json: bool) -> None:
    """Print them, those to be mended with reason and fix."""
    counts = Counter(finding.state for finding in findings)
    if as_json:
        records = [{name: value for name, value in asdict(one).items() if name != "stops"} for one in findings]
        console.print_json(json.dumps({"address": address, "states": counts, "findings": records}))
        return
    _show_states(findings, console)
    for one in findings:
        if one.state in (State.WARNING, State.FAILED):
            console.print(f"{one.state}: {one.group}: {one.check}", style=_STYLES[one.state], soft_wrap=True)
            console.print(f"  {one.why}\n  Fix: {one.fix}.", soft_wrap=True)
    console.print(", ".join(f"{counts[state]} {state}" for state in State if counts[state]) + ".")


def _show_states(findings: Sequence[Finding], console: Console) -> None:
    """A table, or where it would be too wide a line each."""
    columns: list[list[str]] = [
        [one.group for one in findings],
        [one.check for one in findings],
        [one.state for one in findings],
    ]
    frame = 3 * len(columns) + 4
    if frame + sum(max(map(cell_len, column), default=0) for column in columns) + _SEEN > console.width:
        for one in findings:
            state = Text(one.state, style=_STYLES[one.state])
            seen = f": {one.seen}" if one.seen else ""
            console.print(Text(f"{one.group}: {one.check}: ").append(state).append(seen), soft_wrap=True)
        return
    table = Table()
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("seen", overflow="fold")
    group = ""
    for one in findings:
        if one.group != group and group:
            table.add_section()
        state = Text(one.state, style=_STYLES[one.state])
        table.add_row(one.group if one.group != group else "", one.check, state, one.seen)
        group = one.group
    console.print(table)
