"""What a driver looks for on storage while others work: word to stop, and the model that its workers wrote."""

from __future__ import annotations

import time
from collections.abc import Callable

from xling.errors import StorageAway
from xling.storage import Storage
from xling.sweep.cells import CellFolder, Outcome

WAIT_S = 0.5
# A client of NFS goes on not seeing, for a minute at most, a file that it looked for before another machine wrote it.
UNSEEN_S = 90.0


class Watch:
    """One driver's looks at the storage. While that is away, what is looked for counts as not there yet."""

    def __init__(self, root: Storage, sweep: str, folder: CellFolder) -> None:
        self._root = root
        self._sweep = sweep
        self._folder = folder
        self._looked = 0.0

    def sweep_is_stopping(self) -> bool:
        return self._sees(lambda: self._root.exists(f"{self._sweep}/stop.json"))

    def asked_to_stop(self) -> Outcome | None:
        """What word was left for this job alone."""
        try:
            return self._folder.asked_to_stop()
        except StorageAway:
            return None

    def is_asked_to_stop(self) -> bool:
        """Whether any word was left; an object store is far, so it is looked for at times only."""
        if time.monotonic() - self._looked < WAIT_S:
            return False
        self._looked = time.monotonic()
        return self.sweep_is_stopping() or self.asked_to_stop() is not None

    def is_trained(self) -> bool:
        return self._sees(self._folder.is_trained)

    def sees_model(self) -> bool:
        """Whether the model that was just written is there; it is looked for until it must be, or word was left."""
        deadline = time.monotonic() + UNSEEN_S
        while not self.is_trained():
            if self.is_asked_to_stop() or time.monotonic() > deadline:
                return False
            time.sleep(WAIT_S)
        return True

    @staticmethod
    def _sees(look: Callable[[], bool]) -> bool:
        try:
            return look()
        except StorageAway:
            return False
