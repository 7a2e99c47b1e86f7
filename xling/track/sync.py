"""Sending what spools hold whose run is closed, or whose writer was killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from xling.errors import TrackingError
from xling.track.deliver import Delivery
from xling.track.spool import Spool
from xling.track.store import RunKey, resolve_uri
from xling.track.stored import Unsent


@dataclass(frozen=True)
class Synced:
    """What was done for one spool; ``problem`` is empty when all of it is in MLflow now."""

    name: str
    place: str
    sent: int
    left: int
    problem: str


def sync(folder: Path, uri: str | None = None) -> list[Synced]:
    """Send what is left in the spool ``folder``, or in every spool below it.

    Args:
        uri: the store, where it is not the one the spool was written for (or needs a password).

    Raises:
        TrackingError: there is no spool, or ``uri`` is none of MLflow's.
    """
    folders = _spools(folder)
    if not folders:
        raise TrackingError(f"{folder} holds no tracking spool: give a cell's or a sweep's folder")
    override = {} if uri is None else {"uri": resolve_uri(uri)}
    return [_sync(path, override) for path in folders]


def sync_stored(unsent: Unsent) -> Synced:
    """Send what an object store keeps of a run that nobody writes; it is forgotten there once all is sent."""
    with unsent.restored() as folder:
        synced = replace(_sync(folder), place=unsent.root.locate(unsent.track))
    if not synced.left:
        unsent.forget()
    return synced


def unsent(folder: Path) -> list[Path]:
    """The spools below a folder that hold what was not sent yet."""
    # What was sent is told by a file's size alone: a long run's spool is not read for it.
    spools = [(path, Spool(path)) for path in _spools(folder)]
    return [path for path, spool in spools if not spool.is_delivered and spool.pending(1)]


def _spools(folder: Path) -> list[Path]:
    return sorted({path.parent for path in folder.rglob("run.json") if (path.parent / "spool.jsonl").exists()})


def _sync(folder: Path, override: Mapping[str, str] | None = None) -> Synced:
    spool = Spool(folder)
    key = RunKey.from_dict({**spool.identity(), **(override or {})})
    before = spool.count_pending()
    problems: list[str] = []
    if not before and not override:
        return Synced(key.name, str(folder), 0, 0, "")
    try:
        if spool.claim():
            Delivery(spool, key, problems.append).deliver()
        else:
            problems.append("its trial is running, and sends it by itself")
    except TrackingError as error:
        problems.append(str(error))
    finally:
        spool.release()
    left = spool.count_pending()
    return Synced(key.name, str(folder), max(0, before - left), left, "; ".join(problems))
