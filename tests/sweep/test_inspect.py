"""Looking at a sweep from beside it: status, logs, stop."""

import csv
import io
import json
import sys

import pytest
from rich.console import Console
from small_sweeps import cell_folder, end_as, finish, load, prepare_cells

from xling import cli
from xling.errors import ConfigError
from xling.sweep.cells import Outcome
from xling.sweep.inspect import failures, open_ui, show_logs, show_status, stop_cell
from xling.sweep.lease import Lease
from xling.sweep.remembered import remember
from xling.train.metrics import write_segment


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)


@pytest.fixture
def mixed(tmp_path):
    """One cell done, one failed twice, one stopped, the others new."""
    loaded, study, root = load(tmp_path)
    prepare_cells(root, study)
    done, failed, stopped, *_ = study.cells
    finish(root, done)
    end_as(root, failed, Outcome.FAILED, step=2, message="a node died")
    end_as(root, failed, Outcome.FAILED, step=4, message="file.yaml:100: [no] luck", traceback="Traceback: here")
    end_as(root, stopped, Outcome.STOPPED, step=7)
    return loaded, study, root


def said(console):
    return console.file.getvalue()


def test_status_has_a_row_a_job_and_says_why_it_failed(mixed, console):
    loaded, *_ = mixed
    show_status(loaded, console, as_json=False)
    lines = said(console).splitlines()
    rows = {line.split()[1]: line.split()[3::2] for line in lines if "/" in line and line.startswith("│")}
    assert rows["tiny/a0"] == ["done", "1", "12/12", "│"]
    assert rows["tiny/a0.5"] == ["failed", "2", "4/12", "│"]
    assert rows["tiny/a1"] == ["stopped", "1", "7/12", "│"]
    assert rows["mini/a1"] == ["new", "0", "0/12", "│"]
    assert len(rows) == 8
    assert lines[0] == f"small in {loaded.config.storage}"
    assert "tiny/a0.5: file.yaml:100: [no] luck" in lines
    assert lines[-2].startswith("Not done: 5 new, 1 failed. Go on with: xling resume small --storage ")
    assert lines[-1].endswith(" --stopped")


@pytest.mark.parametrize("width", [20, 32, 40, 45, 80])
def test_status_names_every_cell_however_narrow_the_terminal(mixed, width):
    loaded, study, _ = mixed
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    show_status(loaded, console, as_json=False)
    rows = [line.replace("│", " ").split() for line in said(console).splitlines() if "/12" in line]
    assert sorted(row[0].rstrip(":") for row in rows) == sorted(job.label for job in study.cells)
    (failed,) = (" ".join(row) for row in rows if "failed" in " ".join(row))
    assert failed.startswith("tiny/a0.5")
    assert "4/12" in failed
    assert "…" not in said(console)


def test_status_as_json(mixed, console):
    loaded, study, _ = mixed
    show_status(loaded, console, as_json=True)
    found = json.loads(said(console))
    assert found["states"] == {"done": 1, "failed": 1, "stopped": 1, "new": 5}
    rows = {row["cell"]: row for row in found["cells"]}
    assert rows["tiny/a0.5"] == {
        "cell": "tiny/a0.5",
        "id": study.cells[1].id,
        "state": "failed",
        "attempts": 2,
        "step": 4,
        "steps": 12,
        "seconds_left": None,
        "error": "file.yaml:100: [no] luck",
        "stopped_early": "",
        "interrupted": "",
    }
    assert rows["tiny/a0"]["error"] == ""


