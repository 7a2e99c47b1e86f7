"""What storage keeps of a sweep's launch, its file and overrides, and the commands that take it up again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from shlex import quote

from typing_extensions import TypedDict

from xling.config.load import LoadedSweep
from xling.errors import ConfigError
from xling.redaction import redacted, redacted_values
from xling.storage import Storage
from xling.stored_json import DamagedFile
from xling.sweep.cells import CellState

BY_FILE = "bring it back from a copy, or launch the sweep again by its file, which writes it anew: xling sweep FILE"


class LaunchRecord(TypedDict):
    """``launch.json``."""

    overrides: list[str]
    source: str  # the sweep file's name, as it was given
    folder: str  # that its relative paths are relative to


def remember(root: Storage, loaded: LoadedSweep) -> None:
    """Keep the sweep file and its overrides, which ``xling resume NAME`` launches again.

    No value that counts holds a secret, or the file would have been refused; one in a comment or in a value that an
    override replaces is left out.
    """
    sweep = loaded.config.name
    root.write(f"{sweep}/sweep.yaml", redacted(loaded.text).encode())
    about = {"overrides": redacted_values(loaded.overrides), "source": str(loaded.source), "folder": str(Path.cwd())}
    root.write_json(f"{sweep}/launch.json", about)


def is_remembered(root: Storage, sweep: str) -> bool:
    """Whether a launch of it is kept, and whole."""
    try:
        root.read_json(f"{sweep}/launch.json", LaunchRecord)
    except (FileNotFoundError, DamagedFile):
        return False
    return root.exists(f"{sweep}/sweep.yaml")


@contextmanager
def remembered(storage: str, sweep: str) -> Iterator[tuple[Path, list[str]]]:
    """The sweep file and overrides of the last launch, in the folder that its relative paths meant.

    Raises:
        ConfigError: there was none.
    """
    root = Storage(storage)
    if sweep in (".", "..") or "/" in sweep:
        raise ConfigError(f"the sweep's name is {sweep!r}, must be that of a folder of the storage {root.url}")
    try:
        about: LaunchRecord = root.read_json(f"{sweep}/launch.json", LaunchRecord)
    except FileNotFoundError as error:
        known = [name for name in root.list() if root.exists(f"{name}/sweep.yaml")]
        found = f"it holds {', '.join(known)}" if known else "it holds none"
        if sweep in known:
            raise ConfigError(f"{root.locate(f'{sweep}/launch.json')} is missing; {BY_FILE}") from error
        raise ConfigError(f"there is no sweep {sweep!r} in {root.url}; {found}") from error
    except DamagedFile as error:
        raise DamagedFile(error.what, BY_FILE) from error
    if not root.exists(f"{sweep}/sweep.yaml"):
        raise ConfigError(f"{root.locate(f'{sweep}/sweep.yaml')} is missing; {BY_FILE}")
    folder = about["folder"] if Path(about["folder"]).is_dir() else "."
    with root.local_copy(f"{sweep}/sweep.yaml") as file, chdir(folder):
        yield file, [*about["overrides"], storage_override(root.url)]


def storage_override(storage: str) -> str:
    """As ``--set`` takes it; quoted, since a path may hold what YAML reads otherwise."""
    return f"storage={json.dumps(storage, ensure_ascii=False)}"


def resume_command(loaded: LoadedSweep) -> str:
    return f"xling resume {loaded.config.name} --storage {quote(loaded.config.storage)}"


def how_to_go_on(loaded: LoadedSweep, states: Iterable[CellState]) -> list[str]:
    """What is left of a sweep and the commands that take it up; stopped cells wait to be asked for."""
    counts, lines = Counter(state for state in states if state is not CellState.DONE), []
    stopped = counts.pop(CellState.STOPPED, 0)
    if counts:
        listed = ", ".join(f"{count} {state}" for state, count in counts.items())
        lines.append(f"Not done: {listed}. Go on with: {resume_command(loaded)}")
    if stopped:
        lines.append(f"Not done: {stopped} stopped. Go on with: {resume_command(loaded)} --stopped")
    return lines
