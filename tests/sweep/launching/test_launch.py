"""Which jobs a launch runs, and how a sweep is found again; nothing here starts a cluster."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from threading import Timer

import pytest
from small_sweeps import cell_folder, end_as, finish, load, write_rows, write_sweep

from xling.config.load import load_sweep
from xling.errors import ConfigError, ResourceError, UserInterrupt
from xling.storage import Storage
from xling.sweep import lease
from xling.sweep.cells import CellState, Outcome
from xling.sweep.launching.launch import Launched, launch
from xling.sweep.lease import HeldError, Holder, Lease, holder_of
from xling.sweep.remembered import how_to_go_on, remember, remembered, resume_command
from xling.sweep.selection import Selection, find_job, states_of, to_run
from xling.sweep.study import build_study

REPOSITORY = Path(__file__).resolve().parents[3]


class NoDisplayError(Exception):
    """Ends a launch where it would begin to show something."""


def no_display(jobs):
    raise NoDisplayError


@pytest.fixture
def mixed(tmp_path):
    """The six cells in all states; both baselines done."""
    _, study, root = load(tmp_path)
    for job in study.baselines:
        finish(root, job)
    done, failed, stopped, interrupted, killed, _new = study.cells
    finish(root, done)
    end_as(root, failed, Outcome.FAILED, message="no luck")
    end_as(root, stopped, Outcome.STOPPED)
    end_as(root, interrupted, Outcome.INTERRUPTED)
    cell_folder(root, killed).begin_attempt()
    return study, root


def chosen(mixed, **selection):
    """Labels of what is run."""
    study, root = mixed
    return [job.label for job in to_run(root, "small", study, Selection(**selection))]


def test_states_are_read_from_storage(mixed):
    study, root = mixed
    states = list(states_of(root, "small", study.cells).values())
    assert states == ["done", "failed", "stopped", "interrupted", "interrupted", "new"]


def test_by_default_all_but_the_done_and_the_stopped_are_run(mixed):
    assert chosen(mixed) == ["tiny/a0.5", "mini/a0", "mini/a0.5", "mini/a1"]


def test_failed_and_stopped_ones_alone(mixed):
    assert chosen(mixed, failed=True) == ["tiny/a0.5"]
    assert chosen(mixed, stopped=True) == ["tiny/a1"]
    assert chosen(mixed, failed=True, stopped=True) == ["tiny/a0.5", "tiny/a1"]


def test_named_cells_by_label_or_id_once_each(mixed):
    study, _ = mixed
    stopped = study.cells[2]
    assert chosen(mixed, cells=("mini/a1", stopped.id[:9], stopped.label)) == ["tiny/a1", "mini/a1"]
    assert chosen(mixed, cells=("tiny/a0",)) == []  # done


def test_naming_cells_and_states_at_once_is_refused(mixed):
    with pytest.raises(ConfigError, match="--cell names the cells itself"):
        chosen(mixed, cells=("mini/a1",), failed=True)


def test_from_scratch_forgets_what_the_chosen_reached_and_nothing_else(mixed):
    study, root = mixed
    done, failed, *_ = study.cells
    for job in (done, failed):
        root.write(f"{job.folder('small')}/checkpoints/step-00000004-a0001/manifest.json", b"{}")
        root.write(f"{job.folder('small')}/metrics/00000000-00000003-a0001.jsonl", b"")
    assert chosen(mixed, failed=True, from_scratch=True) == ["tiny/a0.5"]
    assert not root.list(f"{failed.folder('small')}/checkpoints")
    assert not root.list(f"{failed.folder('small')}/metrics")
    assert len(cell_folder(root, failed).attempts()) == 1  # what happened stays known
    assert root.list(f"{done.folder('small')}/checkpoints")
    assert states_of(root, "small", [done])[done.id] == "done"
    assert chosen(mixed, cells=("tiny/a0",), from_scratch=True) == ["tiny/a0"]
    assert states_of(root, "small", [done])[done.id] == "new"


def test_from_scratch_alone_is_the_whole_sweep(mixed):
    assert len(chosen(mixed, from_scratch=True)) == 8


def test_baselines_come_last_and_only_where_they_are_missing(tmp_path):
    _, study, root = load(tmp_path)
    finish(root, study.baselines[0])
    finish(root, study.cells[0])
    assert [job.label for job in to_run(root, "small", study, Selection())][-2:] == ["mini/a1", "mini/start"]


def test_a_warm_start_goes_before_the_cells_that_need_it(tmp_path):
    file = tmp_path / "warm.yaml"
    file.write_text(
        "name: small\ndata: {train: {dataset: geo, languages: [de, en]}, evaluate: []}\n"
        "model: {warm_start: {steps: 2}}\ngrid: [{model.preset: [tiny, mini]}]\n"
    )
    study, root = build_study(load_sweep(file).cells), Storage(str(tmp_path / "runs"))
    labels = [job.label for job in to_run(root, "small", study, Selection())]
    assert labels[:2] == ["tiny/warm", "mini/warm"]
    root.write_json(f"{study.warm[0].folder('small')}/model/trained.json", {})
    assert next(job.label for job in to_run(root, "small", study, Selection())) == "mini/warm"
    one = study.cells[0]
    assert to_run(root, "small", study, Selection(cells=(one.label,))) == [one]


def test_another_evaluation_set_makes_all_cells_run_again_without_forgetting_anything(mixed, tmp_path):
    _, root = mixed
    other = write_rows(tmp_path / "other.jsonl", titles=["Z"])
    entries = [{"dataset": "parallel-jsonl", "path": str(p)} for p in (tmp_path / "rows.jsonl", other)]
    _, study, _ = load(tmp_path, f"data.evaluate={json.dumps(entries)}")
    assert "tiny/a0" in [job.label for job in to_run(root, "small", study, Selection())]
    assert cell_folder(root, study.cells[0]).is_trained()


def test_a_job_is_found_by_label_or_the_beginning_of_its_id(tmp_path):
    _, study, _ = load(tmp_path)
    job = study.cells[3]
    assert find_job(study.scored, "mini/a0") is find_job(study.scored, job.id[:8]) is job
    with pytest.raises(ConfigError, match=r"'mini/a7' names no cell, must be .*: tiny/start, mini/start, tiny/a0"):
        find_job(study.scored, "mini/a7")
    with pytest.raises(ConfigError, match="names several cells"):
        find_job(study.scored, "")


def test_how_a_launch_ends_is_its_exit_status(tmp_path):
    _, study, _ = load(tmp_path)
    one, other, *_ = study.cells

    def status(states, **more):
        return Launched(study, dict(zip((one.id, other.id), states, strict=True)), (one,), **more).exit_status

    done, failed, stopped, interrupted, new = map(CellState, ("done", "failed", "stopped", "interrupted", "new"))
    assert status((done, new)) == 0  # the other was not asked for
    assert status((stopped, done)) == 0
    assert status((failed, done)) == status((interrupted, done)) == status((done, failed)) == 1
    assert status((interrupted, new), interrupted=True) == 130


def test_what_is_left_is_said_with_the_command_that_takes_it_up(tmp_path):
    loaded, *_ = load(tmp_path)
    states = [CellState(name) for name in ("done", "failed", "new", "new", "stopped")]
    rest, stopped = how_to_go_on(loaded, states)
    assert rest == f"Not done: 1 failed, 2 new. Go on with: {resume_command(loaded)}"
    assert stopped == f"Not done: 1 stopped. Go on with: {resume_command(loaded)} --stopped"
    assert how_to_go_on(loaded, [CellState.DONE]) == []


RELATIVE = """\
name: small
data: {train: {dataset: parallel-jsonl, path: data/rows.jsonl}, evaluate: []}
model: {preset: tiny}
"""


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """A sweep with relative paths, launched once from ``work``, with overrides; it lies in an odd folder."""
    work, storage = tmp_path / "work", tmp_path / "all: runs #1"
    (work / "data").mkdir(parents=True)
    write_rows(work / "data/rows.jsonl")
    file = work / "small.yaml"
    file.write_text(RELATIVE)
    monkeypatch.chdir(work)
    remember(Storage(str(storage)), load_sweep(file, ["train.lr=1e-2", f"storage='{storage}'"]))
    file.unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return storage, work


def test_a_sweep_is_found_by_its_name_from_anywhere(launched):
    storage, work = launched
    here = Path.cwd()
    with remembered(str(storage), "small") as (file, overrides):
        loaded = load_sweep(file, overrides)
    assert Path.cwd() == here
    assert loaded.config.data.train.path == str(work / "data/rows.jsonl")
    assert loaded.config.train.lr == 1e-2
    assert loaded.config.storage == str(storage)


def test_a_storage_that_was_moved_is_found_where_it_is(launched, tmp_path):
    storage, _ = launched
    storage.rename(tmp_path / "moved")
    with remembered("../moved", "small") as (file, overrides):
        assert load_sweep(file, overrides).config.storage == str(tmp_path / "moved")


def test_resuming_by_name_keeps_what_the_first_launch_left(launched):
    storage, work = launched
    root = Storage(str(storage))
    kept = root.read("small/launch.json")
    with remembered(str(storage), "small") as (file, overrides):
        loaded = load_sweep(file, overrides)
    with pytest.raises(NoDisplayError):
        launch(loaded, no_display, known=True)
    assert root.read("small/launch.json") == kept
    assert json.loads(kept)["folder"] == str(work)
    with pytest.raises(NoDisplayError):  # a launch of its file is a new one
        launch(loaded, no_display)
    assert root.read_json("small/launch.json")["folder"] == str(Path.cwd())


def test_the_command_that_goes_on_can_be_pasted(launched):
    storage, _ = launched
    with remembered(str(storage), "small") as (file, overrides):
        assert resume_command(load_sweep(file, overrides)) == f"xling resume small --storage '{storage}'"


def test_an_unknown_name_is_told_with_those_there_are(launched):
    storage, _ = launched
    with pytest.raises(ConfigError, match=r"^there is no sweep 'smal' in .*; it holds small$"):
        remembered(str(storage), "smal").__enter__()
    with pytest.raises(ConfigError, match="it holds none"):
        remembered("nothing-here", "small").__enter__()


def test_a_storage_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    loaded, *_ = load(tmp_path)
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ResourceError, match=r"runs cannot be written .*choose another"):
        launch(loaded, no_display)


def test_two_launches_at_once_are_refused(tmp_path):
    loaded, _, root = load(tmp_path)
    with Lease(root.child("small"), "sweep small"), pytest.raises(HeldError, match=rf"process {os.getpid()} "):
        launch(loaded, no_display)


def lost_launcher(root):
    """The lease of a launch whose host was lost just now."""
    holder = replace(Holder.me(), host="lost-head")
    root.write_json("small/lease/000001.json", asdict(holder))


def test_a_launch_goes_on_when_the_head_of_the_one_before_was_lost(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lease, "EXPIRY_S", 0.6)
    monkeypatch.setattr(lease, "LOOK_S", 0.05)
    loaded, _, root = load(tmp_path)
    lost_launcher(root)
    with pytest.raises(NoDisplayError):
        launch(loaded, no_display)
    told = capsys.readouterr()
    assert "sweep small is held by process " in told.err
    assert "on host lost-head" in told.err
    assert told.out == ""


def test_waiting_for_a_lost_launcher_can_be_interrupted(tmp_path, monkeypatch):
    loaded, _, root = load(tmp_path)
    lost_launcher(root)

    def interrupt(number, frame):
        raise UserInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(UserInterrupt):
            launch(loaded, no_display)
    finally:
        signal.signal(signal.SIGINT, before)
    assert holder_of(root.child("small")).host == "lost-head"


def test_word_to_stop_of_an_earlier_launch_is_forgotten_and_the_lease_given_back(tmp_path):
    loaded, _, root = load(tmp_path)
    root.write_json("small/stop.json", {})
    for _again in range(2):
        with pytest.raises(NoDisplayError):
            launch(loaded, no_display)
    assert not root.exists("small/stop.json")


def test_a_launch_with_nothing_to_do_shows_the_tables_and_starts_no_cluster(tmp_path):
    loaded, study, root = load(tmp_path)
    for job in study.scored:
        finish(root, job)
    ray = tmp_path / "ray"
    environment = {**os.environ, "RAY_TMPDIR": str(ray), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "xling", "sweep", str(write_sweep(tmp_path))],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    errors = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, errors) == (0, [])
    assert done.stdout.startswith("Nothing to run: no cell that was asked for is left to do.\n")
    assert "parallel-jsonl: size x alpha" in done.stdout
    assert f"Files:  {loaded.config.storage}/small" in done.stdout
    assert max(map(len, done.stdout.split("Files:")[0].splitlines())) <= 80
    assert "xling.sweep.launching.launch" in imported
    assert "ray" not in imported
    assert not ray.exists()
    assert not root.exists("mlflow.db")


def test_nothing_is_launched_or_begun_where_less_than_the_floor_is_free(tmp_path):
    from xling.sweep.settings import TrialSettings
    from xling.sweep.trials.trial import Trial

    loaded, study, root = load(tmp_path, "min_free_space=100000TiB")
    with pytest.raises(ResourceError, match=r"has [\d,.]+ [MGT]iB free; 100,000 TiB must stay free \(min_free_space\)"):
        launch(loaded, no_display)
    assert not root.exists("small/launch.json")

    told = []
    settings = TrialSettings(root.url, "small", 0, "", "small", None, "", 0.0, min_free=loaded.config.min_free_bytes)
    Trial(study.cells[0], None, settings, told.append).run()
    assert [(one["phase"], one.get("ended")) for one in told] == [("interrupted", None), ("interrupted", True)]
    assert "make room there, then resume the sweep" in told[0]["note"]
    assert cell_folder(root, study.cells[0]).attempts() == []
