"""Folders of temporary files whose process was killed go as the next one is made; those in use stay."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from xling.sweep.trials.scratch import Scratch, clear_abandoned

HOLDS = """
import time
from pathlib import Path
from xling.sweep.trials.scratch import Scratch
scratch = Scratch()
Path(scratch.name, "of_ray").mkdir()
print(scratch.name, flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Starts processes that hold a folder each, below a folder for temporary files of their own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = []

    def start():
        process = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(holder, tmp_path):
    killed, gone = holder()
    _, stays = holder()
    assert (gone / "of_ray").is_dir()
    killed.kill()  # -9: it clears up nothing
    killed.wait()
    assert gone.is_dir()
    mine = Scratch()
    assert {path.name for path in tmp_path.iterdir()} == {stays.name, Path(mine.name).name}
    assert (stays / "of_ray").is_dir()
    mine.cleanup()
    assert [path.name for path in tmp_path.iterdir()] == [stays.name]


def test_what_nobody_held_or_a_link_leads_to_is_left_alone(holder, tmp_path):
    elsewhere, other = tmp_path / "elsewhere", tmp_path / "xling-train-other"
    for folder in (elsewhere, other):
        folder.mkdir()
    (elsewhere / "held").touch()
    (tmp_path / "xling-train-link").symlink_to(elsewhere)
    clear_abandoned()
    assert other.is_dir()
    assert (elsewhere / "held").exists()
