"""Whether a storage does what a sweep asks of it, found out before anything starts."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

from xling.errors import ResourceError
from xling.storage import Storage

T = TypeVar("T")

PROBE = "probe-"  # begins the names of files that ask whether a storage can be used
PATIENCE_S = 30.0  # object stores' libraries try for minutes


def require_usable(root: Storage, folder: str, patience: float = PATIENCE_S) -> None:
    """Write, list, read and delete a file below a folder.

    Args:
        patience: seconds after which a storage that does not answer is given up.

    Raises:
        ResourceError: one of these is refused or fails, or there is no answer.
    """
    path = f"{folder}/{PROBE}{uuid.uuid4().hex}"
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            _try_all(root, folder, path)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask, name="storage", daemon=True)  # one that hangs keeps nobody from leaving
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        raise ResourceError(
            f"storage {root.url} does not answer within {patience:g} s; check the network and the endpoint "
            "(AWS_ENDPOINT_URL), or whether the file server of a shared folder is up"
        )
    if errors:
        raise errors[0]


def _try_all(root: Storage, folder: str, path: str) -> None:
    name = path.rpartition("/")[2]
    _ask(root, "written", lambda: root.write(path, b"xling"))
    if name not in _ask(root, "listed", lambda: root.list(folder)):
        raise ResourceError(f"storage {root.url} does not list a file that was just written; it must at once")
    if _ask(root, "read", lambda: root.read(path)) != b"xling":
        raise ResourceError(f"storage {root.url} gives back another file than was just written there; choose another")
    _ask(root, "deleted", lambda: root.delete(path))


def _ask(root: Storage, what: str, call: Callable[[], T]) -> T:
    """Do one thing; an error says which it was."""
    try:
        return call()
    except ResourceError as error:
        raise type(error)(f"{error}; a file could not be {what}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(f"storage {root.url} cannot be {what} ({reason}); choose another `storage:`") from error
