"""What travels with a job: the sweep's file, the local files that it names, and what the job is to run."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xling import __version__
from xling.config.document import read_document
from xling.config.dotted import Parts
from xling.config.load import LoadedSweep, load_sweep
from xling.config.schema import CellConfig, SweepConfig
from xling.errors import ConfigError
from xling.sizes import size_text
from xling.sweep.registered import check_registered

MOST_BYTES = 100 * 2**20  # a package is held in the head's memory
FILES_SHOWN = 5
ENTRY = "job_entry.py"
ENTRYPOINT = f"exec python {ENTRY}"
_ABOUT = "job.json"
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip: equal contents are an equal package, which is sent once


@dataclass(frozen=True)
class Parcel:
    """A sweep that was found right, with the files to send: where each lies in the package, and here."""

    loaded: LoadedSweep
    file: str  # the sweep's, in the package
    files: Mapping[str, Path]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files.values())

    def describe(self) -> str:
        """What is sent, for people."""
        names = sorted(self.files)
        more = f" and {len(names) - FILES_SHOWN} more" if len(names) > FILES_SHOWN else ""
        return f"{', '.join(names[:FILES_SHOWN])}{more} ({size_text(self.size)})"

    def write(self, target: Path, arguments: Sequence[str]) -> None:
        """Args: target: the zip to write. arguments: of ``xling``, to be run where the package lies unpacked."""
        about = {"version": __version__, "arguments": list(arguments)}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
            for name, file in sorted(self.files.items()):
                _add(package, name, file.read_bytes())
            _add(package, ENTRY, Path(__file__).with_name(ENTRY).read_bytes())
            _add(package, _ABOUT, json.dumps(about).encode())


def pack(file: Path, overrides: Sequence[str]) -> Parcel:
    """Read a sweep's file as the cluster will, and find what must be sent with it.

    Relative paths are of files here, and are sent. Absolute ones, and those that begin with ``~`` or a variable,
    are of files on the cluster's machines; nothing is said of what cannot be seen from here.

    Raises:
        ConfigError: with every problem.
    """
    document = read_document(file)
    for assignment in overrides:
        document.override(assignment, SweepConfig)
    document.problems.clear()  # they are found again
    for parts, text in _misplaced(document.data):
        document.report(parts, text)
    places = [problem.text for problem in document.problems]
    found: dict[str, Path] = {}

    def check(config: CellConfig) -> Iterator[tuple[str, str]]:
        paths = list(_paths(config))
        wrong = [(path, text) for path, value in paths if _is_relative(value) for text in _collect(value, found)]
        judged = {path for path, value in paths if not _is_relative(value)} | {path for path, _ in wrong}
        yield from (problem for problem in check_registered(config) if problem[0] not in judged)
        yield from wrong
        model = config.model.path
        if model is not None and _is_relative(model):
            yield (
                "model.path",
                f"is {model!r}, must be absolute, and the same on all machines: workers read it there",
            )

    try:
        loaded = load_sweep(file, overrides, [check], places=False)
    except ConfigError as error:
        raise ConfigError([*error.problems, *places]) from None
    if places:
        raise ConfigError(places)
    name = os.path.relpath(file)
    name = file.name if name.startswith("..") else name
    found[name] = file
    taken = sorted({ENTRY, _ABOUT} & found.keys())
    if taken:
        raise ConfigError(f"{taken[0]} is the name of a file of the job's own: rename yours")
    parcel = Parcel(loaded, name, found)
    if parcel.size > MOST_BYTES:
        raise ConfigError(
            f"the sweep's local files have {size_text(parcel.size)} in all, at most {size_text(MOST_BYTES)} are "
            "sent with a job: put some on storage that the cluster's machines share, and name them by absolute paths"
        )
    return parcel


def _paths(config: CellConfig) -> Iterator[tuple[str, str]]:
    """Dotted path and value of every file or folder with data; they are read by the job's own process alone."""
    several = isinstance(config.data.train, tuple)
    for number, entry in enumerate(config.data.training_sets):
        section = f"data.train.{number}" if several else "data.train"
        yield from ((f"{section}.{name}", value) for name in ("path", "mined") if (value := getattr(entry, name)))
    for number, scored in enumerate(config.data.evaluate):
        if scored.path is not None:
            yield f"data.evaluate.{number}.path", scored.path


def _is_relative(path: str) -> bool:
    return not path.startswith(("/", "~", "$"))


def _collect(path: str, found: dict[str, Path]) -> Iterator[str]:
    """Enter a path's files in ``found``; what is wrong with sending them."""
    place = os.path.normpath(path)
    shared = "or lie on storage that the cluster's machines share, named by its absolute path"
    if place.startswith(".."):
        yield f"is {path!r}, must be below the folder of this command to be sent with the job, {shared}"
        return
    root = Path(place)
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if file.is_file())
    total = sum(file.stat().st_size for file in files)
    if total > MOST_BYTES:
        yield f"is {path!r} with {size_text(total)}, must have at most {size_text(MOST_BYTES)} to be sent, {shared}"
        return
    found.update({file.as_posix(): file for file in files})


def _misplaced(data: Mapping[str, Any]) -> Iterator[tuple[Parts, str]]:
    """What is wrong with where results and runs are to be kept, seen from a cluster."""
    storage, tracking = data.get("storage", "runs"), data.get("tracking")
    uri = tracking.get("uri") if isinstance(tracking, dict) else None
    is_url = isinstance(storage, str) and "://" in storage
    folder = storage.removeprefix("file://") if isinstance(storage, str) else ""
    if folder and "://" not in folder and _is_relative(folder):
        yield (
            ("storage",),
            f"storage is {storage!r}, a folder of this machine, must be one that all machines of the cluster share: "
            "an absolute path, s3:// or gs://; give it here by --set storage=…",
        )
    if is_url and not storage.startswith("file://") and uri is None:
        yield (
            ("tracking",),
            f"tracking.uri is missing, must be an MLflow server's address: the storage {storage} cannot hold SQLite",
        )
    if isinstance(uri, str) and uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        yield (
            ("tracking", "uri"),
            f"tracking.uri is {uri!r}, a file of this machine, must be a server or sqlite:////absolute/path",
        )


def _add(package: zipfile.ZipFile, name: str, content: bytes) -> None:
    package.writestr(zipfile.ZipInfo(name, _EARLIEST), content, zipfile.ZIP_DEFLATED)