def test_status_as_csv_says_the_same_and_nothing_else(mixed, console):
    loaded, *_ = mixed
    show_status(loaded, console, as_json=False, as_csv=True)
    text = said(console)
    names = "cell,id,state,attempts,step,steps,seconds_left,error,stopped_early,interrupted"
    assert text.splitlines()[0] == names
    rows = {row["cell"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert len(rows) == 8
    assert (rows["tiny/a0.5"]["state"], rows["tiny/a0.5"]["error"]) == ("failed", "file.yaml:100: [no] luck")


def test_a_running_cell_is_as_far_as_its_newest_checkpoint(mixed, console):
    loaded, study, root = mixed
    folder = cell_folder(root, study.cells[3])
    folder.begin_attempt()
    folder.storage.write("checkpoints/step-00000008-a0001/manifest.json", b"{}")
    with Lease(folder.storage, "cell"):
        show_status(loaded, console, as_json=True)
    (row,) = [row for row in json.loads(said(console))["cells"] if row["cell"] == "mini/a0"]
    assert (row["state"], row["step"]) == ("running", 8)


def test_logs_tell_a_cells_history_and_its_newest_steps(mixed, console):
    loaded, study, root = mixed
    job = study.cells[1]
    records = [{"step": step, "time_ms": step, "loss": 3 / (step + 1), "source": "de->en"} for step in range(14)]
    records[13]["dev"] = 0.25
    write_segment(cell_folder(root, job).storage, records, 2)
    show_logs(loaded, "tiny/a0.5", console)
    lines = said(console).splitlines()
    assert lines[0].split() == ["tiny/a0.5", job.id, root.locate(job.folder("small"))]
    assert lines[1].startswith("attempt 1: ")
    assert lines[1].endswith("failed at step 2")
    assert lines[2] == "  a node died"  # and no traceback, since there is none
    assert lines[5].startswith("  traceback: /")
    assert lines[5].endswith("/attempts/0002.error.txt")
    steps = lines[6:]
    assert len(steps) == 10
    assert steps[-1] == "step 13  loss 0.2143  de->en  dev 0.2500"


def test_logs_of_a_killed_cell(mixed, console):
    loaded, study, root = mixed
    cell_folder(root, study.cells[5]).begin_attempt()
    show_logs(loaded, study.cells[5].id[:10], console)
    assert "its process was killed, or is still running" in said(console)


def test_logs_of_a_cell_there_is_not(mixed, console):
    loaded, *_ = mixed
    with pytest.raises(ConfigError, match="'tiny/a2' names no cell"):
        show_logs(loaded, "tiny/a2", console)


def test_a_running_cell_is_asked_to_stop(mixed, console):
    loaded, study, root = mixed
    job = study.cells[4]
    folder = cell_folder(root, job)
    with Lease(folder.storage, "cell"):
        stop_cell(loaded, job.label, console)
    assert folder.asked_to_stop() is Outcome.STOPPED
    assert said(console).startswith("mini/a0.5 finishes its step, saves and stops. Go on with: xling resume small")


@pytest.mark.parametrize(("cell", "state"), [("tiny/a0", "done"), ("tiny/a0.5", "failed"), ("mini/a1", "new")])
def test_what_is_not_running_cannot_be_stopped(mixed, console, cell, state):
    loaded, study, root = mixed
    with pytest.raises(ConfigError, match=f"cell {cell} is {state}, only a running one can be stopped"):
        stop_cell(loaded, cell, console)
    assert all(cell_folder(root, job).asked_to_stop() is None for job in study.cells)


@pytest.fixture
def xling(monkeypatch, capsys):
    """Run ``xling …`` in this process; what it wrote to standard output."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xling", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        told = capsys.readouterr()
        assert not left.value.code, told.err
        return told.out

    return run


@pytest.mark.parametrize("by_name", [True, False])
def test_looking_and_stopping_need_the_storage_and_not_the_data(mixed, tmp_path, xling, by_name):
    loaded, study, root = mixed
    remember(root, loaded)
    sweep = ["small", "--storage", root.url] if by_name else [loaded.source]
    with_data = xling("status", *sweep, "--json")
    (tmp_path / "rows.jsonl").unlink()
    assert xling("status", *sweep, "--json") == with_data
    assert "[no] luck" in xling("logs", sweep[0], "tiny/a0.5", *sweep[1:])
    folder = cell_folder(root, study.cells[4])
    with Lease(folder.storage, "cell"):
        assert xling("stop", sweep[0], "mini/a0.5", *sweep[1:]).startswith("mini/a0.5 finishes its step")
    assert folder.asked_to_stop() is Outcome.STOPPED


def test_cells_that_no_launch_has_prepared_are_new(tmp_path, console):
    loaded, study, root = load(tmp_path)
    finish(root, study.cells[1])
    show_status(loaded, console, as_json=True)
    found = json.loads(said(console))
    rows = [(row["cell"], row["id"], row["state"], row["step"], row["steps"]) for row in found["cells"]]
    assert rows == [
        *((job.label, "", "new", 0, 0) for job in study.baselines),
        (study.cells[0].label, "", "new", 0, 12),
        (study.cells[1].label, study.cells[1].id, "done", 12, 12),
        *((job.label, "", "new", 0, 12) for job in study.cells[2:]),
    ]
    assert found["states"] == {"new": 7, "done": 1}
    with pytest.raises(ConfigError, match="cell tiny/a0 is new, only one that a launch has prepared has logs"):
        show_logs(loaded, "tiny/a0", console)
    with pytest.raises(ConfigError, match="cell tiny/a0 is new, only a running one can be stopped"):
        stop_cell(loaded, "tiny/a0", console)


def test_a_failure_is_told_with_its_traceback_where_it_left_one(mixed):
    _, study, root = mixed
    end_as(root, study.cells[3], Outcome.FAILED, message="the node is gone")
    found = {job.label: (message, trace) for job, message, trace in failures(root, "small", list(study.scored))}
    assert set(found) == {"tiny/a0.5", "mini/a0"}
    assert found["mini/a0"] == ("the node is gone", "")
    assert found["tiny/a0.5"][1].endswith("0002.error.txt")
    end_as(root, study.cells[1], Outcome.INTERRUPTED)  # a newer attempt that did not fail
    assert {job.label for job, *_ in failures(root, "small", list(study.scored))} == {"mini/a0"}


def test_there_is_no_page_without_a_store(tmp_path, console):
    with pytest.raises(ConfigError, match=r"holds no mlflow\.db: launch a sweep first"):
        open_ui(None, str(tmp_path), 5000, console)
