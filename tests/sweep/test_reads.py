"""How often the files of a sweep are read, each of which is a request where it lies in an object store."""

import io
from collections import Counter

import pytest
from rich.console import Console
from small_sweeps import finish, load

from xling.storage import Storage
from xling.sweep.launching.launch import launch
from xling.sweep.launching.show_outcome import show_outcome
from xling.sweep.remembered import remember
from xling.sweep.selection import stored_jobs


@pytest.fixture
def asked(monkeypatch):
    """Counts what storages are asked, by the operation and the file's name."""
    counts = Counter()
    for operation in ("read", "exists"):
        done = getattr(Storage, operation)

        def counted(self, path, operation=operation, done=done):
            counts[operation, path.rpartition("/")[2]] += 1
            return done(self, path)

        monkeypatch.setattr(Storage, operation, counted)
    return counts


@pytest.fixture
def done(tmp_path):
    loaded, study, root = load(tmp_path)
    remember(root, loaded)
    for job in study.scored:
        finish(root, job)
    return loaded, study, root


def test_a_launch_with_nothing_to_run_reads_each_state_once(done, asked):
    loaded, study, _ = done
    show_outcome(
        loaded, launch(loaded, lambda jobs: pytest.fail("a job runs")), Console(file=io.StringIO()), as_json=False
    )
    jobs = len(study.scored)
    assert asked["read", "result.json"] == jobs
    assert asked["read", "0001.json"] == 0
    assert asked["read", "0001.end.json"] == 0
    assert asked["read", "cell.json"] == jobs


def test_stored_jobs_are_read_without_asking_whether_they_are_there(done, asked):
    _, study, root = done
    root.write("small/cells/empty/stop.json", b"{}")  # a folder without a job
    assert len(stored_jobs(root, "small")) == len(study.scored)
    assert asked["read", "cell.json"] == len(study.scored) + 1
    assert asked["exists", "cell.json"] == 0
