import pytest

from xling.sweep.cells import CellFolder, CellState, Outcome
from xling.sweep.lease import Lease
from xling.train.checkpoint import CheckpointStore


@pytest.fixture
def cell(any_storage):
    return CellFolder(any_storage)


def finish(cell, evals):
    cell.storage.write_json("model/trained.json", {"step": 3})
    for name in evals:
        cell.storage.write_json(f"eval/{name}/summary.json", {})
    cell.storage.write_json("result.json", {"evaluations": {name: {"id": name} for name in evals}})


def test_states_follow_from_storage(cell):
    assert cell.state(["e1"]) is CellState.NEW
    attempt = cell.begin_attempt()
    assert cell.state(["e1"]) is CellState.INTERRUPTED  # its process is gone without a word
    with Lease(cell.storage, "cell"):
        assert cell.state(["e1"]) is CellState.RUNNING
    cell.end_attempt(attempt.number, Outcome.FAILED, step=2, message="no luck", traceback="Traceback …")
    assert cell.state(["e1"]) is CellState.FAILED
    attempt = cell.begin_attempt()
    cell.end_attempt(attempt.number, Outcome.STOPPED, step=2)
    assert cell.state(["e1"]) is CellState.STOPPED
    attempt = cell.begin_attempt()
    finish(cell, ["e1"])
    cell.end_attempt(attempt.number, Outcome.DONE, step=3)
    assert cell.state(["e1"]) is CellState.DONE


def test_another_evaluation_set_makes_a_done_cell_new_but_trained(cell):
    attempt = cell.begin_attempt()
    finish(cell, ["e1"])
    cell.end_attempt(attempt.number, Outcome.DONE, step=3)
    assert cell.state(["e1", "e2"]) is CellState.NEW
    assert cell.is_trained()
    assert cell.missing_evaluations(["e1", "e2"]) == ["e2"]


def test_a_score_that_was_not_recorded_leaves_the_cell_to_be_finished(cell):
    finish(cell, ["e1"])
    cell.storage.write_json("eval/e2/summary.json", {})  # scored, then its driver was killed
    assert not cell.is_done(["e1", "e2"])
    assert cell.is_done(["e1"])


def test_starting_over_forgets_results_but_not_history(cell):
    attempt = cell.begin_attempt()
    finish(cell, ["e1"])
    cell.end_attempt(attempt.number, Outcome.DONE, step=3)
    cell.start_over()
    assert not cell.is_trained()
    assert cell.missing_evaluations(["e1"]) == ["e1"]
    assert cell.state(["e1"]) is CellState.NEW
    assert len(cell.attempts()) == 1
    assert cell.generation() == 1


def test_a_new_attempt_may_start_from_the_checkpoints_that_are_whole(cell):
    first = cell.begin_attempt()
    store = CheckpointStore(cell.storage, first.number, first.accepted)
    for step in (10, 20):
        store.publish(step, [store.write_file(step, "state.json", b"{}")])
    cell.storage.write("checkpoints/step-00000030-a0001/state.json", b"{}")  # killed before its manifest
    second = cell.begin_attempt()
    assert second.accepted == tuple(f"step-{step:08d}-a0001" for step in (10, 20))
    cell.start_over()
    assert cell.begin_attempt().accepted == ()


def test_without_its_last_file_a_cell_is_not_done(cell):
    finish(cell, ["e1"])
    cell.storage.delete("result.json")
    assert cell.state(["e1"]) is CellState.NEW


def test_attempts_are_history(cell):
    first = cell.begin_attempt()
    cell.end_attempt(first.number, Outcome.FAILED, step=4, message="out of luck", traceback="Traceback: here")
    second = cell.begin_attempt()
    attempts = cell.attempts()
    assert [a["number"] for a in attempts] == [first.number, second.number] == [1, 2]
    assert attempts[0]["end"]["message"] == "out of luck"
    assert attempts[1]["end"] is None
    assert cell.storage.read("attempts/0001.error.txt") == b"Traceback: here"
    assert attempts[0]["versions"]["torch"]


def test_word_to_stop(cell):
    assert cell.asked_to_stop() is None
    cell.ask_to_stop(Outcome.STOPPED)
    assert cell.asked_to_stop() is Outcome.STOPPED
    cell.clear_stop()
    assert cell.asked_to_stop() is None
