"""The dev loss in training, patience and targets: when training ends, with what, and the same after a death."""

import json

import pytest
from forked import on_two_ranks
from small_jobs import Death, attempt, config, dev_set, die_at, on_ranks, prepare

from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.encode import FlatTokens, encode
from xling.evaluate.layout import build_layout
from xling.evaluate.pool_loss import PoolLoss
from xling.model.source import load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage
from xling.train.loop import LoopState
from xling.train.metrics import stored_steps
from xling.train.rungs import RungSpec
from xling.train.worker import _Job

LOSS = {"dev_measure": "loss", "dev_every": 2}
DIVERGING = {"lr": 0.5, "dev_every": 2}  # far too high a rate: dev gets worse after some step


def about(root, folder="cell"):
    return root.read_json(f"{folder}/model/trained.json")


def devs(root, folder="cell", key="dev"):
    return {record["step"] + 1: record[key] for record in stored_steps(root.child(folder)) if key in record}


def published(root, folder):
    kept = about(root, folder)
    return root.read(f"{folder}/model/model.safetensors"), kept, root.read_json(f"{folder}/composition.json")


def test_the_loss_is_that_of_the_weights_over_the_pool(tmp_path):
    cell = config(**LOSS)
    root = prepare(tmp_path, cell)
    assert attempt(root, "cell", cell)
    model = load_folder(tmp_path / "cell/model")
    tokens = tokenize_retrieval(root, model.tokenizer, tokenizer_digest(model.tokenizer), dev_set(), model.settings)
    layout = build_layout(dev_set())
    flat = FlatTokens.of_retrieval(layout, tokens)
    vectors = encode(model.encoder, flat, batch_size=5, batch_tokens=999, pad_id=model.tokenizer.pad_token_id)
    expected = PoolLoss(layout, 1024).value(vectors, 0.05)
    kept = about(root)
    assert kept["dev"] == pytest.approx(expected, rel=1e-4)
    assert kept["dev_measure"] == "loss"
    assert kept["dev_candidates"] == {"de": 6, "en": 6, "es": 6}
    assert sorted(devs(root, key="dev_loss")) == [2, 4, 6, 8, 10, 12]
    assert devs(root, key="dev") == {}


def test_the_best_loss_is_the_lowest(tmp_path):
    cell = config(**{**LOSS, **DIVERGING}, keep="best")
    root = prepare(tmp_path, cell)
    attempt(root, "cell", cell)
    losses = devs(root, key="dev_loss")
    kept = about(root)
    assert kept["dev"] == min(losses.values()) == losses[kept["best_step"]]
    assert kept["best_step"] < 12


def test_cells_that_train_differently_have_one_pool(tmp_path):
    one, other = config(**LOSS), config(**{**LOSS, "batch_size": 4, "steps": 2}, mix={"monolingual": 1})
    other = other.model_copy(update={"seed": 7})
    root = prepare(tmp_path, one)
    pools = []

    class Recorded(PoolLoss):
        def __init__(self, layout, size):
            super().__init__(layout, size)
            pools.append([layout.passage_ids[int(column)] for column in self._columns_P])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xling.train.dev.PoolLoss", Recorded)
        for name, cell in (("one", one), ("other", other)):
            small = cell.train.model_copy(update={"dev_pool": 3})
            attempt(root, name, cell.model_copy(update={"train": small}))
    assert pools[0] == pools[1]
    assert len(pools[0]) == 9


@pytest.mark.parametrize("keep", ["last", "best"])
def test_patience_ends_training_and_the_cell_is_trained(tmp_path, keep):
    cell = config(**DIVERGING, patience=2, keep=keep, steps=40)
    root = prepare(tmp_path, cell)
    messages = []
    assert attempt(root, "cell", cell, send=messages.append)
    kept, measured = about(root), devs(root)
    steps, best = sorted(measured), max(measured.values())
    assert kept["ended_by"] == "patience"
    assert kept["step"] == steps[-1] < kept["total_steps"] == 40
    assert kept["best_step"] == steps[-3], "two measurements in a row that were no better"
    assert measured[kept["best_step"]] == best
    assert kept["dev"] == (best if keep == "best" else measured[steps[-1]])
    (note,) = [m["text"] for m in messages if m["event"] == "note"]
    assert note == (
        f"patience is over: no better dev than {best:.4f} in 2 measurements after {steps[-1]} of at most 40 steps"
    )
    composition = root.read_json("cell/composition.json")
    assert composition["stop"] == sum(composition["kinds"].values()) == steps[-1], "the steps really made"


