"""Files of a sweep that were cut, emptied or lost: every command goes on without them, or names them in one message."""

import pytest
from damaged_sweeps import SEGMENT, told
from small_sweeps import cell_folder, end_as, finish, load

from xling.errors import ConfigError, DataError
from xling.evaluate.result import EvaluationResult
from xling.stored_json import DamagedFile
from xling.sweep.cells import CellState, Outcome
from xling.sweep.launching.launch import launch
from xling.sweep.remembered import remembered
from xling.sweep.selection import stored_job, stored_jobs, write_lost
from xling.sweep.upkeep.garbage import Asked, survey
from xling.train.attempts import accepted_checkpoints
from xling.train.metrics import stored_steps, write_segment

OF_A_CELL = (
    *("cell.json", "result.json", "attempts/0001.json", "attempts/0001.end.json", "model/trained.json"),
    *(SEGMENT, "composition.json", "EVALUATION/summary.json", "EVALUATION/per_query.parquet"),
)
DAMAGES = {"cut": lambda data: data[: len(data) * 2 // 3], "emptied": lambda data: b"", "zeros": lambda data: bytes(9)}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["launch.json", *OF_A_CELL])
def test_no_command_ends_with_a_traceback(damaged, tmp_path, monkeypatch, capsys, file, damage):
    study, root = damaged
    job, other = study.cells[:2]
    path = f"{job.folder('small')}/{file}" if file in OF_A_CELL else f"small/{file}"
    path = path.replace("EVALUATION", f"eval/{job.evaluations[0].id}")
    root.write(path, DAMAGES[damage](root.read(path)))
    commands = [
        ("status", "small"),
        ("logs", "small", job.label),
        ("results", "small"),
        ("top", "small"),
        ("matrix", f"small/{job.label}"),
        ("compare", f"small/{job.label}", f"small/{other.label}"),
        ("gc", "small"),
        ("stop", "small", job.label),
        ("export", f"small/{job.label}", tmp_path / "model"),
        ("pull", "small", tmp_path / "copy"),
    ]
    named = False
    for command in commands:
        status, _, error = told(monkeypatch, capsys, *command, "--storage", root.url)
        assert status in (0, 2), f"{command}: {error}"
        assert (status == 2) == ("error" in error), f"{command}: {error}"
        named |= root.locate(path) in error
    assert named or file.endswith("per_query.parquet")


def test_a_cell_whose_result_is_cut_is_not_done_until_it_is_written_again(damaged, capsys):
    study, root = damaged
    folder, ids = cell_folder(root, study.cells[0]), [one.id for one in study.cells[0].evaluations]
    whole = folder.storage.read("result.json")
    folder.storage.write("result.json", whole[:20])
    assert folder.state(ids) is CellState.NEW  # scored and trained: a launch only closes it
    assert f"{folder.storage.locate('result.json')} is no JSON" in capsys.readouterr().err
    folder.storage.write("result.json", whole)
    assert folder.state(ids) is CellState.DONE


def test_an_attempt_whose_record_is_cut_is_left_out_and_an_end_is_none(damaged):
    study, root = damaged
    folder = cell_folder(root, study.cells[2])
    end_as(root, study.cells[2], Outcome.STOPPED)
    for step, attempt in ((2, 1), (4, 2)):
        folder.storage.write(f"checkpoints/step-{step:08d}-a{attempt:04d}/manifest.json", b"{}")
    folder.storage.write("attempts/0002.end.json", b"{")
    assert [attempt["end"] is None for attempt in folder.attempts()] == [False, True]
    assert folder.state(["x"]) is CellState.INTERRUPTED
    folder.storage.write("attempts/0002.json", b"")
    assert [attempt["number"] for attempt in folder.attempts()] == [1]
    assert accepted_checkpoints(folder.storage) == ["step-00000004-a0002"]
    with pytest.raises(DamagedFile):  # who asks what may be deleted is not told so
        survey(root, "small", Asked())
    assert folder.begin_attempt().number == 3


def test_a_cut_segment_is_left_out_of_the_steps(damaged):
    study, root = damaged
    cell = cell_folder(root, study.cells[0]).storage
    write_segment(cell, [{"step": 2, "loss": 1.0, "time_ms": 2000}], 1)
    cell.write(SEGMENT, cell.read(SEGMENT)[:-9])
    assert [record["step"] for record in stored_steps(cell)] == [2]


def test_a_launch_writes_lost_records_of_cells_that_were_begun(damaged):
    study, root = damaged
    done, other, begun, new, *_ = study.cells
    root.write(f"{done.folder('small')}/cell.json", b'{"kind"')
    for job in (other, begun, new):
        root.delete(f"{job.folder('small')}/cell.json")
    with pytest.raises(DamagedFile, match=r"cell.json describes no cell .*; launch the sweep again, which writes it"):
        stored_jobs(root, "small")
    write_lost(root, "small", study)
    for job in (done, other, begun):
        assert stored_job(root, f"{job.folder('small')}/cell.json") == job
    assert not root.exists(f"{new.folder('small')}/cell.json")


def test_a_launch_with_nothing_to_run_writes_what_was_lost_of_the_sweep(tmp_path):
    loaded, study, root = load(tmp_path)
    for job in study.scored:
        finish(root, job)
    for content in (b"", None):
        if content is not None:
            root.write("small/launch.json", content)
        assert launch(loaded, lambda jobs: pytest.fail("a job runs")).ran == ()
        with remembered(root.url, "small") as (file, _):
            assert file.read_text() == loaded.text
        root.delete("small/launch.json")
        root.delete("small/sweep.yaml")


def test_a_cut_result_says_how_to_score_again_and_that_works(damaged):
    study, root = damaged
    job = study.cells[0]
    folder, ids = cell_folder(root, job), [one.id for one in job.evaluations]
    scores = folder.storage.child(f"eval/{ids[0]}")
    scores.write("per_query.parquet", scores.read("per_query.parquet")[:30])
    with pytest.raises(DataError, match=rf"per_query.parquet is damaged .*; delete the folder {scores.url}, then"):
        EvaluationResult.load(scores)
    scores.delete("")
    assert folder.missing_evaluations(ids) == ids
    assert folder.state(ids) is CellState.NEW


@pytest.mark.parametrize("name", ["launch.json", "sweep.yaml"])
def test_the_missing_file_of_a_sweep_is_named(damaged, tmp_path, monkeypatch, capsys, name):
    study, root = damaged
    root.delete(f"small/{name}")
    with (
        pytest.raises(ConfigError, match=rf"small/{name} is missing; .* xling sweep FILE"),
        remembered(root.url, "small"),
    ):
        pass
    if name == "sweep.yaml":
        command = ("export", f"small/{study.cells[0].label}", tmp_path / "model", "--storage", root.url)
        status, _, error = told(monkeypatch, capsys, *command)
        assert (status, "small/sweep.yaml is missing; " in error) == (2, True)
