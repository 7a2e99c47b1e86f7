"""What tracking keeps in a storage beside MLflow: which runs are a sweep's own, and what MLflow has not got yet."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from shlex import quote

from rich.console import Console
from typing_extensions import TypedDict

from xling.errors import TrackingError
from xling.storage import Storage
from xling.sweep.lease import HeldError, Lease, times_taken
from xling.track.stored import Unsent, stored_unsent
from xling.track.sync import Synced, sync, sync_stored, unsent

_ID = "tracking.json"


class _Own(TypedDict):
    id: str


def own_id(root: Storage, sweep: str) -> str:
    """What tells a sweep's runs from those of other storages' sweeps of the same name; made once, under its lease.

    Empty for a sweep whose runs are older than such ids: they bear none. It was launched and leased before, other than
    a copy by ``xling pull``, which has no leases.
    """
    found = known_id(root, sweep)
    if found is not None:
        return found
    is_older = root.exists(f"{sweep}/launch.json") and times_taken(root.child(sweep)) > 1
    root.create(f"{sweep}/{_ID}", json.dumps({"id": "" if is_older else uuid.uuid4().hex}).encode())
    return str(known_id(root, sweep))


def known_id(root: Storage, sweep: str) -> str | None:
    """The same of a sweep that may not have any, or be a copy, whose runs are another's: None then."""
    try:
        return str(root.read_json(f"{sweep}/{_ID}", _Own)["id"])
    except FileNotFoundError:
        return None


def send_rest(root: Storage, sweep: str, tell: Callable[[str], None]) -> None:
    """Send what could not be sent as cells ended, the server being away: at a launch's end, under the sweep's lease."""
    for synced in _rest(root, sweep):
        if synced.left:  # still away: the others would wait for it as long
            count = len(unsent(Path(root.locate(sweep))) if root.is_local else stored_unsent(root, sweep))
            command = f"xling track sync --storage {quote(root.url)}"
            tell(f"MLflow: {count} runs are not complete yet; send the rest with: {command}")
            return


def sync_tracking(storage: str, console: Console) -> int:
    """Send what MLflow has not got of a storage's sweeps; 0 when all of it was delivered.

    Raises:
        TrackingError: there is no such local storage, or it holds no spool.
    """
    root = Storage(storage)
    if root.is_local:
        if not Path(root.url).is_dir():
            raise TrackingError(
                f"there is no storage at {root.url}: give with --storage the folder or URL that the sweep's file names "
                "as `storage`"
            )
        done = sync(Path(root.url))
    else:
        done = [_send(left) for sweep in root.list() for left in stored_unsent(root, sweep)]
    for spool in done:
        if spool.left or spool.problem:
            console.print(f"{spool.name}: {spool.left} left in {spool.place}: {spool.problem}", soft_wrap=True)
    complete = sum(not spool.left and not spool.problem for spool in done)
    told = f"{complete} of {len(done)} runs are complete in MLflow." if done else "No run has anything left to send."
    console.print(told)
    return 0 if complete == len(done) else 1


def _rest(root: Storage, sweep: str) -> Iterator[Synced]:
    if root.is_local:
        for folder in unsent(Path(root.locate(sweep))):
            yield from sync(folder)
    else:
        for left in stored_unsent(root, sweep):
            yield _send(left, held=sweep)


def _send(left: Unsent, held: str | None = None) -> Synced:
    """Send one run's rest, unless somebody writes it. Args: held: a folder whose lease this process has."""
    lease = Lease(left.root.child(left.writer), f"the run {left.key.name}")
    try:
        with nullcontext() if left.writer == held else lease:
            return sync_stored(left)
    except HeldError as error:
        return Synced(left.key.name, left.root.locate(left.track), 0, 1, str(error))
