"""Folders for temporary files that are cleared up after a kill, too: by the next that makes one on the machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from weakref import finalize

_PREFIX = "xling-train-"
_HELD = "held"  # a file that the process using the folder has locked, for as long as it lives


class Scratch:
    """A folder for temporary files; as it is made, those go whose process was killed."""

    def __init__(self) -> None:
        clear_abandoned()
        self.name = tempfile.mkdtemp(prefix=_PREFIX)
        lock = os.open(f"{self.name}/new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(f"{self.name}/new", f"{self.name}/{_HELD}")  # it has its name only once it is locked

        self.cleanup = finalize(self, _drop, self.name, lock)  # at the process's end at the latest


def _drop(folder: str, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def clear_abandoned() -> None:
    """Delete the folders of this user's processes that live no more; one that nobody ever held stays."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody lives and holds it, another clears it up, or it is another user's
            _clear(folder)


def _clear(folder: Path) -> None:
    """Raises OSError where it is held, or not ours."""
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return
    lock = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(lock)
