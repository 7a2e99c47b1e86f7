"""Leases: who may write a sweep or a cell now.

A lease is a row of numbered files, ``lease/0007.json``; the highest number is the holder, who
refreshes it by a heartbeat. To take over, one creates the next number exclusively, so exactly
one of several takers wins, and a taker that dies at once is itself taken over. A holder is gone
when it released the lease, when its process is dead (same host, seen at once), or when its
heartbeat is older than the expiry.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xling.errors import ResourceError, XlingError
from xling.storage import Storage
from xling.stored_json import DamagedFile
from xling.train.attempts import local_time

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
EXPIRY_S = 60.0
LOOK_S = 0.5  # between looks at a holder that is waited for


class HeldError(XlingError):
    """Somebody else holds the lease: ``holder``, where that is known."""

    def __init__(self, message: str, holder: Holder | None = None) -> None:
        super().__init__(message)
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds, or held, a lease."""

    host: str
    boot: str  # tells a restarted machine from the one before, and containers from each other
    pid: int
    process_start: str  # tells a re-used pid
    since: float  # Unix seconds
    heartbeat: float
    released: bool = False

    @classmethod
    def me(cls) -> Holder:
        now = time.time()
        return cls(socket.gethostname(), _boot_id(), os.getpid(), _process_start(os.getpid()), now, now)

    @property
    def is_here(self) -> bool:
        """Whether its process, while it lives, is one that this one can see."""
        return (self.host, self.boot) == (socket.gethostname(), _boot_id())

    def is_alive(self, now: float) -> bool:
        if self.released:
            return False
        if self.is_here:
            return _process_start(self.pid) == self.process_start != ""
        return now - self.heartbeat < EXPIRY_S

    def describe(self) -> str:
        return f"process {self.pid} on host {self.host}, since {local_time(self.since)}"


class Lease:
    """Hold with ``with Lease(storage, what): …``; the heartbeat runs in a thread of its own."""

    def __init__(self, storage: Storage, what: str, on_lost: Callable[[], None] | None = None) -> None:
        """Args: storage: the folder to hold. what: its name in messages. on_lost: called once, from
        the heartbeat's thread, when another took the lease over (this process was taken for dead)."""
        self._storage = storage
        self._what = what
        self._on_lost = on_lost
        self._number = 0
        self._holder = Holder.me()
        self.before: Holder | None = None  # who had it, once it is taken
        self._stop = threading.Event()
        self._writing = threading.Lock()

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def acquire(self, tell: Callable[[str], None] | None = None) -> None:
        """Take the lease, which nobody living must have.

        Args:
            tell: with it a holder elsewhere, which may have been lost a moment ago, is waited for: until its heartbeat
                moves, since it lives then, or has stood still for the expiry. It is told so once.

        Raises:
            HeldError: somebody has; it names the holder.
            ResourceError: the store creates what is there already: it could give one lease to two.
        """
        number, holder = _newest(self._storage)
        if tell is not None and holder is not None and not holder.is_here and holder.is_alive(time.time()):
            tell(
                f"{self._what} is held by {holder.describe()}: waiting up to {EXPIRY_S:.0f} s for a sign of life, "
                "else taking it over. Ctrl-C leaves."
            )
            number, holder = self._outwait(number, holder)
        if holder is not None and holder.is_alive(time.time()):
            message = f"{self._what} is held by {holder.describe()}; wait for it, or stop it first"
            raise HeldError(message, holder)
        self._holder, self.before = Holder.me(), holder
        self._number = number + 1
        mine = _encode(self._holder)
        if not self._storage.create(_path(self._number), mine) and not _holds(self._storage, self._number, mine):
            raise HeldError(f"{self._what} was taken by another process just now; wait for it, or stop it first")
        if not self._storage.is_local and self._storage.create(_path(self._number), mine):
            raise ResourceError(
                f"storage {self._storage.url} overwrites a file that it was told to create (If-None-Match: *), so two "
                "processes could run one sweep; it must know conditional writes, as docs/storage.md says"
            )
        for old in range(max(1, self._number - 3), self._number):
            self._storage.delete(_path(old))
        threading.Thread(target=self._beat, name="lease", daemon=True).start()

    def _outwait(self, number: int, holder: Holder) -> tuple[int, Holder | None]:
        """The newest holder as soon as it is another one or has moved; none when this one's heartbeat has run out.

        Its own clock may be ahead of ours, so that the waiting is timed as well.
        """
        until = time.monotonic() + EXPIRY_S
        while holder.is_alive(time.time()) and time.monotonic() < until:
            time.sleep(LOOK_S)
            newest = _newest(self._storage)
            if newest != (number, holder):
                return newest
        return number, None

    def release(self) -> None:
        with self._writing:  # no heartbeat may follow
            if self._number and not self._stop.is_set():
                self._stop.set()
                self._storage.write(_path(self._number), _encode(replace(self._holder, released=True)))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                if max(_numbers(self._storage), default=0) > self._number:  # the next one may be gone again already
                    if self._on_lost is not None:
                        self._on_lost()
                    return
                with self._writing:
                    if not self._stop.is_set():
                        beat = replace(self._holder, heartbeat=time.time())
                        self._storage.write(_path(self._number), _encode(beat))
            except Exception:  # a full or absent store, of whatever kind: the lease runs out if it stays so
                log.debug("no heartbeat for %s", self._what, exc_info=True)


@contextmanager
def held(root: Storage, sweep: str) -> Iterator[None]:
    """Hold a sweep's lease. Who had it on a host that was lost just now is waited out, and standard error says so.

    Raises:
        HeldError: another process runs the sweep.
        ResourceError: the storage cannot be written, or cannot keep a lease.
    """
    lease = Lease(root.child(sweep), f"sweep {sweep}")
    try:
        lease.acquire(_tell)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(f"storage {root.url} cannot be written ({reason}); choose another `storage:`") from error
    try:
        yield
    finally:
        lease.release()


def _tell(text: str) -> None:
    """Beside standard output, which may be for programs."""
    print(text, file=sys.stderr, flush=True)


def holder_of(storage: Storage) -> Holder | None:
    """The living holder of a folder's lease, if there is one."""
    _, holder = _newest(storage)
    return holder if holder is not None and holder.is_alive(time.time()) else None


def times_taken(storage: Storage) -> int:
    """How often a folder's lease was taken so far, by whomever."""
    return _newest(storage)[0]


def _newest(storage: Storage) -> tuple[int, Holder | None]:
    number = max(_numbers(storage), default=0)
    if not number:
        return 0, None
    try:
        return number, storage.read_json(_path(number), Holder)
    except (FileNotFoundError, DamagedFile):  # gone meanwhile, or from another version
        return number, None


def _numbers(storage: Storage) -> list[int]:
    return [int(name[:-5]) for name in storage.list("lease") if name.endswith(".json") and name[:-5].isdigit()]


def _holds(storage: Storage, number: int, data: bytes) -> bool:
    """Whether a lease's file is this one: a put may have been done though its answer was lost."""
    try:
        return storage.read(_path(number)) == data
    except FileNotFoundError:
        return False


def _path(number: int) -> str:
    return f"lease/{number:06d}.json"


def _encode(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _boot_id() -> str:
    """Names the space that a pid is valid in: this start of the system, and the container's own pids."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """When a process began, as its system tells it; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    else:
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]  # a zombie is dead; field 22 is the start time
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:  # another user's: it lives
        return "alive"
    return "alive"
