"""Why a storage does not do what it is asked to, in one message: a local folder, or an object store."""

from __future__ import annotations

import errno
import os

from xling.errors import ResourceError, StorageAway
from xling.redaction import redacted

_REASON_CHARACTERS = 200
# A disk, a file server or a machine in trouble: waiting may help.
_AWAY = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN", "EREMOTEIO", "EAGAIN", "EINTR")
    + ("EBUSY", "ENOLCK", "ENXIO", "ENODEV", "EMFILE", "ENFILE", "ENOMEM")
    if hasattr(errno, name)
)
_MENDED_BY = {
    errno.EACCES: "give this user the right to it, or name another place",
    errno.EPERM: "give this user the right to it, or name another place",
    errno.EROFS: "mount it so that it can be written, or name another place",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.ENAMETOOLONG: "give a shorter one",
    errno.ENOTDIR: "a folder must be there and a file is: name another place, or move the file away",
    errno.EEXIST: "name another place, or move away what is there",
    errno.EISDIR: "a file must be there and a folder is: name the file",
    errno.ENOENT: "correct the path",
    errno.ELOOP: "its symbolic links lead round in a circle: correct them",
}


def of_file(error: OSError, place: str = "") -> ResourceError:
    """What a local file system says no to. Args: place: what was asked for, where the error does not name it."""
    path = _text(error.filename2) or _text(error.filename) or place  # the former: where something was to go
    reason = error.strerror or str(error)
    if error.errno in _AWAY:
        return StorageAway(
            f"{path}: {reason}; check the disk, or the server of a shared folder, then give the same command again: it "
            "goes on from here"
        )
    fix = _MENDED_BY.get(error.errno or 0)
    return ResourceError(f"{path}: {reason}; {fix}" if fix else f"{path}: {reason}")


def _text(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes) else ""


def of_store(error: Exception, url: str, bucket: str) -> ResourceError:
    """What an object store says no to; its libraries raise their own kinds, some of no common root."""
    if is_of_bucket(error):
        return ResourceError(f"storage {url}: there is no bucket {bucket!r}; make it, or correct the URL")
    reason = redacted(" ".join(f"{type(error).__name__}: {error}".split()))[:_REASON_CHARACTERS]
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return ResourceError(
            f"storage {url} refuses access ({reason}); give credentials that may list, read, write and delete "
            "there, in the environment or in the provider's own file (docs/storage.md)"
        )
    if isinstance(error, ValueError):
        return ResourceError(f"storage {url} cannot be reached ({reason}); correct the URL or its endpoint")
    return StorageAway(
        f"storage {url} cannot be used now ({reason}); check the network, the region and the endpoint "
        "(AWS_ENDPOINT_URL), then give the same command again: it goes on from here"
    )


def is_of_bucket(error: Exception) -> bool:
    """Whether not a file but its whole bucket is missing; the stores' libraries tell it by words alone."""
    return "bucket does not exist" in str(error)
