"""Files on whatever holds a sweep's results: a folder, ``s3://``, ``gs://`` (through fsspec).

Two rules make a kill at any moment harmless: a file appears whole or not at all
(:meth:`Storage.write`), and what must exist once is created exclusively
(:meth:`Storage.create`). Nothing is cached: what another process has just written or deleted is
seen. Threads may share a storage; a forked process opens its own, since fsspec's connections of
an object store do not outlive a fork. Paths come from names that others wrote, too: none leads out
of the root.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec

from xling.errors import ResourceError
from xling.listing import StoredFile, from_info, walk
from xling.redaction import holds_secret, redacted
from xling.refusals import is_of_bucket, of_file, of_store
from xling.sizes import size_text
from xling.stored_json import parsed

HIDDEN = ".tmp-"  # begins the names of files that are not there yet, or no longer
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # of this package, by kind of URL
_CONFLICTS_TRIED = 5


class Storage:
    """A root URL and files below it, named by relative POSIX paths."""

    def __init__(self, url: str) -> None:
        """Args: url: a folder's path (made absolute) or any fsspec URL."""
        if "\0" in url:
            raise ResourceError(f"storage is {url!r}, must be a path or URL without NUL characters; correct it")
        url = url.removeprefix("file://") or "/"
        if "://" in url and holds_secret(url):
            raise ResourceError(
                f"storage {redacted(url)!r} must be without the secret, since it is kept with the results; set the "
                "provider's variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/storage.md)"
            )
        kind, is_url, place = url.partition("://")
        if is_url and not place.strip("/"):
            raise ResourceError(f"storage {url!r} names no bucket: write {kind}://bucket/prefix")
        # Absolute: worker processes run in other folders.
        self.url = url.rstrip("/") if is_url else str(Path(url).expanduser().resolve())
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            fix = f"pip install 'xling[{_EXTRAS[kind]}]'" if kind in _EXTRAS else "install it"
            raise ResourceError(f"storage {url!r} needs a package that is not installed ({error}): {fix}") from error
        except ValueError as error:
            raise ResourceError(f"storage {url!r} cannot be opened: {error}") from error

    @property
    def is_local(self) -> bool:
        return "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def child(self, path: str) -> Storage:
        """The storage whose root is ``path`` below this one."""
        return Storage(self.locate(path))

    def locate(self, path: str) -> str:
        """Full URL (or local path) of a file below the root. Raises ResourceError when the path leads out of it."""
        self._require_below(path)
        return f"{self.url}/{path}" if path else self.url

    def _full(self, path: str) -> str:
        """The same as fsspec takes it."""
        self._require_below(path)
        return f"{self._root}/{path}"

    def _require_below(self, path: str) -> None:
        if ".." in path.split("/") or "\0" in path:
            raise ResourceError(
                f"{path!r} leads out of the storage {self.url}, must be names joined by /, none of them '..'; "
                "correct the name, or delete the file that holds it"
            )

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file; a reader sees the old content or the new, never a part.

        Raises:
            ResourceError: the storage is full; or, as from every method, it cannot be used
                (:class:`StorageAway`: not now).
        """
        if not self.is_local:  # an object store's put is atomic already
            with self._asking():
                self._fs.pipe_file(self._full(path), data)
            return
        with self._unfinished(path) as (file, name):
            file.write(data)
            _sync(file)
            os.replace(name, self._full(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False when another was first. Raises as :meth:`write`.

        An object store must know conditional writes (``If-None-Match``). A put whose answer was lost
        is sent again and then finds itself there: it is said to be another's, though what is there is ours.
        """
        try:
            if not self.is_local:
                with self._asking():
                    self._put_if_absent(self._full(path), data)
                return True
            with self._unfinished(path) as (file, name):
                file.write(data)
                _sync(file)
                os.link(name, self._full(path))  # fails when the name is taken, and is never half-written
        except FileExistsError:
            return False
        return True

    def _put_if_absent(self, full: str, data: bytes) -> None:
        for left in reversed(range(_CONFLICTS_TRIED)):
            try:
                self._fs.pipe_file(full, data, mode="create")
                return
            except OSError as error:  # S3 says so when a delete of the same name came in between
                if "conflicting" not in str(error) or not left:
                    raise

    def put(self, source: Path, path: str) -> None:
        """Copy a local file here without holding it in memory; else as :meth:`write`."""
        if not self.is_local:
            with self._asking():
                self._fs.put_file(str(source), self._full(path))
            return
        with self._unfinished(path) as (file, name), source.open("rb") as stream:
            shutil.copyfileobj(stream, file, 1 << 20)
            _sync(file)
            os.replace(name, self._full(path))

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file to a local path, where it appears whole. Raises FileNotFoundError when there is none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f"{HIDDEN}{uuid.uuid4().hex}")
        try:
            with self._asking():
                self._fs.get_file(self._full(path), str(scratch))
            os.replace(scratch, target)
        finally:
            scratch.unlink(missing_ok=True)

    @contextmanager
    def _unfinished(self, path: str) -> Iterator[tuple[IO[bytes], str]]:
        """A new file beside ``path``, under a name that no listing shows; gone again unless it was renamed."""
        folder = Path(self._full(path)).parent
        name = f"{folder}/{HIDDEN}{uuid.uuid4().hex}"
        try:
            _make_folder(folder)
            with open(name, "xb") as file:
                yield file, name
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ResourceError(f"storage {self.url} is full; make room there, then resume the sweep") from error
            raise
        finally:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(name)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError when there is no such file."""
        with self._asking():
            return bytes(self._fs.cat_file(self._full(path)))

    def exists(self, path: str) -> bool:
        full = self._full(path)
        with self._asking():
            if not self.is_local:
                return bool(self._fs.exists(full))
            try:  # fsspec's answer is no also where it cannot be known
                os.stat(full)
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def list(self, path: str = "", *, hidden: bool = False) -> list[str]:
        """Names directly below a folder, sorted; empty when there is no such folder.

        Args: hidden: those of what is not there yet, or no longer, instead of all others.
        """
        full = self._full(path).rstrip("/")
        try:
            with self._asking():
                entries = self._fs.ls(full, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries if str(entry).rstrip("/") != full)
        return sorted(name for name in names if name.startswith(HIDDEN) == hidden)

    def files(self, path: str = "") -> Sequence[StoredFile]:
        """All files below a folder, however deep, sorted; of a local one also those that :meth:`list` hides.

        Symbolic links are left out, and what they lead to.
        """
        full = self._full(path).rstrip("/")
        if self.is_local:
            with self._asking():
                return sorted(walk(full, f"{path}/" if path else ""), key=lambda file: file.path)
        with self._asking():
            found = self._fs.find(full, detail=True)
        start = f"{path}/" if path else ""
        named = ((name.removeprefix(f"{full}/"), info) for name, info in found.items() if name != full)
        below = ((name, info) for name, info in named if ".." not in name.split("/"))  # a store takes any name
        return sorted((from_info(start + name, info) for name, info in below), key=lambda file: file.path)

    def delete(self, path: str) -> None:
        """Remove a file or a whole folder; nothing happens when it is not there.

        A local folder goes at once: nobody, however killed, leaves half of it to be read. Of a symbolic link the link
        goes, not what it leads to.
        """
        full = self._full(path)
        with suppress(FileNotFoundError):
            if self.is_local:
                hidden = f"{Path(full).parent}/{HIDDEN}{uuid.uuid4().hex}"
                os.rename(full, hidden)
                full = hidden
                if os.path.islink(full):
                    os.unlink(full)
                    return
            with self._asking():
                self._fs.rm(full, recursive=True)

    def free_bytes(self) -> int | None:
        """Room for this user where the storage lies; None where nobody can tell, as of an object store."""
        if not self.is_local:
            return None
        place = Path(self._root)
        while not place.exists():  # it may not have been made yet
            place = place.parent
        return shutil.disk_usage(place).free

    def lack_of_room(self, floor: int, more: int = 0) -> str:
        """Why not to write now, in words: less than ``floor`` bytes would stay free after ``more``; else empty.

        Without a floor nothing is asked: what does not fit is found out when it is written.
        """
        free = self.free_bytes() if floor else None
        if free is None or free - more >= floor:
            return ""
        what = f", and {size_text(more)} are to be written" if more else ""
        return (
            f"storage {self.url} has {size_text(free)} free{what}; {size_text(floor)} must stay free "
            "(min_free_space): make room there, then resume the sweep"
        )

    def write_json(self, path: str, value: Any) -> None:
        self.write(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n")

    def read_json(self, path: str, shape: Any = Any) -> Any:
        """Raises FileNotFoundError when there is no such file, DamagedFile when it was cut or changed.

        Args: shape: what it must hold, as in stored_json.py.
        """
        return parsed(self.read(path), self.locate(path), shape)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A folder or file as a local path: itself when local, else a downloaded copy that goes afterwards."""
        if self.is_local:
            yield Path(self._full(path))
            return
        with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
            target = Path(scratch) / Path(path).name
            inside = [file.path.removeprefix(f"{path}/") for file in self.files(path)]
            local = [str(target / name) for name in inside] or [str(target)]
            with self._asking():
                self._fs.get([self._full(f"{path}/{name}") for name in inside] or [self._full(path)], local)
            yield target

    def upload(self, folder: Path, path: str) -> None:
        """Copy a local folder's files below ``path``, each written whole."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(file, f"{path}/{file.relative_to(folder).as_posix()}")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say in one message why the storage does not do what it is asked to.

        That a file is missing, or there already, is an answer and passes.
        """
        try:
            yield
        except ResourceError:
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError | FileExistsError | NotADirectoryError) and not is_of_bucket(error):
                raise
            if not self.is_local:
                raise of_store(error, self.url, self._root.split("/")[0]) from error
            if not isinstance(error, OSError):
                raise
            raise of_file(error, self.url) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # of a file's name; in create, it would be taken for the file's own
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def _sync(file: IO[bytes]) -> None:
    """On the disk, not only in the system's memory."""
    file.flush()
    os.fsync(file.fileno())
