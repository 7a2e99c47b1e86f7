"""Results as they are named on the command line: a folder that holds one, or SWEEP/CELL of a storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from xling.errors import ConfigError, DataError
from xling.evaluate.result import SUMMARY, EvaluationResult
from xling.storage import Storage
from xling.sweep.selection import find_stored, stored_jobs

Results = Mapping[str, Callable[[], EvaluationResult]]  # by data set, each read when it is asked for


def find_results(name: str, storage: str, also: str = "") -> Results:
    """What the user named.

    Args:
        also: what else the command takes, for the message.

    Raises:
        ConfigError: it is neither; DataError: the cell has no scores yet.
    """
    path = Path(name).expanduser()
    if (path / SUMMARY).is_file():
        result = EvaluationResult.load(Storage(str(path)))
        return {result.dataset: lambda: result}
    sweep, _, cell = name.partition("/")
    root = Storage(storage)
    if not cell or not root.list(f"{sweep}/cells"):
        raise ConfigError(
            f"{name!r} is neither a folder of results ({SUMMARY}), nor {also}SWEEP/CELL of the storage {root.url}"
        )
    return _of_cell(root, sweep, cell)


def common_dataset(known: Sequence[set[str]], names: Sequence[str], wanted: str | None) -> str:
    """The data set that all named systems were scored on.

    Args:
        known: the data sets of each system, in the order of ``names``.

    Raises:
        ConfigError: the one that is wanted is not among them, or there are several.
        DataError: there is none.
    """
    for name, of_system in zip(names, known, strict=True):
        if wanted is not None and wanted not in of_system:
            raise ConfigError(f"--dataset is {wanted!r}, but {name} was scored on {_listed(of_system)}")
    if wanted is not None:
        return wanted
    common = set.intersection(*known)
    if len(common) == 1:
        return common.pop()
    if not common:
        each = [f"{name} on {_listed(of_system)}" for name, of_system in zip(names, known, strict=True)]
        raise DataError(f"{' and '.join(each).replace(' on ', ' was scored on ', 1)}: score both on one data set")
    raise ConfigError(
        f"{' and '.join(names)} {'was' if len(names) == 1 else 'were both'} scored on {_listed(common)}: "
        "choose one with --dataset"
    )


def require_same_data(names: Sequence[str], fingerprints: Sequence[str], dataset: str | None) -> None:
    """Raise DataError where two systems were scored on other data: their difference would be one of the data too."""
    a, b = fingerprints
    if a != b:
        raise DataError(
            f"{names[0]} and {names[1]} were scored on different data ({dataset}: fingerprints {a[:12]} and {b[:12]}); "
            "score both on the same files, languages and options"
        )


def _listed(datasets: set[str]) -> str:
    return ", ".join(sorted(datasets))


def _of_cell(root: Storage, sweep: str, cell: str) -> Results:
    job = find_stored(root, sweep, stored_jobs(root, sweep), cell)
    folders = {evaluation.dataset: f"{job.folder(sweep)}/eval/{evaluation.id}" for evaluation in job.evaluations}
    there = {name: folder for name, folder in folders.items() if root.exists(f"{folder}/{SUMMARY}")}
    if not there:
        raise DataError(f"{sweep}/{job.label} has no scores yet; finish it: xling resume {sweep} --cell {job.label}")

    def load(folder: str) -> EvaluationResult:
        return EvaluationResult.load(root.child(folder))

    return {name: partial(load, folder) for name, folder in there.items()}
