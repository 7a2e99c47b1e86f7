"""Files on whatever holds a sweep's results: a folder, ``s3://``, ``gs://`` (through fsspec).

Two rules make a kill at any moment harmless: a file appears whole or not at all
(:meth:`Storage.write`), and what must exist once is created exclusively
(:meth:`Storage.create`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec

from xling.errors import ResourceError

_HIDDEN = ".tmp-"  # begins the names of files that are not there yet, or no longer


class Storage:
    """A root URL and files below it, named by relative POSIX paths."""

    def __init__(self, url: str) -> None:
        """Args: url: a folder's path (made absolute) or any fsspec URL."""
        self.url = url if "://" in url else str(Path(url).expanduser().resolve())
        self.url = self.url.removeprefix("file://").rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise ResourceError(f"storage {url!r} cannot be opened: {error}") from error

    @property
    def is_local(self) -> bool:
        return "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def child(self, path: str) -> Storage:
        """The storage whose root is ``path`` below this one."""
        return Storage(self.locate(path))

    def locate(self, path: str) -> str:
        """Full URL (or local path) of a file below the root."""
        return f"{self.url}/{path}" if path else self.url

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file; a reader sees the old content or the new, never a part.

        Raises:
            ResourceError: the storage is full.
        """
        if not self.is_local:  # an object store's put is atomic already
            self._fs.pipe_file(f"{self._root}/{path}", data)
            return
        with self._unfinished(path) as (file, name):
            file.write(data)
            _sync(file)
            os.replace(name, f"{self._root}/{path}")

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False when another was first. Raises as :meth:`write`."""
        full = f"{self._root}/{path}"
        try:
            if not self.is_local:
                self._fs.pipe_file(full, data, mode="create")
                return True
            with self._unfinished(path) as (file, name):
                file.write(data)
                _sync(file)
                os.link(name, full)  # fails when the name is taken, and is never half-written
        except FileExistsError:
            return False
        return True

    def put(self, source: Path, path: str) -> None:
        """Copy a local file here without holding it in memory; else as :meth:`write`."""
        if not self.is_local:
            self._fs.put_file(str(source), f"{self._root}/{path}")
            return
        with self._unfinished(path) as (file, name), source.open("rb") as stream:
            shutil.copyfileobj(stream, file, 1 << 20)
            _sync(file)
            os.replace(name, f"{self._root}/{path}")

    @contextmanager
    def _unfinished(self, path: str) -> Iterator[tuple[IO[bytes], str]]:
        """A new file beside ``path``, under a name that no listing shows; gone again unless it was renamed."""
        folder = Path(f"{self._root}/{path}").parent
        name = f"{folder}/{_HIDDEN}{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(name, "xb") as file:
                yield file, name
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ResourceError(f"storage {self.url} is full; make room there, then resume the sweep") from error
            raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError when there is no such file."""
        return bytes(self._fs.cat_file(f"{self._root}/{path}"))

    def exists(self, path: str) -> bool:
        return bool(self._fs.exists(f"{self._root}/{path}"))

    def list(self, path: str = "") -> list[str]:
        """Names directly below a folder, sorted; empty when there is no such folder."""
        full = f"{self._root}/{path}".rstrip("/")
        try:
            entries = self._fs.ls(full, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries if str(entry).rstrip("/") != full)
        return sorted(name for name in names if not name.startswith(_HIDDEN))

    def delete(self, path: str) -> None:
        """Remove a file or a whole folder; nothing happens when it is not there.

        A local folder goes at once: nobody, however killed, leaves half of it to be read.
        """
        full = f"{self._root}/{path}"
        with suppress(FileNotFoundError):
            if self.is_local:
                hidden = f"{Path(full).parent}/{_HIDDEN}{uuid.uuid4().hex}"
                os.rename(full, hidden)
                full = hidden
            self._fs.rm(full, recursive=True)

    def write_json(self, path: str, value: Any) -> None:
        self.write(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n")

    def read_json(self, path: str) -> Any:
        return json.loads(self.read(path))

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A folder or file as a local path: itself when local, else a downloaded copy that goes afterwards."""
        if self.is_local:
            yield Path(self._root) / path
            return
        with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
            target = Path(scratch) / Path(path).name
            self._fs.get(f"{self._root}/{path}", str(target), recursive=True)
            yield target

    def upload(self, folder: Path, path: str) -> None:
        """Copy a local folder's files below ``path``, each written whole."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(file, f"{path}/{file.relative_to(folder).as_posix()}")


def _sync(file: IO[bytes]) -> None:
    """On the disk, not only in the system's memory."""
    file.flush()
    os.fsync(file.fileno())
