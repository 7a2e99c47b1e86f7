"""``xling pull``: a sweep's results and models from wherever they lie to a local folder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from xling.config.load import LoadedSweep
from xling.errors import ConfigError, ResourceError
from xling.listing import StoredFile
from xling.sizes import size_text
from xling.storage import Storage
from xling.sweep.copied import RECORD, Part, is_wanted, read_record, record_line, record_lines, turn
from xling.sweep.lease import holder_of
from xling.sweep.places import sweep_storage
from xling.sweep.selection import stored_jobs

AT_ONCE = 8  # files; an object store is far
SPARE_BYTES = 100_000_000  # left free on the disk


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did."""

    copied: Sequence[StoredFile]
    unchanged: int
    deleted: int  # files of the copy that are gone where it came from

    @property
    def size(self) -> int:
        return sum(file.size for file in self.copied)


def show_pull(loaded: LoadedSweep, target: Path, console: Console, *, part: Part, as_json: bool) -> None:
    """Copy what is new or changed, with a bar, and say how to go on.

    Raises:
        ConfigError, ResourceError: as :func:`pull`.
    """
    root, sweep, started = sweep_storage(loaded), loaded.config.name, time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal) as bar:
        task = bar.add_task(sweep, total=None)
        done = pull(root, sweep, target, part, lambda size, total: bar.update(task, completed=size, total=total))
    seconds = time.monotonic() - started
    if as_json:
        about = {"copied": len(done.copied), "unchanged": done.unchanged, "deleted": done.deleted, "bytes": done.size}
        record = {"event": "pull", "sweep": sweep, "from": root.url, "to": str(target.absolute()), **about}
        console.print(json.dumps({**record, "seconds": round(seconds, 1)}), soft_wrap=True)
        return
    gone = f", {done.deleted} deleted that are gone there" if done.deleted else ""
    text = (
        f"{len(done.copied)} files copied, {size_text(done.size)} in {seconds:.0f} s; {done.unchanged} were here{gone}."
    )
    lines = [
        text,
        f"Look at it: xling results {sweep} --storage {quote(str(target))}",
        "MLflow's runs are not copied: they stay with the tracking server, or in mlflow.db of the storage.",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def pull(root: Storage, sweep: str, target: Path, part: Part, progress: Callable[[int, int], None]) -> Pulled:
    """Copy a sweep's files below ``target``, each of which appears whole; what is there unchanged stays.

    Killed at any moment, the next pull goes on from there. Files of an earlier pull that are gone at the source are
    deleted, but for models; those that have another size than there are copied again.

    Args:
        progress: told the bytes copied so far, and all that are to be.

    Raises:
        ConfigError: the folder holds a sweep of that name which does not come from there, or is in use.
        ResourceError: there is no room; or some folder of the source cannot be listed: nothing is changed then.
    """
    copy = Storage(str(target))
    stamps = _stamps(root, copy, sweep)
    listed = _listed(root, sweep)
    there = {file.path: file for file in listed if is_wanted(file.path, part)}
    here = _sizes(copy, (*stamps, *there))
    todo = [file for path, file in there.items() if stamps.get(path) != file.stamp or here.get(path) != file.size]
    _require_room(copy, target, sum(file.size for file in todo))
    gone = _gone(stamps, listed, here)
    kept = {path: stamp for path, stamp in stamps.items() if path not in gone}
    copy.write(f"{sweep}/{RECORD}", record_lines(root.url, kept))
    for path in sorted(gone, key=turn, reverse=True):
        copy.delete(path)
    copied = _copy(root, copy, sweep, todo, progress)
    return Pulled(copied, len(there) - len(todo), len(gone))


def _stamps(root: Storage, copy: Storage, sweep: str) -> dict[str, str]:
    """Of the files that are here already. Raises ConfigError: as :func:`pull`."""
    if copy.url == root.url:
        raise ConfigError(f"DIR is {copy.url}, the sweep's own storage; name another folder")
    source, stamps = read_record(copy, sweep)
    place = copy.locate(sweep)
    if source is None and copy.list(sweep):
        raise ConfigError(f"DIR holds {place}, which `xling pull` did not write; name another folder")
    if source not in (None, root.url):
        raise ConfigError(f"DIR holds {place}, a copy from {source}, not from {root.url}; name another folder")
    if (holder := holder_of(copy.child(sweep))) is not None:
        raise ConfigError(f"DIR holds {place}, which is held by {holder.describe()}; wait for it")
    return stamps


def _listed(root: Storage, sweep: str) -> Sequence[StoredFile]:
    """The sweep's files and those of its warm starts."""
    warm = sorted({job.warm for job in stored_jobs(root, sweep) if job.warm})
    return [file for folder in (sweep, *(f"warm/{one}" for one in warm)) for file in root.files(folder)]


def _sizes(copy: Storage, paths: Iterable[str]) -> dict[str, int]:
    """Of what the copy holds in the folders of these files: the sweep's, and those of warm starts."""
    folders = {path.split("/")[0] if not path.startswith("warm/") else "/".join(path.split("/")[:2]) for path in paths}
    return {file.path: file.size for folder in folders for file in copy.files(folder)}


def _gone(stamps: Iterable[str], there: Iterable[StoredFile], here: Container[str]) -> set[str]:
    """What an earlier pull brought and the source has no more; models stay."""
    known = {file.path for file in there}
    return {path for path in stamps if path not in known and "/model/" not in path and path in here}


def _require_room(copy: Storage, target: Path, size: int) -> None:
    free = copy.free_bytes()
    if free is not None and size + SPARE_BYTES > free:
        raise ResourceError(
            f"{target} has {size_text(free)} free, {size_text(size)} are to be copied; make room, name another folder, "
            "or take --only results"
        )


def _copy(
    root: Storage, copy: Storage, sweep: str, todo: Sequence[StoredFile], progress: Callable[[int, int], None]
) -> list[StoredFile]:
    total, done, lock = sum(file.size for file in todo), 0, threading.Lock()
    progress(0, total)
    copied: list[StoredFile] = []

    def one(file: StoredFile) -> None:
        nonlocal done
        try:
            root.fetch(file.path, Path(copy.locate(file.path)))
        except FileNotFoundError:  # gone meanwhile: the sweep is running
            return
        with lock:
            record.write(record_line({"path": file.path, "stamp": file.stamp}))
            record.flush()
            done += file.size
            copied.append(file)
            progress(done, total)

    with Path(copy.locate(f"{sweep}/{RECORD}")).open("ab") as record, ThreadPoolExecutor(AT_ONCE) as pool:
        for _, group in groupby(sorted(todo, key=lambda file: turn(file.path)), key=lambda file: turn(file.path)):
            list(pool.map(one, group))
    return copied
