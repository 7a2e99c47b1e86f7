"""k steps, a death, and the rest are the uninterrupted run, bit by bit."""

import json

import pytest
import torch
from forked import on_two_ranks
from small_jobs import Death, attempt, config, die_at, on_ranks, prepare

from xling.errors import CheckpointError, NonFiniteError, ResourceError, StorageAway
from xling.storage import Storage
from xling.train.attempts import CheckpointName
from xling.train.checkpoint import CheckpointStore, object_from_bytes, tensors_from_bytes
from xling.train.inputs import trained_languages
from xling.train.metrics import stored_steps
from xling.train.worker import describe

COMPARED = ("step", "loss", "lr", "grad_norm", "kind", "source")


def weights(root, folder):
    return tensors_from_bytes(root.read(f"{folder}/model/model.safetensors"))


def optimizer(root, folder):
    newest = root.list(f"{folder}/checkpoints")[-1]
    return object_from_bytes(root.read(f"{folder}/checkpoints/{newest}/optimizer.pt"))


def assert_same(root, one, other):
    first, second = weights(root, one), weights(root, other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    a, b = optimizer(root, one)["state"], optimizer(root, other)["state"]
    assert all(torch.equal(a[i][name], b[i][name]) for i in a for name in a[i])
    steps = [[{k: r[k] for k in COMPARED} for r in stored_steps(root.child(folder))] for folder in (one, other)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("death", [0, 3, 4, 6, 10, 11])
def test_a_death_at_any_step_changes_nothing(tmp_path, death):
    cell = config()
    root = prepare(tmp_path, cell)
    assert attempt(root, "whole", cell)
    send, _ = die_at(death)
    with pytest.raises(Death):
        attempt(root, "cut", cell, send=send)
    resumed, seen = die_at(10**9)
    assert attempt(root, "cut", cell, send=resumed)
    assert len(seen) <= 12 - death + 4, "more than the steps left and one checkpoint interval were run"
    assert_same(root, "whole", "cut")


def test_a_scheduled_mix_of_chosen_pairs_goes_on_where_it_was(tmp_path):
    schedule = {"linear": {"start": 1.0, "end": 0.0, "until": 0.75}}
    mix = {"monolingual": schedule, "pairs": {"pivot": "en"}, "cross_lingual_by": "example", "max_epochs": 4}
    cell = config(mix=mix)
    root = prepare(tmp_path, cell)
    assert attempt(root, "whole", cell)
    with pytest.raises(Death):
        attempt(root, "cut", cell, send=die_at(6)[0])
    assert attempt(root, "cut", cell)
    assert_same(root, "whole", "cut")
    kinds = [record["kind"] for record in stored_steps(root.child("cut"))]
    assert kinds[0] == "monolingual"
    assert set(kinds[9:]) == {"cross_lingual"}
    found = root.read_json("cut/composition.json")
    assert found == root.read_json("whole/composition.json")
    assert sum(pair["examples"] for pair in found["pairs"].values()) == 12 * 8
    assert not {"de-es", "es-de"} & found["pairs"].keys()


def test_a_death_changes_nothing_on_an_object_store_either(s3_url):
    cell = config()
    root = prepare(s3_url, cell)
    assert attempt(root, "whole", cell)
    with pytest.raises(Death):
        attempt(root, "cut", cell, send=die_at(9)[0])
    newest = root.list("cut/checkpoints")[-1]
    assert newest == "step-00000008-a0001"
    data = root.read(f"cut/checkpoints/{newest}/weights.safetensors")
    root.write(f"cut/checkpoints/{newest}/weights.safetensors", data[:-1])  # damaged: passed over
    told = []
    assert attempt(root, "cut", cell, send=told.append)
    assert [message["reason"].split(":")[0] for message in told if message["event"] == "skipped"] == [newest]
    assert next(message["step"] for message in told if message["event"] == "started") == 4
    assert_same(root, "whole", "cut")


def test_nothing_is_left_to_do_after_the_last_step(tmp_path):
    cell = config()
    root = prepare(tmp_path, cell)
    attempt(root, "cell", cell)
    before = weights(root, "cell")
    root.delete("cell/model")
    send, seen = die_at(10**9)
    assert attempt(root, "cell", cell, send=send)
    assert seen == []
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(root, "cell").items())


def test_the_best_on_dev_is_what_is_published(tmp_path):
    cell = config(keep="best", dev_every=3, lr=0.5)  # far too high a rate: dev falls after some step
    root = prepare(tmp_path, cell)
    attempt(root, "cell", cell)
    about = root.read_json("cell/model/trained.json")
    dev = {record["step"] + 1: record["dev"] for record in stored_steps(root.child("cell")) if "dev" in record}
    assert sorted(dev) == [3, 6, 9, 12]
    assert about["dev"] == max(dev.values())
    assert trained_languages(root.child("cell/model")) == ("de", "en", "es")
    tables = [w.numel() for name, w in weights(root, "cell").items() if name.endswith("_embeddings.weight")]
    assert (len(tables), about["parameters"] - sum(tables)) == (3, about["parameters_non_embedding"])
    assert dev[about["best_step"]] == max(dev.values())


def test_a_stop_saves_and_leaves_and_the_rest_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("xling.train.worker.STOP_POLL_S", 0.0)
    cell = config()
    root = prepare(tmp_path, cell)
    attempt(root, "whole", cell)

    def send(message):
        if message["event"] == "steps" and message["records"][-1]["step"] == 5:
            root.write_json("cut/stop.json", {"outcome": "stopped"})

    assert not attempt(root, "cut", cell, send=send)
    assert (
        root.list("cut/checkpoints")[-1] == "step-00000008-a0001" or "step-0000000" in root.list("cut/checkpoints")[-1]
    )
    assert not root.exists("cut/model/trained.json")
    root.delete("cut/stop.json")
    assert attempt(root, "cut", cell)
    assert_same(root, "whole", "cut")


def test_while_the_store_is_away_nobody_has_asked_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr("xling.train.worker.STOP_POLL_S", 0.0)
    cell = config()
    root = prepare(tmp_path, cell)
    asked = []

    def exists(storage, path):
        if path.endswith("stop.json"):
            asked.append(path)
            raise StorageAway("away")
        return is_there(storage, path)

    is_there = Storage.exists
    monkeypatch.setattr(Storage, "exists", exists)
    assert attempt(root, "cell", cell)
    assert asked


@pytest.mark.parametrize(("error", "by_user"), [(StorageAway("away"), False), (ResourceError("full"), True)])
def test_a_store_that_is_away_is_worth_a_retry_a_full_one_is_not(error, by_user):
    told = describe(error)
    assert (told["message"], told["by_user"]) == (str(error), by_user)


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_batch(tmp_path):
    cell = config(lr=1e30, warmup=0.0, clip=None)
    root = prepare(tmp_path, cell)
    with pytest.raises(NonFiniteError, match=r"step \d+ .*must be finite; nothing of it was applied. Its items: q\d+"):
        attempt(root, "cell", cell)
    assert not root.exists("cell/model/trained.json")


@pytest.mark.parametrize("death", [5])
def test_two_workers_resume_exactly(tmp_path, death):
    cell = config()
    prepare(tmp_path, cell)
    values = json.loads(cell.model_dump_json())
    root = Storage(str(tmp_path))
    on_two_ranks(on_ranks, 2, str(tmp_path), "whole", values, None)
    on_two_ranks(on_ranks, 2, str(tmp_path), "cut", values, death)
    assert not root.exists("cut/model/trained.json")
    on_two_ranks(on_ranks, 2, str(tmp_path), "cut", values, None)
    assert_same(root, "whole", "cut")


def test_one_and_two_workers_agree_without_dropout(tmp_path):
    cell = config(steps=6)
    cell = cell.model_copy(update={"model": cell.model.model_copy(update={"dropout": 0.0})})
    root = prepare(tmp_path, cell)
    attempt(root, "one", cell)
    on_two_ranks(on_ranks, 2, str(tmp_path), "two", json.loads(cell.model_dump_json()), None)
    first, second = weights(root, "one"), weights(root, "two")
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_going_on_with_another_number_of_workers_is_said(tmp_path):
    cell = config()
    root = prepare(tmp_path, cell)
    on_two_ranks(on_ranks, 2, str(tmp_path), "cell", json.loads(cell.model_dump_json()), 6)
    notes = []
    assert attempt(root, "cell", cell, send=lambda m: notes.append(m["text"]) if m["event"] == "note" else None)
    assert notes == ["2 workers before, 1 now: the same batches, but dropout and rounding will differ"]


def test_a_rank_whose_copy_of_the_checkpoint_is_bad_stops_instead_of_starting_elsewhere(tmp_path):
    cell = config()
    root = prepare(tmp_path, cell)
    send, _ = die_at(9)
    with pytest.raises(Death):
        attempt(root, "cell", cell, send=send)
    names = root.list("cell/checkpoints")
    assert names == ["step-00000004-a0001", "step-00000008-a0001"]
    store = CheckpointStore(root.child("cell"), 2, names)
    root.write(f"cell/checkpoints/{names[1]}/weights.safetensors", b"stale")
    with pytest.raises(CheckpointError, match="holds 5 bytes, its manifest says"):
        store.read_file(CheckpointName.parse(names[1]), "weights.safetensors")


@pytest.mark.parametrize("cause", [lambda: torch.empty(2**60), lambda: bytearray(2**60)])
def test_an_allocation_that_fails_is_told_with_what_to_lower(cause):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        cause()
    told = describe(caught.value)
    assert told["message"].startswith("a worker ran out of memory (")
    assert "lower train.batch_size, model.max_passage_tokens" in told["message"]
    assert told["by_user"]  # the same again would fail again
