"""``xling gc``: what of a sweep nothing needs any more, and what can be had again; how large it is, and its removal.

Nothing goes that resuming, reports and their verification, exports, evaluations or searches need, but for what was
asked for by its name: cells that the grid has no more, caches, trained models.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from xling.errors import ConfigError
from xling.listing import StoredFile
from xling.storage import HIDDEN, Storage
from xling.sweep.cells import CellFolder, CellState
from xling.sweep.hub_copies import COPIED, HUB_MODELS
from xling.sweep.jobs import Job
from xling.sweep.lease import holder_of
from xling.sweep.selection import find_job, states_of, stored_jobs
from xling.sweep.usable import PROBE
from xling.train.attempts import accepted_checkpoints
from xling.train.trained import remove_weights

LEFT_BEHIND_S = 3600.0  # after which what a writer left half-written is taken for a dead one's
CACHES = {"tokens": "token tables", "embeddings": "embeddings", HUB_MODELS: "copies of hub models"}
# Files that speak for others beside them: first to go where a folder does not go at once.
_MARKERS = frozenset({"result.json", "trained.json", "summary.json", "manifest.json", "meta.json", "set.json", COPIED})


@dataclass(frozen=True, slots=True)
class Asked:
    """What may go beside what nothing needs."""

    grid: frozenset[str] | None = None  # ids of the grid's cells and baselines: others go
    caches: bool = False
    models: bool = False
    keep: tuple[str, ...] = ()  # cells whose models stay, by label or id


@dataclass(frozen=True, slots=True)
class Piece:
    """A file or folder that goes as a whole."""

    path: str  # below the storage's root
    kind: str
    why: str
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What goes, and what stays by kind: its files and their bytes."""

    goes: tuple[Piece, ...]
    stays: Mapping[str, tuple[int, int]]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.goes)


@dataclass
class _Marked:
    """Paths that go, with their kinds and reasons."""

    found: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, path: str, kind: str, why: str) -> None:
        self.found.setdefault(path, (kind, why))

    def above(self, path: str) -> str | None:
        """The marked path that holds a file."""
        parts = path.split("/")
        return next((p for end in range(1, len(parts) + 1) if (p := "/".join(parts[:end])) in self.found), None)


def survey(root: Storage, sweep: str, asked: Asked) -> Survey:
    """Look through a sweep and what the storage's sweeps share.

    Raises:
        ConfigError: a cell to keep is none, or caches are to go while another sweep runs on them.
    """
    jobs = stored_jobs(root, sweep)
    kept = {job.id for name in asked.keep for job in _named(jobs, name)}
    folders = (sweep, "data", "tokenizers", "warm", *CACHES, *root.list(hidden=True))
    files = {folder: root.files(folder) for folder in folders}
    marked = _Marked()
    states = states_of(root, sweep, jobs)
    cells = root.list(f"{sweep}/cells")
    for cell in cells:
        _mark_cell(marked, root, f"{sweep}/cells/{cell}", cell, states.get(cell), asked, kept)
    for warm in sorted({job.warm for job in jobs if job.warm}):
        _mark_warm(marked, root, f"warm/{warm}")
    if asked.caches:
        _require_no_other_runs(root, sweep)
        for folder, kind in CACHES.items():
            for name in {file.path.split("/")[1] for file in files[folder] if HIDDEN not in file.path}:
                marked.add(f"{folder}/{name}", kind, "made again when they are needed")
    for path in _left_behind(sweep, [file for of in files.values() for file in of], time.time()):
        marked.add(path, "half-written files", "whoever wrote them was killed")
    return _summed(marked, files, sweep)


def remove(root: Storage, goes: Sequence[Piece]) -> Iterator[Piece]:
    """Delete the pieces one after another; each is given once it is gone. Killed in between, the rest stays whole."""
    for piece in goes:
        if piece.kind == "models":
            remove_weights(root.child(piece.path.removesuffix("/model")))
        else:
            if not root.is_local:
                for file in root.files(piece.path):
                    if file.path.rpartition("/")[2] in _MARKERS:
                        root.delete(file.path)
            root.delete(piece.path)
        yield piece


