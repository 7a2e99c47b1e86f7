"""What a GPU's batches are padded to, made here without one."""

from pathlib import Path

import pytest
import torch
from small_jobs import LANGUAGES, config, prepare

from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.train.inputs import load_inputs, load_untrained
from xling.train.task import build_task


def long_texts() -> TrainingSet:
    """Passages longer than any limit here."""
    words = {i: " ".join(map(str, range(i, i + 200))) for i in range(16)}
    made = [
        ParallelItem(
            f"q{i}", f"a{i}", {code: TextPair(f"{code} {i}?", f"{code} {of}", f"{code}/p{i}") for code in LANGUAGES}
        )
        for i, of in words.items()
    ]
    return TrainingSet("long", LANGUAGES, made, fingerprint_items(LANGUAGES, made))


@pytest.mark.parametrize(("limit", "positions"), [(100, 100), (50, 96)])
def test_texts_are_padded_for_a_gpu_within_the_encoders_positions(tmp_path: Path, limit: int, positions: int):
    cell = config(steps=2)
    cell = cell.model_copy(update={"model": cell.model.model_copy(update={"max_passage_tokens": limit})})
    training = long_texts()
    root = prepare(tmp_path, cell, training)
    start = load_untrained(root, cell.model, 0, training.fingerprint, "preset:tiny")
    assert start.encoder.max_tokens == positions
    inputs = load_inputs(root, training.fingerprint, start, cell)
    task = build_task(cell, start, inputs, total_steps=2, rank=0, world_size=1, device=torch.device("cpu"))
    _, local = task.texts.at(0, None, torch.device("cuda"))
    widths = {chunk.ids_CT.shape[1] for chunk in local.chunks}
    assert max(widths) == min(-(-limit // 8) * 8, positions)
    assert all(width % 8 == 0 for width in widths - {positions})
    for chunk in local.chunks:
        start.encoder(torch.from_numpy(chunk.ids_CT), torch.from_numpy(chunk.mask_CT))
