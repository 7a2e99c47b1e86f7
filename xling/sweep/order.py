"""In which order the jobs of a launch start: the longest first, a warm start before what begins from it.

How long a job takes is foretold from what jobs of its kind took so far, as storage tells it. Of a kind that
none has run yet it is reckoned from its FLOPs and what it computes on, in the measure of the kinds that are known.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from xling.config.schema import CellConfig
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.remaining import Remaining, Stand, look, remaining
from xling.sweep.study import Study

# A hub model of unknown size is taken to be as large as XLM-R base.
_UNKNOWN_WEIGHTS = 4.0 * 278e6


def weights_bytes(config: CellConfig) -> float:
    """Bytes of the model's weights in float32, as far as they are known without loading them."""
    if config.model.path is not None:
        folder = Path(config.model.path)
        files = list(folder.rglob("*.safetensors")) or list(folder.rglob("*.bin"))
        return float(sum(file.stat().st_size for file in files))
    if config.model.architecture is not None:
        return 4.0 * config.model.architecture.parameters
    return _UNKNOWN_WEIGHTS


def work_of(job: Job) -> float:
    """A job's training in units of time that only compare jobs: FLOPs over cores or GPUs; 0 for a baseline.

    The tokens of a pair are taken to be as many as the model's limits let through.
    """
    config, need = job.config, job.config.resources
    architecture = config.model.architecture
    embedded = architecture.embedding_parameters if architecture is not None else 0
    budget, train, model = config.train.budget, config.train, config.model
    if budget.flops is not None:
        flops = budget.flops
    else:
        pairs = budget.examples if budget.examples is not None else (budget.steps or 0) * train.batch_size
        tokens = model.max_query_tokens + model.max_passage_tokens * (1 + train.hard_negatives)
        flops = 6 * max(0.0, weights_bytes(config) / 4 - embedded) * tokens * pairs
    return flops / (need.workers * (need.gpus_per_worker or need.cpus_per_worker))


def expected_seconds(stands: Sequence[Stand], foretold: Remaining) -> dict[str, float]:
    """What each job still takes, by its id; in units of work alone where no kind was measured yet."""
    left = {stand.job.id: work_of(stand.job) * _share_left(stand) for stand in stands}
    rates = [foretold.cells[job] / work for job, work in left.items() if work and job in foretold.cells]
    rate = median(rates) if rates else 1.0
    return {job: foretold.cells.get(job, work * rate) for job, work in left.items()}


def longest_first(jobs: Sequence[Job], seconds: Mapping[str, float]) -> list[Job]:
    """The jobs in the order in which they start; those that take equally long stay in theirs.

    A warm start counts with the longest of what waits for it.
    """
    after = {job.id: 0.0 for job in jobs}
    for job in jobs:
        if job.kind != "warm" and job.warm in after:
            after[job.warm] = max(after[job.warm], seconds[job.id])
    return sorted(jobs, key=lambda job: -(seconds[job.id] + after[job.id]))


def in_order(root: Storage, sweep: str, jobs: Sequence[Job], study: Study) -> list[Job]:
    """A launch's jobs in the order in which they start; those of the study that are done tell how long jobs take."""
    every = {job.id: job for job in (*study.warm, *study.scored, *jobs)}
    stands = look(root, sweep, list(every.values()))
    return longest_first(jobs, expected_seconds(stands, remaining(stands, time.time())))


def _share_left(stand: Stand) -> float:
    return 1 - min(stand.step, stand.total) / stand.total if stand.total else 1.0
