"""How long a sweep still takes, from attempts and metrics on storage."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from small_sweeps import cell_folder, end_as, finish, load, prepare_cells

from xling.storage import Storage
from xling.sweep.cells import CellFolder, Outcome
from xling.sweep.inspect import show_status
from xling.sweep.lease import Lease
from xling.sweep.remaining import longest, look, remaining
from xling.track.mlflow import MetricPoint
from xling.track.spool import Spool
from xling.train.metrics import write_segment

NOW = 1_800_000_000.0
STEPS = 12  # of the small sweep's budget


def timed(folder: CellFolder, began: float, *, step_s: float, steps: int, start_s: float = 3.0, attempt: int = 1):
    """A begun attempt whose steps were made at an even pace; the time of the last one."""
    records = [
        {"step": step, "time_ms": int(1000 * (began + start_s + step_s * (step + 1))), "loss": 1.0}
        for step in range(steps)
    ]
    write_segment(folder.storage, records[: steps // 2], attempt)
    write_segment(folder.storage, records[steps // 2 :], attempt)
    record = folder.storage.read_json(f"attempts/{attempt:04d}.json")
    folder.storage.write_json(f"attempts/{attempt:04d}.json", {**record, "started": began})
    return records[-1]["time_ms"] / 1000


def finish_in(root: Storage, job, *, began: float, step_s: float, after_s: float, start_s: float = 3.0):
    """A cell done in start_s + 12 step_s + after_s seconds."""
    finish(root, job)
    folder = cell_folder(root, job)
    steps = job.config.train.budget.steps
    last = timed(folder, began, step_s=step_s, steps=steps, start_s=start_s) if steps else began
    if not steps:
        record = folder.storage.read_json("attempts/0001.json")
        folder.storage.write_json("attempts/0001.json", {**record, "started": began})
    end = folder.storage.read_json("attempts/0001.end.json")
    folder.storage.write_json("attempts/0001.end.json", {**end, "ended": last + after_s})


def left(root, study, now=NOW):
    return remaining(look(root, "small", study.scored), now)


@pytest.fixture
def sweep(tmp_path):
    """Of the size tiny two cells done, at 2 s a step, 3 s before the first and 10 s after the last one."""
    loaded, study, root = load(tmp_path)
    finish_in(root, study.cells[0], began=NOW - 500, step_s=2.0, after_s=9.0)
    finish_in(root, study.cells[1], began=NOW - 400, step_s=2.0, after_s=11.0)
    return loaded, study, root


def test_a_cell_of_a_known_kind_takes_what_those_took_that_are_done(sweep):
    _, study, root = sweep
    found = left(root, study)
    assert found.cells[study.cells[2].id] == pytest.approx(3 + STEPS * 2 + 10, abs=0.01)
    assert found.at_once == 0
    assert found.seconds is None
    (tiny,) = [job for job in study.baselines if job.size == "tiny"]
    assert found.cells[tiny.id] == pytest.approx(13, abs=0.01)  # what a cell takes without its steps


def test_of_a_kind_that_none_ran_yet_nothing_is_said(sweep):
    _, study, root = sweep
    found = left(root, study)
    assert {job.label for job in found.unknown} == {"mini/start", "mini/a0", "mini/a0.5", "mini/a1"}
    assert not {job.id for job in found.unknown} & found.cells.keys()


def test_an_interrupted_cell_goes_on_from_its_checkpoint_and_a_failed_or_stopped_one_does_not(sweep):
    _, study, root = sweep
    job = study.cells[2]
    end_as(root, job, Outcome.INTERRUPTED, step=8)
    assert left(root, study).cells[job.id] == pytest.approx(3 + 4 * 2 + 10, abs=0.01)
    for outcome in (Outcome.FAILED, Outcome.STOPPED):
        end_as(root, job, outcome, step=8)
        found = left(root, study)
        assert job.id not in found.cells
        assert job not in found.unknown


def test_a_running_cell_by_its_own_pace_of_late(sweep):
    """It makes a step in 4 s, was seen 2 s ago after step 5, and what follows is as in the others."""
    _, study, root = sweep
    job = study.cells[2]
    folder = cell_folder(root, job)
    folder.begin_attempt()
    folder.storage.write_json(
        "attempts/0001.json", {**folder.storage.read_json("attempts/0001.json"), "started": NOW - 40}
    )
    spool = Spool(Path(folder.storage.url) / "track")
    spool.append_points(
        MetricPoint("train/loss", 1.0, step, int(1000 * (NOW - 2 - 4 * (4 - step)))) for step in range(5)
    )
    with Lease(folder.storage, "cell"):
        stands = look(root, "small", study.scored)
        found = remaining(stands, NOW)
        (stand,) = [one for one in stands if one.job is job]
    assert (stand.step, stand.total) == (5, STEPS)
    assert found.cells[job.id] == pytest.approx(7 * 4 + 10 - 2, abs=0.01)
    assert found.at_once == 1
    assert found.seconds == pytest.approx(sum(found.cells.values()))


def test_steps_of_an_older_attempt_are_no_pace_of_this_one(sweep):
    _, study, root = sweep
    job = study.cells[2]
    folder = cell_folder(root, job)
    folder.begin_attempt()
    folder.end_attempt(1, Outcome.INTERRUPTED, step=6)
    folder.begin_attempt()
    folder.storage.write_json(
        "attempts/0002.json", {**folder.storage.read_json("attempts/0002.json"), "started": NOW - 2}
    )
    spool = Spool(Path(folder.storage.url) / "track")
    spool.append_points(MetricPoint("train/loss", 1.0, step, int(1000 * (NOW - 99 + step))) for step in range(6))
    with Lease(folder.storage, "cell"):
        found = left(root, study)
    assert found.cells[job.id] == pytest.approx((3 - 2) + 6 * 2 + 10, abs=0.01)


def test_jobs_take_the_place_that_is_free_first():
    assert longest([10, 10, 10], 2) == 20
    assert longest([30, 10, 10, 10], 2) == 30
    assert longest([5], 4) == 5


def test_a_budget_in_flops_is_known_from_the_checkpoint_that_counted_it(tmp_path):
    _, study, root = load(tmp_path, "train.budget={flops: 1.0e12}")
    finish(root, study.cells[0])
    folder = cell_folder(root, study.cells[1])
    end_as(root, study.cells[1], Outcome.INTERRUPTED, step=5)
    folder.storage.write_json("checkpoints/step-00000005-a0001/state.json", {"total_steps": 40})
    totals = {stand.job.label: stand.total for stand in look(root, "small", study.cells)}
    assert (totals["tiny/a0"], totals["tiny/a0.5"], totals["tiny/a1"]) == (12, 40, None)


def test_status_tells_the_time_left(sweep):
    loaded, study, root = sweep
    prepare_cells(root, study)
    folder = cell_folder(root, study.cells[2])
    folder.begin_attempt()
    console = Console(file=io.StringIO(), width=80, markup=False, emoji=False, highlight=False)
    with Lease(folder.storage, "cell"):
        show_status(loaded, console, as_json=False)
        text = console.file.getvalue()
        console.file = io.StringIO()
        show_status(loaded, console, as_json=True)
    (line,) = [line for line in text.splitlines() if "tiny/a1" in line]
    assert line.split()[3:9:2] == ["running", "1", "0/12"]
    assert re.fullmatch("0:3[3-6]", line.split()[9])  # 37 s, less what looking took
    assert re.search(r"^Left: about 0:4[6-9] for 2 cells, 1 at once\.$", text, re.MULTILINE)
    assert "Not counted, since none of its kind is known to have run: mini/start and 3 more." in text.splitlines()
    found = json.loads(console.file.getvalue())
    assert found["states"] == {"new": 5, "done": 2, "running": 1}
    assert found["seconds_left"] == pytest.approx(49, abs=3)
    assert found["unknown"][0] == "mini/start"
