"""A few real steps of a job, to foretell what all of them take. Nothing of it is kept.

Steps differ in their texts, so what is measured is seconds a padded token, over steps spread evenly over the
job; what all steps hold is counted without running them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from xling.batching.sampler import TextBatch
from xling.config.schema import CellConfig
from xling.data.stored import load_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.blocks import token_total
from xling.model.source import LoadedModel
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage
from xling.train.dev import DevScorer
from xling.train.inputs import load_inputs, load_untrained
from xling.train.loader import Loader
from xling.train.memory import peak_bytes, reset_peak
from xling.train.step import step
from xling.train.task import Task, build_task
from xling.train.worker import WorkerSpec

WARM_UP = 2
COUNTED = 128  # steps whose texts are counted


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one worker's share of a job takes here."""

    parameters: int  # outside of embedding tables
    tokens_per_pair: float
    start_s: float  # model, plan and tokens, in a process that has its imports done
    step_s: float  # the mean over the whole job
    dev_s: float  # one measurement; 0 without a dev set
    score_s: float  # encoding what is scored after training, by the speed of dev's
    peak_bytes: int  # of a worker's process, or of its accelerator


def calibrate(spec: WorkerSpec, evaluations: Sequence[str], device: torch.device, *, steps: int = 8) -> Calibration:
    """Make ``steps`` steps after two of warm-up, and one dev measurement.

    With several workers it is one worker's share of the batch, without what they send each other. A warm
    start's weights are not there yet; others of the same shape take as long.

    Args:
        evaluations: fingerprints of the retrieval sets that the trained model is scored on.
    """
    config = CellConfig.model_validate(spec.config)
    share = config.train.batch_size // config.resources.workers
    config = config.model_copy(update={"train": config.train.model_copy(update={"batch_size": share})})
    torch.set_num_threads(config.resources.cpus_per_worker)
    began, root = time.perf_counter(), Storage(spec.storage)
    reset_peak(device)
    start = load_untrained(root, config.model, config.seed, spec.texts, spec.weights)
    start.encoder.to(device)
    inputs = load_inputs(root, spec.training, start, config)
    parameters = start.encoder.parameters_non_embedding
    tokens_per_pair = inputs.tokens.mean_tokens_per_pair(config.train.hard_negatives)
    task = build_task(config, start, inputs, total_steps=inputs.total_steps, rank=0, world_size=1, device=device)
    start_s = time.perf_counter() - began
    step_s = _mean_step(task, steps) if task.total_steps else 0.0
    dev_s = score_s = 0.0
    if spec.dev:
        scorer = DevScorer(root, spec.dev, start, config.train.measure, 0, 1)
        began = time.perf_counter()
        scorer.score(lambda: None)
        dev_s = (time.perf_counter() - began) / config.resources.workers  # they share the texts
        tokens = sum(_tokens(root, start, fingerprint) for fingerprint in evaluations)
        score_s = dev_s * tokens / _tokens(root, start, spec.dev)
    return Calibration(parameters, tokens_per_pair, start_s, step_s, dev_s, score_s, peak_bytes(device))


def _tokens(root: Storage, model: LoadedModel, fingerprint: str) -> int:
    """Tokens of all texts of a retrieval set on storage."""
    retrieval = load_retrieval(root, fingerprint)
    tokens = tokenize_retrieval(root, model.tokenizer, tokenizer_digest(model.tokenizer), retrieval, model.settings)
    return token_total(tokens)


def _mean_step(task: Task, steps: int) -> float:
    """Seconds a step: those of the steps that are made, scaled to the padded tokens of the job's mean step.

    The median step's speed counts: others that start beside this one can hold up one or two.
    """
    task.encoder.train()
    made = _spread(task.total_steps, steps)
    seconds_per_token = []
    for number, at in enumerate([*made[:WARM_UP], *made]):
        with Loader(task.texts, task.config.chunk_size, task.device, first=at, stop=at + 1) as loader:
            local = loader.ready()  # in a real run it was made while the step before ran
            began = time.perf_counter()
            step(task, loader, lambda: False)
            if number >= WARM_UP:
                seconds_per_token.append((time.perf_counter() - began) / _padded(local))
    counted = (task.texts.at(at, task.config.chunk_size, task.device)[1] for at in _spread(task.total_steps, COUNTED))
    mean_tokens = np.mean([_padded(local) for local in counted])
    return float(np.median(seconds_per_token) * mean_tokens)


def _padded(local: TextBatch) -> int:
    return sum(chunk.ids_CT.size for chunk in local.chunks)


def _spread(total: int, count: int) -> list[int]:
    """At most ``count`` different steps, evenly over the job."""
    return sorted({int(at) for at in np.linspace(0, total - 1, min(count, total))})
