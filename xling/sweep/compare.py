"""``xling compare``: two systems on the same queries, cells, results or TREC runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from xling.errors import ConfigError, DataError
from xling.evaluate.measures import measure as measure_of
from xling.evaluate.paired import common_pairs, pair_up
from xling.evaluate.result import SUMMARY, EvaluationResult
from xling.evaluate.run_values import find_runs, measure_runs
from xling.evaluate.significance import compare
from xling.report.significance import as_record, effects
from xling.report.tables import as_rich
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.selection import find_job


@dataclass(frozen=True, slots=True)
class Values:
    """A system's per-query values, and the fingerprint of what it was scored on, where that is known."""

    per_query: pa.Table
    fingerprint: str | None


# By data set; a run goes with any (None).
System = Mapping[str | None, Callable[[], Values]]


def compare_systems(
    a: str,
    b: str,
    storage: str,
    console: Console,
    *,
    dataset: str | None,
    measure: str,
    qrels: Path | None,
    resamples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare and print.

    Raises:
        ConfigError: a name is unknown, or the data set is not clear.
        DataError: the systems were scored on other data or other queries.
    """
    systems = tuple(_system(name, storage, measure, qrels) for name in (a, b))
    chosen = _common(systems, (a, b), dataset)
    of_a, of_b = (system[chosen if chosen in system else None]() for system in systems)
    if of_a.fingerprint and of_b.fingerprint and of_a.fingerprint != of_b.fingerprint:
        raise DataError(
            f"{a} and {b} were scored on different data ({chosen}: fingerprints {of_a.fingerprint[:12]} and"
            f" {of_b.fingerprint[:12]}); score both on the same files, languages and options"
        )
    table_a, table_b = of_a.per_query, of_b.per_query
    alone: tuple[list[str], list[str]] = ([], [])
    if None in (of_a.fingerprint, of_b.fingerprint):  # runs may be of some pairs only
        table_a, table_b, alone = common_pairs(table_a, table_b)
    comparison = compare(pair_up(table_a, table_b, measure, (a, b)), resamples=resamples, seed=seed)
    if as_json:
        left_out = dict(zip(("only_a", "only_b"), alone, strict=True))
        console.print_json(json.dumps({"a": a, "b": b, "dataset": chosen, **left_out, **as_record(comparison)}))
        return
    console.print(f"A: {a}\nB: {b}", soft_wrap=True)
    for name, pairs_alone in zip("AB", alone, strict=True):
        if pairs_alone:
            console.print(f"Left out, only {name} has it: {', '.join(pairs_alone)}", soft_wrap=True)
    title = f"{measure}{f' on {chosen}' if chosen else ''}: {comparison.questions} questions, {resamples} resamples"
    means = [effect for effect in comparison.effects if effect.p_holm is None]
    pairs = [effect for effect in comparison.effects if effect.p_holm is not None]
    for name, part in ((title, means), ("by pair, corrected for their number", pairs)):
        if part:
            console.print()
            console.print(as_rich(effects(comparison, part), name, lead=1))


def _common(systems: tuple[System, ...], names: tuple[str, str], dataset: str | None) -> str | None:
    """The data set that both were scored on."""
    known = [set(system) for system in systems]
    for name, of_system in zip(names, known, strict=True):
        if dataset is not None and not of_system & {dataset, None}:
            raise ConfigError(f"--dataset is {dataset!r}, but {name} was scored on {_listed(of_system)}")
    if dataset is not None:
        return dataset
    named = [of_system for of_system in known if None not in of_system]
    common: set[str | None] = set.intersection(*named) if named else {None}
    if len(common) == 1:
        return common.pop()
    if not common:
        raise DataError(
            f"{names[0]} was scored on {_listed(known[0])} and {names[1]} on {_listed(known[1])}:"
            " score both on one data set"
        )
    raise ConfigError(f"{names[0]} and {names[1]} were both scored on {_listed(common)}: choose one with --dataset")


def _listed(datasets: set[str | None]) -> str:
    return ", ".join(sorted(name for name in datasets if name is not None))


def _system(name: str, storage: str, measure: str, qrels: Path | None) -> System:
    """What the user named: a result's folder, a run or a folder of them, else SWEEP/CELL of the storage."""
    path = Path(name).expanduser()
    if (path / SUMMARY).is_file():
        result = EvaluationResult.load(Storage(str(path)))
        return {result.dataset: lambda: Values(result.per_query, result.fingerprint)}
    if path.exists():
        wanted = measure_of(measure)
        return {None: lambda: Values(measure_runs(find_runs(path, qrels), {wanted.name: wanted}).per_query, None)}
    sweep, _, cell = name.partition("/")
    root = Storage(storage)
    if not cell or not root.list(f"{sweep}/cells"):
        raise ConfigError(
            f"{name!r} is neither a folder of results ({SUMMARY}), nor a run, nor SWEEP/CELL of the storage {root.url}"
        )
    return _cell(root, sweep, cell)


def _cell(root: Storage, sweep: str, cell: str) -> System:
    jobs = [
        Job.from_json(root.read(path).decode())
        for path in (f"{sweep}/cells/{identity}/cell.json" for identity in root.list(f"{sweep}/cells"))
        if root.exists(path)
    ]
    job = find_job(jobs, cell)
    folders = {evaluation.dataset: f"{job.folder(sweep)}/eval/{evaluation.id}" for evaluation in job.evaluations}
    there = {name: folder for name, folder in folders.items() if root.exists(f"{folder}/{SUMMARY}")}
    if not there:
        raise DataError(f"{sweep}/{job.label} has no scores yet; finish it: xling resume {sweep} --cell {job.label}")

    def load(folder: str) -> Values:
        result = EvaluationResult.load(root.child(folder))
        return Values(result.per_query, result.fingerprint)

    return {name: partial(load, folder) for name, folder in there.items()}
