"""A PostgreSQL server of its own: Debian's programs on a free port of this machine, its data in a folder that goes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

PASSWORD = "only-this-password"


def programs() -> Path | None:
    """Where initdb and pg_ctl are; None where PostgreSQL is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("initdb") or (debian[-1] if debian else None)
    return Path(found).parent if found is not None else None


class Postgres:
    """The server, from :meth:`start` to :meth:`stop`. As root it runs as the user that Debian's package makes."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # which initdb refuses
            shutil.chown(self._folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow:{PASSWORD}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        self._run("initdb", "--no-sync", "--username=mlflow", "--auth=scram-sha-256", f"--pwfile={secret}")
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "start", "--wait", f"--log={self._folder}/log", f"--options={options}")

    def crash_and_restart(self) -> None:
        """As after a loss of power, but for the disk's own cache: it recovers from its log."""
        self._run("pg_ctl", "restart", "--wait", "--mode=immediate", f"--log={self._folder}/log")

    def stop(self) -> None:
        """End it, if it is still there, and take its data away."""
        record = self._folder / "data" / "postmaster.pid"
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            server = psutil.Process(int(record.read_text().split()[0]))
            self._run("pg_ctl", "stop", "--no-wait", "--mode=immediate", must=False)
            # Not left to pg_ctl: restarted, it may be a child of this process, which pg_ctl would wait for in vain.
            server.wait(timeout=30)
        shutil.rmtree(self._folder)

    def _run(self, program: str, *options: str, must: bool = True) -> None:
        command = [str(self._programs / program), f"--pgdata={self._folder}/data", *options]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, cwd="/", check=must, **quiet, **self._user)
