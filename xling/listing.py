"""What listings of folders and of object stores tell of files, in one form."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as a listing tells of it."""

    path: str  # below the root of the storage that was asked
    size: int
    changed: float  # Unix seconds
    stamp: str  # another one when the content is another


def walk(full: str, start: str) -> Iterator[StoredFile]:
    """The files of a local folder; ``start`` begins their names.

    Raises:
        OSError: some folder cannot be listed; not where there is none (any more).
    """
    for folder, _, names in os.walk(full, onerror=_raise_unless_gone):
        below = start + folder.removeprefix(full).lstrip("/")
        for name in names:
            with suppress(FileNotFoundError):  # gone meanwhile
                about = os.stat(f"{folder}/{name}", follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    path = f"{below.rstrip('/')}/{name}" if below else name
                    yield StoredFile(path, about.st_size, about.st_mtime, f"{about.st_size}-{about.st_mtime_ns}")


def _raise_unless_gone(error: OSError) -> None:
    """Without it ``os.walk`` leaves out what it cannot list, and that would be taken for deleted."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def from_info(path: str, info: Mapping[str, Any]) -> StoredFile:
    """What an object store's listing tells, in the words of its own library."""
    changed = next((info[key] for key in ("LastModified", "updated", "mtime", "created") if info.get(key)), 0.0)
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    tag = next((info[key] for key in ("ETag", "etag", "md5Hash") if info.get(key)), seconds)
    return StoredFile(path, int(info["size"]), seconds, f"{info['size']}-{tag}")
