"""A worker that slept while another attempt did its work, and wakes: what it still does must count for nothing."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from forked import forked
from small_jobs import attempt, config, prepare

from xling.config.schema import CellConfig
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.train.checkpoint import FencedError
from xling.train.metrics import stored_steps

STEPS, INTERVAL, ASLEEP_AT = 12, 4, 5
FENCED = 3


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def slow_attempt(folder: str, values: dict) -> None:
    """One attempt in a process of its own, which stops itself after a step."""

    def send(message):
        if message["event"] == "steps" and message["records"][-1]["step"] == ASLEEP_AT:
            os.kill(os.getpid(), signal.SIGSTOP)

    try:
        attempt(Storage(folder), "cell", CellConfig.model_validate(values), send=send)
    except FencedError:
        os._exit(FENCED)


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process by a signal")
def test_a_worker_that_wakes_after_its_cell_was_finished_changes_nothing(tmp_path):
    cell = config(steps=STEPS, checkpoint_every=INTERVAL)
    root = prepare(tmp_path, cell)
    folder = CellFolder(root.child("cell"))
    sleeper = forked(slow_attempt, str(tmp_path), cell.model_dump(mode="json"))
    deadline = time.monotonic() + 120
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        assert folder.storage.list("checkpoints") == ["step-00000004-a0001"]
        assert attempt(root, "cell", cell)
        finished = contents(tmp_path / "cell")
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    sleeper.join(120)

    assert sleeper.exitcode == FENCED
    assert contents(tmp_path / "cell") == finished
    assert [record["step"] for record in stored_steps(folder.storage)] == list(range(STEPS))
