"""``xling compare``: two systems on the same queries, cells, results or TREC runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from xling.evaluate.measures import measure as measure_of
from xling.evaluate.paired import as_one_pair, common_pairs, pair_up
from xling.evaluate.result import SUMMARY, EvaluationResult
from xling.evaluate.run_values import find_runs, measure_runs
from xling.evaluate.significance import compare
from xling.report.csv_text import to_csv
from xling.report.significance import as_record, effects
from xling.report.tables import as_rich
from xling.sweep.outcome.named_results import common_dataset, find_results, require_same_data


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
    as_csv: bool = False,
) -> None:
    """Compare and print.

    Raises:
        ConfigError: a name is unknown, or the data set is not clear.
        DataError: the systems were scored on other data or other queries.
    """
    systems = tuple(_system(name, storage, measure, qrels) for name in (a, b))
    chosen = _common(systems, (a, b), dataset)
    of_a, of_b = (system[chosen if chosen in system else None]() for system in systems)
    if of_a.fingerprint and of_b.fingerprint:
        require_same_data((a, b), (of_a.fingerprint, of_b.fingerprint), chosen)
    table_a, table_b = of_a.per_query, of_b.per_query
    if of_a.fingerprint is of_b.fingerprint is None and qrels is not None and qrels.is_file():
        table_a, table_b = as_one_pair(table_a, table_b)
    alone: tuple[list[str], list[str]] = ([], [])
    if None in (of_a.fingerprint, of_b.fingerprint):  # runs may be of some pairs only
        table_a, table_b, alone = common_pairs(table_a, table_b)
    comparison = compare(pair_up(table_a, table_b, measure, (a, b)), resamples=resamples, seed=seed)
    if as_json:
        left_out = dict(zip(("only_a", "only_b"), alone, strict=True))
        console.print_json(json.dumps({"a": a, "b": b, "dataset": chosen, **left_out, **as_record(comparison)}))
        return
    if as_csv:
        console.file.write(to_csv([{"effect": name, **of} for name, of in as_record(comparison)["effects"].items()]))
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
    """The data set that both were scored on; None of two runs, of which that is not known."""
    named = {
        name: {known for known in system if known is not None}
        for name, system in zip(names, systems, strict=True)
        if None not in system
    }
    return common_dataset(list(named.values()), list(named), dataset) if named else dataset


def _system(name: str, storage: str, measure: str, qrels: Path | None) -> System:
    """What the user named: a result's folder, a run or a folder of them, else SWEEP/CELL of the storage."""
    path = Path(name).expanduser()
    if path.exists() and not (path / SUMMARY).is_file():
        wanted = measure_of(measure)
        return {None: lambda: Values(measure_runs(find_runs(path, qrels), {wanted.name: wanted}).per_query, None)}

    def values(load: Callable[[], EvaluationResult]) -> Values:
        result = load()
        return Values(result.per_query, result.fingerprint)

    found = find_results(name, storage, also="a run, nor ")
    return {dataset: partial(values, load) for dataset, load in found.items()}
