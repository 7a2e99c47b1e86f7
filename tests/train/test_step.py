"""A step of real jobs: gradient caching, checkpointing and hard negatives beside the plain step, resumed exactly."""

import json

import pytest
import torch
from forked import on_two_ranks
from small_jobs import LANGUAGES, Death, attempt, config, die_at, on_ranks, prepare, training_set

from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.errors import DataError, ResourceError
from xling.storage import Storage
from xling.train.checkpoint import tensors_from_bytes
from xling.train.metrics import stored_steps
from xling.train.task import why_no_compiler

NO_COMPILER = why_no_compiler(torch.__file__)


def weights(root, folder):
    return tensors_from_bytes(root.read(f"{folder}/model/model.safetensors"))


def losses(root, folder):
    return [record["loss"] for record in stored_steps(root.child(folder))]


def without_dropout(cell):
    return cell.model_copy(update={"model": cell.model.model_copy(update={"dropout": 0.0})})


def with_negatives() -> TrainingSet:
    """Items of which two thirds have hard negatives, one or two, one of them another item's passage."""
    made, texts = [], {}
    for number, item in enumerate(training_set().items):
        pairs = {}
        for code, pair in item.texts.items():
            named = [f"{code}/n{number}", f"{code}/p{(number + 1) % 30}"][: number % 3]
            texts |= {key: f"Not {key} but another." for key in named if "/n" in key}
            texts |= {key: training_set().items[(number + 1) % 30].texts[code].passage for key in named if "/p" in key}
            pairs[code] = TextPair(pair.question, pair.passage, pair.passage_id, tuple(named))
        made.append(ParallelItem(item.id, item.article, pairs))
    return TrainingSet("small", LANGUAGES, made, fingerprint_items(LANGUAGES, made, texts), negatives=texts)


def close(one, other, atol=2e-5):
    assert one.keys() == other.keys()
    return all(torch.allclose(one[name], other[name], atol=atol) for name in one)


@pytest.mark.parametrize(
    "settings",
    [
        {"chunk_size": 3},
        {"chunk_size": 1000},
        {"gradient_checkpointing": True},
        pytest.param({"compile": True}, marks=pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)),
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("directions", ["one-way", "two-way"])
def test_the_ways_to_save_memory_train_the_same(tmp_path, settings, directions):
    plain = without_dropout(config(directions=directions))
    root = prepare(tmp_path, plain)
    attempt(root, "plain", plain)
    attempt(root, "other", without_dropout(config(directions=directions, **settings)))
    assert close(weights(root, "plain"), weights(root, "other"))
    assert losses(root, "other") == pytest.approx(losses(root, "plain"), abs=2e-5)


def test_cached_steps_resume_exactly_with_dropout_and_hard_negatives(tmp_path):
    cell, training = config(chunk_size=3, hard_negatives=2), with_negatives()
    root = prepare(tmp_path, cell, training)
    attempt(root, "whole", cell, training=training)
    with pytest.raises(Death):
        attempt(root, "cut", cell, send=die_at(6)[0], training=training)
    attempt(root, "cut", cell, training=training)
    one, other = weights(root, "whole"), weights(root, "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(root, "whole") == losses(root, "cut")


def test_hard_negatives_make_the_task_harder(tmp_path):
    training = with_negatives()
    root = prepare(tmp_path, config(), training)
    told = []
    for wanted in (0, 1, 2):
        cell = without_dropout(config(hard_negatives=wanted, lr=1e-9))  # the same weights, all the way
        attempt(root, f"k{wanted}", cell, training=training, send=told.append)
    first, second, third = (losses(root, f"k{wanted}") for wanted in (0, 1, 2))
    assert all(a < b <= c for a, b, c in zip(first, second, third, strict=True))
    assert second != third
    assert [message["negatives"] for message in told if message["event"] == "started"] == [7, 15, 23]


def test_two_ranks_with_hard_negatives_train_as_one(tmp_path):
    cell, training = without_dropout(config(steps=6, hard_negatives=2, chunk_size=3)), with_negatives()
    root = prepare(tmp_path, cell, training)
    attempt(root, "one", cell, training=training)
    values = json.loads(cell.model_dump_json())
    on_two_ranks(on_ranks, 2, str(tmp_path), "two", values, None, None, training)
    assert close(weights(root, "one"), weights(Storage(str(tmp_path)), "two"))


def test_hard_negatives_of_data_without_any_are_refused(tmp_path):
    cell = config(hard_negatives=1)
    root = prepare(tmp_path, cell)
    with pytest.raises(DataError, match=r"`train.hard_negatives` is 1, needs training data with hard negatives"):
        attempt(root, "cell", cell)


def test_another_chunk_size_goes_on_and_says_so(tmp_path):
    root = prepare(tmp_path, config())
    with pytest.raises(Death):
        attempt(root, "cell", config(), send=die_at(6)[0])
    notes = []
    cell = config(chunk_size=4)
    assert attempt(root, "cell", cell, send=lambda m: notes.append(m["text"]) if m["event"] == "note" else None)
    assert notes == ["train.chunk_size none before, 4 now: the same batches, but dropout and rounding will differ"]


def test_where_torch_cannot_compile_it_is_said_with_what_to_do(tmp_path, monkeypatch):
    assert "whose path has a space" in why_no_compiler("/my folder/torch/__init__.py")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert why_no_compiler("/folder/torch/__init__.py") == (
        "needs a C++ compiler, found none; install g++, or name one by CXX"
    )
    cell = config(compile=True)
    root = prepare(tmp_path, cell)
    with pytest.raises(ResourceError, match=r"`train.compile` is true, .*; or set it to false"):
        attempt(root, "cell", cell)