def _named(jobs: Sequence[Job], name: str) -> list[Job]:
    """All jobs of a label, as what was asked to stay must not go; else the one of the beginning of an id."""
    return [job for job in jobs if job.label == name] or [find_job(jobs, name)]


def _mark_cell(
    marked: _Marked,
    root: Storage,
    path: str,
    cell: str,
    state: CellState | None,
    asked: Asked,
    kept: set[str],
) -> None:
    """Args: state: None for a folder without a cell's record."""
    storage = root.child(path)
    if state is CellState.RUNNING or holder_of(storage) is not None:
        return
    if asked.grid is not None and cell not in asked.grid:
        marked.add(path, "cells that are not in the grid", "asked for by --orphans")
        return
    folder = CellFolder(storage)
    if state is None:
        return
    if folder.is_trained():
        if storage.list("checkpoints"):
            marked.add(f"{path}/checkpoints", "checkpoints", "the cell is trained, nothing goes on from them")
        if asked.models and state is CellState.DONE and cell not in kept and storage.list("model") != ["trained.json"]:
            marked.add(f"{path}/model", "models", "asked for by --models")
        return
    usable = set(accepted_checkpoints(storage, strict=True))
    for name in storage.list("checkpoints"):
        if name not in usable:
            why = "half-written, or of an attempt that was given up: no attempt may start from them"
            marked.add(f"{path}/checkpoints/{name}", "checkpoints", why)


def _mark_warm(marked: _Marked, root: Storage, path: str) -> None:
    storage = root.child(path)
    if CellFolder(storage).is_trained() and holder_of(storage) is None and storage.list("checkpoints"):
        marked.add(f"{path}/checkpoints", "checkpoints", "the warm start is trained, nothing goes on from them")


def _require_no_other_runs(root: Storage, sweep: str) -> None:
    """Raise ConfigError when another sweep of the storage is running: it reads the same caches."""
    for name in set(root.list()) - {sweep}:
        if root.exists(f"{name}/sweep.yaml") and (holder := holder_of(root.child(name))) is not None:
            raise ConfigError(
                f"--caches would take token tables from sweep {name}, which is held by {holder.describe()}; wait for "
                "it, or leave --caches out"
            )


def _left_behind(sweep: str, files: Iterable[StoredFile], now: float) -> Iterator[str]:
    """What is half-written, and old; a folder that is being deleted carries such a name too."""
    newest: dict[str, float] = {}
    for file in files:
        parts = file.path.split("/")
        at = next((number for number, part in enumerate(parts) if part.startswith(HIDDEN)), None)
        if at is None and (parts[0] != sweep or len(parts) != 2 or not parts[1].startswith(PROBE)):
            continue
        path = file.path if at is None else "/".join(parts[: at + 1])
        newest[path] = max(newest.get(path, 0.0), file.changed)
    yield from (path for path, changed in newest.items() if now - changed > LEFT_BEHIND_S)


def _summed(marked: _Marked, files: Mapping[str, Sequence[StoredFile]], sweep: str) -> Survey:
    sizes = dict.fromkeys(marked.found, (0, 0))
    stays: dict[str, tuple[int, int]] = {}
    for file in (file for of in files.values() for file in of):
        path = marked.above(file.path)
        if path is not None and not (marked.found[path][0] == "models" and file.path.endswith("/trained.json")):
            sizes[path] = (sizes[path][0] + 1, sizes[path][1] + file.size)
        else:
            kind = _kind(file.path, sweep)
            count, size = stays.get(kind, (0, 0))
            stays[kind] = (count + 1, size + file.size)
    pieces = [Piece(path, kind, why, *sizes[path]) for path, (kind, why) in marked.found.items()]
    return Survey(tuple(sorted(pieces, key=lambda piece: (piece.kind, piece.path))), dict(sorted(stays.items())))


def _kind(path: str, sweep: str) -> str:
    parts = path.split("/")
    if parts[0] != sweep:
        return {**CACHES, "warm": "warm starts"}.get(parts[0], "data sets and tokenizers")
    if "checkpoints" in parts:
        return "checkpoints that cells go on from"
    return "models" if "model" in parts else "results and history"
