"""A sweep's jobs as storage tells them, without the sweep's data: it is looked at and stopped from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xling.config.grid import alpha_of, size_of
from xling.config.identity import identity_fields, training_key
from xling.config.load import LoadedSweep
from xling.config.schema import BudgetConfig, TrainConfig
from xling.storage import Storage
from xling.sweep.jobs import Job, variant_of
from xling.sweep.selection import job_if_any, newest, stored_jobs
from xling.sweep.study import Study


def launched_study(root: Storage, loaded: LoadedSweep) -> Study:
    """The jobs that launches have prepared, named and ordered by the grid, without their data.

    A cell is known by its configuration, also where its label was another one before the grid grew. Of several that
    differ in their data alone, which may have changed, the one that was begun last is taken.

    Raises:
        DataError: what is kept of a job was not written by xling.
    """
    sweep = loaded.config.name
    jobs = stored_jobs(root, sweep)
    stored = [(training_key(job.config), job) for job in jobs if job.kind == "cell"]
    cells: list[Job] = []
    starts: dict[tuple[str, str | None, str], str] = {}  # what cells begin from, and the size's name in the grid
    for cell in loaded.cells:
        key, fields = training_key(cell.config), identity_fields(cell.config)
        found = [job for of, job in stored if of == key]
        if not found:  # its data may have another path where it was launched
            found = [job for _, job in stored if job.label == cell.label and identity_fields(job.config) == fields]
        if found:
            job = newest(root, sweep, found)
            size, variant = size_of(cell), variant_of(cell)
            starts.setdefault(job.start, size)
            cells.append(replace(job, label=cell.label, size=size, variant=variant, axes=dict(cell.axes)))
    baselines = []
    for start, size in starts.items():
        found = [job for job in jobs if job.kind == "baseline" and job.start == start]
        if found:
            baselines.append(replace(newest(root, sweep, found), label=f"{size}/start", size=size))
    return Study(
        cells=tuple(cells),
        baselines=tuple(baselines),
        warm=_warm_starts(root, cells),
        trainings={},
        retrievals={},
        overlaps=(),
    )


def not_launched(loaded: LoadedSweep, study: Study) -> list[Job]:
    """The cells of the grid that no launch has prepared, and baselines of sizes that have none.

    They have no id, since that takes their data.
    """
    labels, sizes = {job.label for job in study.cells}, {job.size for job in study.baselines}
    found = []
    for cell in loaded.cells:
        size, config = size_of(cell), cell.config
        if cell.label not in labels:
            found.append(Job("cell", "", cell.label, size, alpha_of(cell), config, training="", texts="", weights=""))
        if size not in sizes:
            sizes.add(size)
            untrained = config.model_copy(update={"train": TrainConfig(budget=BudgetConfig(steps=0))})
            start = f"{size}/start"
            found.append(Job("baseline", "", start, size, float("nan"), untrained, training="", texts="", weights=""))
    return found


def in_grid_order(loaded: LoadedSweep, jobs: Iterable[Job]) -> list[Job]:
    """Baselines in the order of their sizes, then cells."""
    labels = [cell.label for cell in loaded.cells]
    sizes = [size_of(cell) for cell in loaded.cells]

    def place(job: Job) -> tuple[bool, int]:
        is_cell = job.kind == "cell"
        return is_cell, labels.index(job.label) if is_cell else sizes.index(job.size)

    return sorted(jobs, key=place)


def _warm_starts(root: Storage, jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The warm starts that some jobs begin from, as far as they are on storage."""
    paths = [f"warm/{identity}/cell.json" for identity in sorted({job.warm for job in jobs if job.warm})]
    return tuple(job for path in paths if (job := job_if_any(root, path)) is not None)
