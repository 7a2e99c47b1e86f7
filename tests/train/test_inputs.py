"""What workers read of several training sets, and of hard negatives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_jobs import LANGUAGES, config, training_set

from xling.config.schema import CellConfig
from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.model.tokenizer import ensure_tokenizer
from xling.storage import Storage
from xling.train.inputs import load_inputs, load_untrained, store_inputs
from xling.train.task import build_task


def several() -> TrainingSet:
    """Two sets of 30 and 12 items, with a hard negative each."""
    made = [
        ParallelItem(
            f"{name}/{item.id}",
            item.article,
            {
                code: TextPair(p.question, p.passage, f"{name}/{p.passage_id}", (f"{name}/{code}/n{number % 5}",))
                for code, p in item.texts.items()
            },
        )
        for name, count in (("one", 30), ("two", 12))
        for number, item in enumerate(training_set(count).items)
    ]
    negatives = {key: f"Not this {key}." for item in made for pair in item.texts.values() for key in pair.negatives}
    digest = fingerprint_items(LANGUAGES, made, negatives)
    return TrainingSet("one + two", LANGUAGES, made, digest, negatives=negatives, sets=(("one", 30), ("two", 12)))


def weighted(*weights: float) -> CellConfig:
    train = [{"dataset": "mkqa", "path": str(number), "weight": weight} for number, weight in enumerate(weights)]
    cell = config().model_dump(mode="json")
    return CellConfig.model_validate({**cell, "data": {"train": train}})


def test_a_budget_in_flops_counts_hard_negatives(tmp_path: Path):
    root, training = Storage(str(tmp_path)), several()
    ensure_tokenizer(root, training)
    start = load_untrained(root, config().model, 0, training.fingerprint, "preset:tiny")
    store_inputs(root, training, start)
    steps, spent = {}, {}
    for wanted in (0, 1, 4):
        train = {"batch_size": 8, "budget": {"flops": 1e10}, "hard_negatives": wanted}
        cell = CellConfig.model_validate({**weighted(1.0, 1.0).model_dump(mode="json"), "train": train})
        inputs = load_inputs(root, training.fingerprint, start, cell)
        steps[wanted], device = inputs.total_steps, torch.device("cpu")
        task = build_task(cell, start, inputs, total_steps=inputs.total_steps, rank=0, world_size=1, device=device)
        tokens = np.mean([task.texts.at(step, None, device)[1].tokens for step in range(50)])
        spent[wanted] = 6 * start.encoder.parameters_non_embedding * tokens * inputs.total_steps
    assert steps[0] > 1.3 * steps[1]
    assert steps[4] == steps[1], "a pair has one hard negative here"
    assert list(spent.values()) == pytest.approx([1e10] * 3, rel=0.05)


def test_sets_and_negatives_reach_the_workers(tmp_path: Path):
    root, training = Storage(str(tmp_path)), several()
    ensure_tokenizer(root, training)
    start = load_untrained(root, config().model, 0, training.fingerprint, "preset:tiny")
    store_inputs(root, training, start)
    shares = {}
    for weights in ((1.0, 1.0), (1.0, 9.0)):
        inputs = load_inputs(root, training.fingerprint, start, weighted(*weights))
        assert [(share.name, share.items, share.weight) for share in inputs.plan.sets] == [
            ("one", 30, weights[0]),
            ("two", 12, weights[1]),
        ]
        shares[weights] = inputs.plan.composition(0, 2000).sets["two"].batches / 2000
    assert shares[1.0, 1.0] < 0.4
    assert shares[1.0, 9.0] > 0.6
    tokens = inputs.tokens
    (negative,) = tokens.negatives(31, 1)
    assert "this" in "".join(start.tokenizer.decode(negative, skip_special_tokens=True).split())
    assert len(np.unique(tokens.rows.negatives_N)) == len(training.negatives) == 30
    assert load_inputs(root, training.fingerprint, start, weighted(1.0, 1.0)).negative_keys_N.shape == (42 * 3,)
