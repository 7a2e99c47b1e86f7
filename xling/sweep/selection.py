"""Which cells a launch runs, by their states on storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from xling.config.labels import is_name
from xling.errors import ConfigError, DataError
from xling.storage import Storage
from xling.stored_json import DamagedFile
from xling.sweep.cells import CellFolder, CellState
from xling.sweep.jobs import Job
from xling.sweep.study import Study
from xling.train.attempts import Begun, newest_attempt
from xling.train.rungs import forget


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the cells that are not done to run; all but the stopped ones by default.

    Raises:
        ConfigError: cells are named by themselves and by their state.
    """

    failed: bool = False  # only those that failed
    stopped: bool = False  # only those that were stopped; early stopping leaves them alone from now on
    cells: tuple[str, ...] = ()  # only these, by label or by the beginning of the id; likewise
    from_scratch: bool = False  # forget their checkpoints, model and scores first

    def __post_init__(self) -> None:
        if self.cells and (self.failed or self.stopped):
            raise ConfigError("--cell names the cells itself: give it without --failed and --stopped, or these alone")


def states_of(root: Storage, sweep: str, jobs: Sequence[Job]) -> dict[str, CellState]:
    """Each job's state, by id, as storage tells it; one that no launch has prepared has no id, and is new."""

    def state(job: Job) -> CellState:
        if not job.id:
            return CellState.NEW
        return CellFolder(root.child(job.folder(sweep))).state([evaluation.id for evaluation in job.evaluations])

    with ThreadPoolExecutor(16) as pool:  # an object store is far
        return dict(zip((job.id for job in jobs), pool.map(state, jobs), strict=True))


def stored_jobs(root: Storage, sweep: str) -> list[Job]:
    """The jobs that were launched in a sweep, as their folders tell; none where there is no such sweep."""
    paths = [f"{sweep}/cells/{identity}/cell.json" for identity in root.list(f"{sweep}/cells")]
    with ThreadPoolExecutor(16) as pool:  # an object store is far
        return [job for job in pool.map(partial(job_if_any, root), paths) if job is not None]


def job_if_any(root: Storage, path: str) -> Job | None:
    """:func:`stored_job`, None where there is no such file."""
    try:
        return stored_job(root, path)
    except FileNotFoundError:
        return None


def stored_job(root: Storage, path: str) -> Job:
    """Read a job.

    Raises:
        DamagedFile: it was cut or changed.
        DataError: a name, which folders and files are named by, is none that xling gives.
    """
    try:
        job = Job.from_json(root.read(path).decode())
    except (ValueError, KeyError, TypeError) as error:
        how = "it was cut or changed, or another version wrote it"
        what = f"{root.locate(path)} describes no cell ({type(error).__name__}): {how}"
        raise DamagedFile(
            what, "launch the sweep again, which writes it anew, or delete its folder where the grid has it no more"
        ) from error
    scored = [name for of in job.evaluations for name in (of.id, of.dataset, of.fingerprint)]
    for name in (job.id, job.warm or job.id, *job.label.split("/"), *scored):
        if not is_name(name):
            raise DataError(
                f"{root.locate(path)} names {name!r}, must be letters, digits, '.', '_' and '-': it was not written by "
                "xling, or was changed; delete its folder"
            )
    return job


def write_lost(root: Storage, sweep: str, study: Study) -> None:
    """Write the records of jobs that were begun, where one is missing, cut or changed: others tell the job by it."""

    def mend(job: Job) -> None:
        path = f"{job.folder(sweep)}/cell.json"
        try:
            stored_job(root, path)
        except FileNotFoundError:
            if not newest_attempt(root.child(job.folder(sweep))):  # nothing to tell yet
                return
        except DataError:
            pass
        else:
            return
        root.write(path, job.to_json().encode())

    with ThreadPoolExecutor(16) as pool:  # an object store is far
        list(pool.map(mend, (*study.warm, *study.scored)))


