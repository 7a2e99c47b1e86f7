"""What a sweep will take, foretold from a few real steps of each kind of cell on this machine.

Cells that differ in nothing a step's cost depends on share one measurement. As many processes measure at once as
trials will run at once here, so that they get in each other's way as the trials will.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from statistics import mean

import torch

from xling.errors import ResourceError
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.launching.prepare import prepare_inputs
from xling.sweep.order import longest_first
from xling.sweep.placing.packing import Need, Node, makespan
from xling.sweep.placing.resources import limit_of, what_fits
from xling.sweep.remaining import cost_key
from xling.sweep.study import Study
from xling.sweep.trials.workers import worker_spec
from xling.train.calibrate import Calibration, calibrate
from xling.train.optim import steps_of_budget
from xling.train.worker import out_of_memory

# What a job costs beside the parts that are measured, and a sweep beside its jobs: benchmarks/fixed_cost.py.
JOB_S = 2.5
SWEEP_S = 45.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one job is expected to take."""

    train_s: float
    score_s: float
    worker_bytes: int

    @property
    def seconds(self) -> float:
        return JOB_S + self.train_s + self.score_s


def forecast(root: Storage, study: Study, nodes: Sequence[Node], tell: Callable[[str], None]) -> dict[str, Forecast]:
    """Each job's forecast by its id; tokens are written to the storage, as a sweep would.

    Args:
        nodes: those that trials will run on.

    Raises:
        ResourceError: a kind of cell does not fit into this machine's memory.
    """
    jobs = [*study.warm, *study.scored]
    prepare_inputs(root, study, jobs, tell)
    measured: dict[str, Calibration] = {}
    found = {}
    for job in sorted(jobs, key=_middle_first):
        like = _trained_like(study, job)
        key = cost_key(like)
        if key not in measured:
            tell(f"Measuring steps like those of {like.label}")
            measured[key] = _measure(root, like, max(1, what_fits(nodes, like.config.resources).trials))
        found[job.id] = _of_job(job, measured[key])
    return found


def total_seconds(nodes: Sequence[Node], jobs: Sequence[Job], seconds: Mapping[str, float]) -> float:
    """Of a sweep whose jobs, by id, take so long each: they start and wait for room as in one."""
    work = [(Need.of(job.config.resources), seconds[job.id]) for job in longest_first(jobs, seconds)]
    return SWEEP_S + makespan(nodes, work, limit_of(jobs))


def _middle_first(job: Job) -> tuple[bool, float]:
    """What stands for others is measured on both kinds of batches."""
    return job.kind == "baseline", abs(job.alpha - 0.5) if job.alpha == job.alpha else 1.0


def _trained_like(study: Study, job: Job) -> Job:
    """The job itself; for a baseline, which makes no steps, a cell that begins from it."""
    if job.kind != "baseline":
        return job
    return next(c for c in study.cells if c.config.model == job.config.model and c.texts == job.texts)


def _measure(root: Storage, job: Job, at_once: int) -> Calibration:
    """Several processes at once, each fresh, so that what one of them holds is what a worker will hold."""
    spec = worker_spec(job, root.url, "")
    evaluations = [evaluation.fingerprint for evaluation in job.evaluations]
    on_gpu = job.config.resources.gpus_per_worker > 0 and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    copies = 1 if on_gpu else at_once * job.config.resources.workers
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(copies, mp_context=context) as pool:
            runs = [run.result() for run in [pool.submit(calibrate, spec, evaluations, device) for _ in range(copies)]]
    except (MemoryError, BrokenProcessPool, torch.OutOfMemoryError) as error:
        raise ResourceError(out_of_memory(f"a trial run of {job.label}: {error or type(error).__name__}")) from None
    means = {name: mean(getattr(run, name) for run in runs) for name in ("start_s", "step_s", "dev_s", "score_s")}
    return replace(runs[0], peak_bytes=max(run.peak_bytes for run in runs), **means)


def _of_job(job: Job, measured: Calibration) -> Forecast:
    if job.kind == "baseline":
        return Forecast(0.0, measured.score_s, measured.peak_bytes)
    train = job.config.train
    steps = steps_of_budget(train, parameters=measured.parameters, tokens_per_pair=measured.tokens_per_pair)
    measurements = 0
    if job.dev and steps:
        measurements = 1 + ((steps - 1) // train.dev_every if train.dev_every else 0)
    train_s = measured.start_s + steps * measured.step_s + measurements * measured.dev_s
    return Forecast(train_s, measured.score_s, measured.peak_bytes)
