"""Spools of runs whose results lie in an object store, which cannot append.

There a spool is a folder of this machine while its run is open. These are kept below the storage::

    <sweep>/cells/<id>/track/000001-000000000000.jsonl   segments, immutable: what was spooled since the one before
    <sweep>/cells/<id>/track/files/…                     artifacts that MLflow had not taken when the run was closed
    <sweep>/unsent/<id>.json                             until MLflow has everything: where the spool is, of which run

and the same of the sweep's own run, whose spool is ``<sweep>/track``. The last one is written as the run is opened, so
that of whatever is killed at least what its segments hold is found and sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import shaped
from xling.track.spool import Spool, segments
from xling.track.store import RunKey


class _Marker(TypedDict):
    """What is kept of a run until MLflow has everything."""

    track: str
    run: dict[str, object]


def spool_at(root: Storage, track: str, attempt: int | None = None) -> Path | StoredSpool:
    """Where a run is spooled whose folder below the storage is ``track``. Args: attempt: as :class:`StoredSpool`."""
    return Path(root.locate(track)) if root.is_local else StoredSpool(root, track, attempt)


class StoredSpool:
    """A folder of this machine, and the object store that a run's spool is kept in."""

    def __init__(self, root: Storage, track: str, attempt: int | None = None) -> None:
        """Args: attempt: a number above those of earlier attempts; without one it is found out."""
        self._root, self._track, self._attempt = root, track, attempt
        self._scratch = tempfile.TemporaryDirectory(prefix="xling-track-", ignore_cleanup_errors=True)
        self._about: dict[str, object] = {}
        self.folder = Path(self._scratch.name)

    @property
    def storage(self) -> str:
        """URL of what ``xling track sync`` is told."""
        return self._root.url

    def open(self, spool: Spool, key: RunKey) -> None:
        """Bring what earlier attempts, perhaps on other hosts, spooled; from now on the run is known as unsent."""
        store = self._root.child(self._track)
        if self._attempt is None:
            self._attempt = 1 + max((int(name[:6]) for name in segments(store)), default=0)
        _restore(spool, store)
        self._about = {"track": self._track, "run": key.to_dict()}
        self._root.write_json(_marker(self._track), self._about)

    def save(self, spool: Spool) -> None:
        """Keep what was spooled since the last time."""
        spool.save_segment(self._root.child(self._track), self._attempt or 0)

    def close(self, spool: Spool, *, delivered: bool) -> None:
        """Keep the rest, and what MLflow has not got; the folder goes."""
        try:
            self.save(spool)
            if delivered:
                _forget(self._root, self._track)
                return
            for file in sorted((self.folder / "files").rglob("*")):
                if file.is_file():
                    with suppress(FileNotFoundError):  # sent just now: nobody waits for the sender any longer
                        self._root.put(file, f"{self._track}/{file.relative_to(self.folder).as_posix()}")
            self._root.write_json(_marker(self._track), self._about)  # a driver taken for lost may have removed it
        finally:
            self._scratch.cleanup()


@dataclass(frozen=True, slots=True)
class Unsent:
    """A run of which an object store keeps what MLflow has not got."""

    root: Storage
    track: str
    key: RunKey

    @property
    def writer(self) -> str:
        """The folder whose lease is held while the run is written."""
        return self.track.removesuffix("/track")

    @contextmanager
    def restored(self) -> Iterator[Path]:
        """Its spool as a folder of this machine."""
        with tempfile.TemporaryDirectory(prefix="xling-track-", ignore_cleanup_errors=True) as scratch:
            spool = Spool(Path(scratch))
            _restore(spool, self.root.child(self.track))
            spool.identify(self.key.to_dict())
            yield spool.folder

    def forget(self) -> None:
        """MLflow has everything."""
        _forget(self.root, self.track)


def stored_unsent(root: Storage, sweep: str) -> list[Unsent]:
    """The runs of a sweep that an object store knows as unsent; some may be written now."""
    found = []
    for name in root.list(f"{sweep}/unsent"):
        with suppress(FileNotFoundError):  # sent meanwhile
            path = f"{sweep}/unsent/{name}"
            about: _Marker = root.read_json(path, _Marker)
            found.append(Unsent(root, about["track"], shaped(about["run"], RunKey, root.locate(path))))
    return found


def _restore(spool: Spool, store: Storage) -> None:
    spool.restore(store)
    for file in store.files("files"):
        store.fetch(file.path, spool.folder / file.path)


def _forget(root: Storage, track: str) -> None:
    root.delete(f"{track}/files")
    root.delete(_marker(track))


def _marker(track: str) -> str:
    folders = track.split("/")
    return f"{folders[0]}/unsent/{folders[-2]}.json"
