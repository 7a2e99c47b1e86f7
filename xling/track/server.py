"""MLflow's own pages over a store: what `xling ui` starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from xling.errors import TrackingError
from xling.redaction import redacted
from xling.track.links import SweepLinks, sweep_links
from xling.track.reach import why_away
from xling.track.store import resolve_uri, sqlite_path

DEFAULT_PORT = 5000


def ui_command(uri: str, artifact_root: str | None = None, port: int = DEFAULT_PORT) -> list[str]:
    """The command that serves a database store on this host only, artifacts included."""
    path = sqlite_path(uri)
    root = artifact_root or (str(path.parent / "mlartifacts") if path else None)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if root is not None:
        command += ["--artifacts-destination", root]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def ui_environment() -> dict[str, str]:
    """The environment to run :func:`ui_command` in; what the user has set is kept."""
    # The job runner serves MLflow's evaluation of language models; it is eight more processes.
    return {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}


@contextmanager
def running_server(
    uri: str, artifact_root: str | None = None, port: int | None = DEFAULT_PORT, timeout: float = 120.0
) -> Iterator[str]:
    """An MLflow server over a database store, ready when this yields its URL, stopped afterwards.

    Args:
        port: None or 0 for any free one.
        timeout: seconds to wait until it answers (about 10 to 20 on a busy machine).

    Raises:
        TrackingError: the port cannot be listened on, or the server does not start.
    """
    port = port or _free_port()
    _require_free(port)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ui_command(resolve_uri(uri), artifact_root, port),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers are stopped with it, and Ctrl-C reaches us first
            env=ui_environment(),
        )
        try:
            _wait_ready(process, port, timeout, output)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(process)


def addresses(base: str, links: SweepLinks) -> list[str]:
    """Lines that tell where a sweep's runs are, on the server at ``base``."""
    side_by_side = links.charts if links.compare is None else links.compare
    return [f"MLflow:  {base}{links.nested}", f"Cells:   {base}{links.cells}", f"Compare: {base}{side_by_side}"]


def serve_ui(
    uri: str,
    artifact_root: str | None = None,
    sweep: str | None = None,
    port: int | None = DEFAULT_PORT,
    show: Callable[[str], None] = print,
    *,
    sweep_id: str | None = None,
) -> None:
    """Serve a store's pages until Ctrl-C; of a store that is a server already, only tell the addresses.

    Args:
        sweep: whose pages are named; the first page alone without.
        sweep_id: as :func:`sweep_links` has it.

    Raises:
        TrackingError: as :func:`running_server` and :func:`sweep_links`.
    """
    uri = resolve_uri(uri)
    links = (
        None if sweep is None else sweep_links(uri, sweep, sweep_id=sweep_id)
    )  # a wrong name is told before the server's slow start

    def tell(base: str, end: str = "") -> None:
        lines = [f"MLflow:  {base}"] if links is None else addresses(base, links)
        show("\n".join([*lines, *filter(None, [end])]))

    if uri.startswith(("http://", "https://")):
        tell(uri.rstrip("/"))
        return
    with suppress(KeyboardInterrupt), _signals_interrupt(), running_server(uri, artifact_root, port) as base:
        tell(base, "Ctrl-C stops it.")
        while True:
            time.sleep(3600)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """A closed terminal or a plain ``kill`` is as Ctrl-C: the server must not outlive us."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_ready(process: subprocess.Popen[bytes], port: int, timeout: float, output: IO[str]) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if not why_away(f"http://127.0.0.1:{port}", timeout=2):
            return
        time.sleep(0.2)
    output.seek(0)
    last = redacted("\n".join(output.read().strip().splitlines()[-5:]))
    what = "stopped at once" if process.poll() is not None else f"does not answer after {timeout:g} s"
    raise TrackingError(f"the MLflow server {what}; its last words:\n{last}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: they share the process group it leads."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)


def _require_free(port: int) -> None:
    fix = "choose another with --port"
    if not 1 <= port <= 65535:
        raise TrackingError(f"--port is {port}, must be within 0..65535; {fix}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise TrackingError(f"port {port} is for the system's own services: {fix}, above 1023") from None
        except OSError:
            raise TrackingError(f"port {port} is taken: stop what listens there or {fix}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