def find_job(jobs: Sequence[Job], name: str) -> Job:
    """The job of a label, or of the beginning of an id. Raises ConfigError when it is not one."""
    found = [job for job in jobs if job.label == name] or [job for job in jobs if job.id.startswith(name)]
    if len(found) == 1:
        return found[0]
    known = list(found or jobs)
    labels = [job.label for job in known]
    listed = ", ".join(
        job.label if labels.count(job.label) == 1 else f"{job.label} (id {job.id})" for job in known[:12]
    )
    what = "names several cells" if found else "names no cell"
    raise ConfigError(f"{name!r} {what}, must be one cell's label or the beginning of its id: {listed}")


def find_stored(root: Storage, sweep: str, jobs: Sequence[Job], name: str) -> Job:
    """The job of a label, or of the beginning of an id, among those that lie in a sweep's folder.

    A label names the newest cell of :func:`newest_of_each`; the older ones go by their ids.

    Raises:
        ConfigError: it is not one.
    """
    cells = [job for job in jobs if job.kind == "cell" and job.label == name]
    return find_job(newest_of_each(root, sweep, cells) or jobs, name)


def newest_of_each(root: Storage, sweep: str, jobs: Iterable[Job]) -> list[Job]:
    """Of jobs with one label, which a changed sweep file leaves behind, the one that was begun last."""
    by_label: dict[str, list[Job]] = {}
    for job in jobs:
        by_label.setdefault(job.label, []).append(job)
    return [newest(root, sweep, of) for of in by_label.values()]


def newest(root: Storage, sweep: str, jobs: Sequence[Job]) -> Job:
    """Of several jobs the one that was begun last. Storage is asked only where it decides: an object store is far."""
    return jobs[0] if len(jobs) == 1 else max(jobs, key=lambda job: _begun(root.child(job.folder(sweep))))


def _begun(cell: Storage) -> float:
    number = newest_attempt(cell)
    return float(cell.read_json(f"attempts/{number:04d}.json", Begun)["started"]) if number else 0.0


def to_run(
    root: Storage, sweep: str, study: Study, selection: Selection, states: Mapping[str, CellState] | None = None
) -> list[Job]:
    """The jobs of a launch, in their order; what goes from scratch is forgotten, what was asked for marked.

    Args: states: of cells and baselines, where they are known.
    """
    states = states_of(root, sweep, study.scored) if states is None else states
    if selection.cells:
        named = {job.id for job in (find_job(study.scored, name) for name in selection.cells)}
        chosen = [job for job in study.scored if job.id in named]
    elif selection.failed or selection.stopped:
        wanted = [CellState.FAILED] * selection.failed + [CellState.STOPPED] * selection.stopped
        chosen = [job for job in study.scored if states[job.id] in wanted]
    else:
        chosen = [job for job in study.scored if states[job.id] is not CellState.STOPPED or selection.from_scratch]
    if selection.from_scratch:
        for job in chosen:
            CellFolder(root.child(job.folder(sweep))).start_over()
            forget(root, sweep, job.id)
        states = states_of(root, sweep, study.scored)
    todo = [job for job in chosen if states[job.id] is not CellState.DONE]
    for job in todo:
        if job.group and (selection.cells or (selection.stopped and states[job.id] is CellState.STOPPED)):
            CellFolder(root.child(job.folder(sweep))).want()
    return [*warm_to_run(root, sweep, study, todo), *sorted(todo, key=lambda job: job.kind == "baseline")]


def warm_to_run(root: Storage, sweep: str, study: Study, todo: Sequence[Job]) -> list[Job]:
    """The warm starts that some of the jobs begin from, and that are not there yet."""
    needed = {job.warm for job in todo}
    warm = [job for job in study.warm if job.id in needed]
    return [job for job in warm if not CellFolder(root.child(job.folder(sweep))).is_trained()]
