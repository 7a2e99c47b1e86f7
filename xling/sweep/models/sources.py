"""Models as a user names them on the command line: a folder, a cell, all cells of a sweep, a preset, a hub id."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xling.config import presets
from xling.errors import ConfigError
from xling.model.source import load_hub, save_folder
from xling.storage import Storage
from xling.sweep.hub_copies import put_model
from xling.sweep.jobs import Job
from xling.sweep.remembered import BY_FILE
from xling.sweep.selection import find_stored, newest_of_each, stored_jobs
from xling.train.trained import MODEL_MARKER, has_weights, require_weights


@dataclass(frozen=True, slots=True)
class ModelSource:
    """One model; ``folder()`` is a local folder of it while that is open."""

    folder: Callable[[], AbstractContextManager[Path]]
    job: Job | None = None  # of a sweep's cell, whose own folder on storage is ``cell``
    cell: Storage | None = None
    of_hub: bool = False

    def for_tasks(self, folder: Path, root: Storage, *, here: bool) -> str:
        """The path or URL by which a cluster's tasks find the model.

        Other machines have no temporary folder of this one: a cell they read from its storage, as in a sweep, and a hub
        model is put below ``hub-models`` of the storage, once.

        Args:
            folder: what ``folder()`` gave.
            here: the cluster is this machine alone.
        """
        if here:
            return str(folder)
        if self.cell is not None:
            return self.cell.locate("model")
        return put_model(root, folder) if self.of_hub else str(folder)


def model_sources(model: str, root: Storage, trust_remote_code: bool = False) -> Mapping[str, ModelSource]:
    """What the user named, by name: a path, a sweep of the storage (all its trained cells), SWEEP/CELL, else a preset
    on the hub or an id there.

    Raises:
        ConfigError: there is no such folder or cell.
    """
    if Path(model).is_dir():
        return {Path(model).resolve().name: ModelSource(lambda: nullcontext(Path(model).resolve()))}
    sweep, _, cell = model.partition("/")
    there = root.list(sweep)
    if "sweep.yaml" not in there and "cells" in there:  # no preset, and nothing to ask a hub for
        raise ConfigError(f"{root.locate(f'{sweep}/sweep.yaml')} is missing; {BY_FILE}")
    if "sweep.yaml" in there:
        chosen = _trained(root, sweep, cell)
        return {name: _of_cell(root, job.folder(sweep), job) for name, job in chosen.items()}
    if model.startswith((".", "/", "~")):
        raise ConfigError(f"model folder {model} does not exist")
    return {model: ModelSource(partial(_hub_folder, model, trust_remote_code), of_hub=True)}


def single_source(
    model: str, root: Storage, trust_remote_code: bool = False, *, argument: str
) -> tuple[str, ModelSource]:
    """The one model that the user named, and its name.

    Args: argument: what the command line calls it, for messages.

    Raises:
        ConfigError: it is a preset without weights, several cells, or there is none such.
    """
    if isinstance(presets.find(model), presets.BuiltPreset):
        raise ConfigError(
            f"{argument} is {model!r}, a preset without weights, must be a trained encoder: SWEEP/CELL, a model folder "
            "or a hub id"
        )
    sources = model_sources(model, root, trust_remote_code)
    if len(sources) > 1:
        cells = ", ".join(list(sources)[:12])
        raise ConfigError(f"{argument} {model!r} names {len(sources)} cells, must name one: {model}/CELL, of {cells}")
    ((name, source),) = sources.items()
    return name, source


def _of_cell(root: Storage, path: str, job: Job) -> ModelSource:
    def folder() -> AbstractContextManager[Path]:
        require_weights(root.child(path))
        return root.local_copy(f"{path}/model")

    return ModelSource(folder, job, root.child(path))


def _trained(root: Storage, sweep: str, cell: str) -> dict[str, Job]:
    """The trained cell, or without a name all that have their weights; by label, with the id where a label repeats."""
    jobs = stored_jobs(root, sweep)
    trained = {job.id for job in jobs if root.exists(f"{job.folder(sweep)}/{MODEL_MARKER}")}
    if not trained:
        raise ConfigError(f"sweep {sweep!r} in {root.url} has no trained cell yet")
    if cell:
        job = find_stored(root, sweep, jobs, cell)
        if job.id not in trained:
            raise ConfigError(
                f"{sweep}/{job.label} (id {job.id}) is not trained yet, must be; finish it: "
                f"xling resume {sweep} --cell {job.label}"
            )
        return {job.label: job}
    cells = newest_of_each(root, sweep, (job for job in jobs if job.kind == "cell"))
    others = [job for job in jobs if job.kind != "cell"]
    chosen = [job for job in (*others, *cells) if job.id in trained and has_weights(root.child(job.folder(sweep)))]
    labels = [job.label for job in chosen]
    named = {job.label if labels.count(job.label) == 1 else f"{job.label}-{job.id}": job for job in chosen}
    return dict(sorted(named.items()))


@contextmanager
def _hub_folder(model: str, trust_remote_code: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        save_folder(Path(scratch), load_hub(model, trust_remote_code=trust_remote_code))
        yield Path(scratch)
