"""Training with milestones: the same results, one decision whatever dies, all ranks leave together."""

import json

import pytest
from forked import on_two_ranks
from small_jobs import Death, attempt, config, die_at, on_ranks, prepare

from xling.storage import Storage
from xling.train.metrics import stored_steps
from xling.train.rungs import RungSpec
from xling.train.worker import _Job

GROUP = "s/rungs/g"


def spec(cell="cell", milestones=(0.25, 0.5), stops=True):
    return RungSpec(GROUP, cell, milestones, 3, stops)


def rival(root, value, milestone=0.5):
    """Another cell that was at a milestone before, with this value on dev."""
    root.write_json(f"{GROUP}/{milestone}/rival.json", {"value": value, "step": 6})


def published(root, folder):
    return root.read(f"{folder}/model/model.safetensors"), root.read_json(f"{folder}/model/trained.json")


def dev_steps(root, folder):
    return [record["step"] + 1 for record in stored_steps(root.child(folder)) if "dev" in record]


def reasons(messages):
    return [message["reason"] for message in messages if message["event"] == "stopped early"]


@pytest.mark.parametrize("train", [{}, {"keep": "best", "dev_every": 4, "lr": 0.5}, {"dev_every": 3}])
def test_results_are_the_same_with_and_without_milestones(tmp_path, train):
    cell = config(**train)
    root = prepare(tmp_path, cell)
    assert attempt(root, "without", cell)
    assert attempt(root, "with", cell, rungs=spec(milestones=(0.2, 0.5, 0.6)))
    assert published(root, "with") == published(root, "without")
    every = train.get("dev_every", 12)
    assert dev_steps(root, "without") == list(range(every, 13, every))
    assert dev_steps(root, "with") == sorted({3, 6, 8, *range(every, 13, every)})
    losses = [[r["loss"] for r in stored_steps(root.child(folder))] for folder in ("with", "without")]
    assert losses[0] == losses[1]


def test_dev_is_measured_once_where_both_ask(tmp_path, monkeypatch):
    measured = []
    score = _Job.dev
    monkeypatch.setattr(_Job, "dev", lambda job: measured.append(1) or score(job))
    cell = config(dev_every=3)
    root = prepare(tmp_path, cell)
    attempt(root, "cell", cell, rungs=spec())
    assert len(measured) == 4
    kept = root.read_json(f"{GROUP}/0.5/cell.json")
    assert kept["step"] == 6
    assert kept["value"] == next(r["dev"] for r in stored_steps(root.child("cell")) if r["step"] == 5)


def test_a_cell_that_is_not_among_the_best_stops_with_a_checkpoint(tmp_path):
    cell = config()
    root = prepare(tmp_path, cell)
    rival(root, 2.0)
    messages = []
    assert not attempt(root, "cell", cell, send=messages.append, rungs=spec())
    (reason,) = reasons(messages)
    assert "after 50 % of its steps; to go on it had to be at least 2.0000, the best third of 2 cells" in reason
    assert root.list("cell/checkpoints")[-1] == "step-00000006-a0001"
    assert not root.exists("cell/model/trained.json")
    assert len(stored_steps(root.child("cell"))) == 6


def test_it_goes_on_when_asked_to_and_ends_as_if_never_stopped(tmp_path):
    cell = config(keep="best", dev_every=4)
    root = prepare(tmp_path, cell)
    attempt(root, "whole", cell)
    rival(root, 2.0, milestone=0.25)
    rival(root, 2.0)
    assert not attempt(root, "cell", cell, rungs=spec())
    assert attempt(root, "cell", cell, rungs=spec(stops=False))
    assert published(root, "cell") == published(root, "whole")
    assert root.read_json(f"{GROUP}/0.5/cell.json").keys() == {"value", "step"}  # recorded, nothing decided


@pytest.mark.parametrize("death", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("stops", [True, False])
def test_a_decision_is_kept_over_a_death_at_any_step(tmp_path, death, stops):
    cell = config(checkpoint_every=3)  # one falls on the milestone itself
    root = prepare(tmp_path, cell)
    attempt(root, "whole", cell)
    rival(root, 2.0 if stops else -1.0)
    rungs = spec(milestones=(0.5,))

    send, seen = die_at(death)
    try:
        finished = attempt(root, "cell", cell, send=send, rungs=rungs)
    except Death:
        finished = None
    # The record of step 5 is sent after the decision of the milestone it ends: what others do then changes nothing.
    if seen[-1] >= 5:
        decided = root.read_json(f"{GROUP}/0.5/cell.json")
        assert decided["decision"]["goes_on"] is not stops
        rival(root, -1.0 if stops else 2.0)
    messages = []
    if finished is None:
        finished = attempt(root, "cell", cell, send=messages.append, rungs=rungs)
    assert finished is not stops
    if stops:
        assert root.list("cell/checkpoints")[-1].startswith("step-00000006")
        # the next attempt, should its end not have been written, stops at once for the same reason
        again = []
        assert not attempt(root, "cell", cell, send=again.append, rungs=rungs)
        assert len(reasons(again)) == 1
        assert [m["event"] for m in again].count("steps") == 0
        assert not messages or reasons(again) == reasons(messages)
    else:
        assert published(root, "cell") == published(root, "whole")


def test_a_death_between_the_decision_and_the_checkpoint_stops_at_the_same_step(tmp_path, monkeypatch):
    cell = config()
    root = prepare(tmp_path, cell)
    rival(root, 2.0)

    def save(job, state):
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(_Job, "save", lambda job, state: save(job, state) if state.step == 6 else None)
        with pytest.raises(Death):
            attempt(root, "cell", cell, rungs=spec(milestones=(0.5,)))
    rival(root, -1.0)
    messages = []
    assert not attempt(root, "cell", cell, send=messages.append, rungs=spec(milestones=(0.5,)))
    assert "at least 2.0000" in reasons(messages)[0]


@pytest.mark.parametrize("value", [2.0, -1.0])
def test_two_ranks_agree(tmp_path, value):
    cell = config()
    prepare(tmp_path, cell)
    root = Storage(str(tmp_path))
    rival(root, value)
    values = json.loads(cell.model_dump_json())
    on_two_ranks(on_ranks, 2, str(tmp_path), "cell", values, None, spec())  # a rank left alone would hang
    assert root.exists("cell/model/trained.json") == (value < 0)
    assert root.read_json(f"{GROUP}/0.5/cell.json")["decision"]["goes_on"] == (value < 0)
    steps = [int(name[5:13]) for name in root.list("cell/checkpoints")]
    assert max(steps) == (12 if value < 0 else 6)