def test_the_target_ends_training_at_the_first_measure_that_is_as_good(tmp_path):
    root = prepare(tmp_path, config())
    attempt(root, "free", config(**LOSS, steps=20))
    losses = devs(root, "free", "dev_loss")
    wanted = sorted(losses.items())[4]
    assert min(losses.values()) < wanted[1]
    cell = config(**LOSS, steps=20, target_dev=wanted[1])  # exactly: as good as it is enough
    first = next(step for step, loss in sorted(losses.items()) if loss <= wanted[1])
    assert attempt(root, "cell", cell)
    kept = about(root)
    assert (kept["ended_by"], kept["steps_to_target"], kept["step"], kept["total_steps"]) == (
        "target",
        first,
        first,
        20,
    )
    records = stored_steps(root.child("cell"))
    assert len(records) == first
    assert records[-1]["steps_to_target"] == first
    assert [r["loss"] for r in records] == [r["loss"] for r in stored_steps(root.child("free"))][:first]


def test_a_target_that_is_not_reached_is_told_as_such(tmp_path):
    cell = config(**LOSS, target_dev=1e-6)
    root = prepare(tmp_path, cell)
    assert attempt(root, "cell", cell)
    kept = about(root)
    assert (kept["ended_by"], kept["steps_to_target"], kept["step"]) == ("budget", None, 12)
    assert not any("steps_to_target" in record for record in stored_steps(root.child("cell")))


@pytest.mark.parametrize("ends", [{"patience": 2, "keep": "best"}, {"target_dev": 1e-9, "patience": 1}])
@pytest.mark.parametrize("death", range(12))
def test_a_death_at_any_step_changes_no_end(tmp_path, ends, death):
    cell = config(**{**LOSS, **DIVERGING}, **ends)
    root = prepare(tmp_path, cell)
    assert attempt(root, "whole", cell)
    assert about(root, "whole")["ended_by"] == "patience"
    send, _ = die_at(death)
    try:
        attempt(root, "cut", cell, send=send)
    except Death:
        assert attempt(root, "cut", cell)
    assert published(root, "cut") == published(root, "whole")
    assert devs(root, "cut", "dev_loss") == devs(root, "whole", "dev_loss")


@pytest.mark.parametrize("ends", [{"patience": 2}, {"target_dev": 1.9}])
def test_a_death_between_the_last_checkpoint_and_the_model_only_publishes(tmp_path, monkeypatch, ends):
    cell = config(**{**LOSS, **DIVERGING}, **ends)
    root = prepare(tmp_path, cell)
    attempt(root, "whole", cell)
    assert about(root, "whole")["ended_by"] == ("target" if "target_dev" in ends else "patience")

    def publish(job, state):
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(_Job, "publish", publish)
        with pytest.raises(Death):
            attempt(root, "cut", cell)
    send, seen = die_at(10**9)
    assert attempt(root, "cut", cell, send=send)
    assert seen == []
    assert published(root, "cut") == published(root, "whole")


def test_a_checkpoint_from_before_there_was_patience_goes_on():
    state = LoopState(step=4, dev=0.5, best_step=4, best_dev=0.5)
    assert (state.misses, state.target_step) == (0, None)


def test_two_ranks_measure_and_end_as_one(tmp_path):
    """The same weights are measured alike; trained on two ranks they differ by rounding and dropout only."""
    cell = config(**LOSS, steps=4, patience=1, lr=1e-12)  # weights hardly move: dev is equal but for noise
    prepare(tmp_path, cell)
    root = Storage(str(tmp_path))
    values = json.loads(cell.model_dump_json())
    on_two_ranks(on_ranks, 2, str(tmp_path), "two", values, None)  # a rank left alone would hang
    attempt(root, "one", cell)
    one, two = devs(root, "one", "dev_loss"), devs(root, "two", "dev_loss")
    assert two[2] == pytest.approx(one[2], rel=1e-6)
    assert root.exists("two/model/trained.json")


def test_early_stopping_keeps_the_lower_loss(tmp_path):
    cell = config(**LOSS)
    root = prepare(tmp_path, cell)
    spec = RungSpec("s/rungs/g", "cell", (0.5,), 3, True, "loss")
    root.write_json("s/rungs/g/0.5/rival.json", {"value": 1e-3, "step": 6})
    messages = []
    assert not attempt(root, "cell", cell, send=messages.append, rungs=spec)
    (reason,) = [m["reason"] for m in messages if m["event"] == "stopped early"]
    assert reason.startswith("early stopping: dev loss ")
    assert "it had to be at most 0.0010" in reason
    root.write_json("s/rungs/g/0.5/rival.json", {"value": 99.0, "step": 6})
    root.delete("s/rungs/g/0.5/cell.json")
    assert attempt(root, "other", cell, rungs=spec)


def test_what_ends_on_a_milestone_is_done_not_stopped(tmp_path):
    cell = config(**LOSS, target_dev=99.0)  # reached at the first measure
    root = prepare(tmp_path, cell)
    root.write_json("s/rungs/g/0.16/rival.json", {"value": 1e-3, "step": 2})
    assert attempt(root, "cell", cell, rungs=RungSpec("s/rungs/g", "cell", (0.16,), 3, True, "loss"))
    assert about(root)["steps_to_target"] == 2
