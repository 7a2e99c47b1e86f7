"""What a sweep has left behind, as ``chaos.py`` compares it: table, files, MLflow runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMINGS = ("train/pairs_per_s", "train/tokens_per_s")  # differ from run to run: only their steps are compared
RETRIES = "report/retries.csv"  # in the report where something was retried: what was killed, as it should tell

History = list[tuple[int, float]]


@dataclass(frozen=True)
class Outcome:
    """Everything that must not depend on what was killed."""

    table: list[dict[str, Any]]  # the rows of `xling results --json`
    models: dict[str, str]  # hash of each file of each trained model
    scores: dict[str, str]  # hash of each evaluation's figures
    histories: dict[str, dict[str, History]]  # by run and metric: (step, value), by step
    runs: dict[str, Any]  # by name: how often it is there, status, parent, params, artifacts
    repeats: tuple[int, ...] = ()  # steps that an attempt made again, for each that did; not compared


def read_outcome(table: list[dict[str, Any]], storage: Path, uri: str, experiment: str) -> Outcome:
    """Args: storage: the sweep's. uri: the MLflow server's."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], max_results=1000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    kept, histories = {}, {}
    repeats: list[int] = []
    for run in runs:
        name = run.info.run_name
        histories[name] = {key: _history(client, run.info.run_id, key) for key in run.data.metrics}
        if job := run.data.tags.get("xling.cell"):
            repeats += _repeats(client, run.info.run_id, storage, job)
        kept[name] = {
            "runs of this name": sum(other == name for other in names.values()),
            "status": run.info.status,
            "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
            "params": dict(run.data.params),
            "artifacts": sorted(set(_artifacts(client, run.info.run_id)) - {RETRIES}),
        }
    return Outcome(
        table=table,
        models=_hashes(storage, "model/*"),
        scores=_hashes(storage, "eval/*/summary.json"),
        histories=histories,
        runs=kept,
        repeats=tuple(repeats),
    )


def differences(expected: Outcome, found: Outcome) -> dict[str, list[str]]:
    """What is missing, too much or other in ``found``, by part; empty lists when all is equal."""
    return {
        "table": _unequal(_by_row(expected.table), _by_row(found.table)),
        "models": _unequal(expected.models, found.models),
        "scores": _unequal(expected.scores, found.scores),
        "histories": _unequal(_by_metric(expected.histories), _by_metric(found.histories)) + _twice(found.histories),
        "runs": _unequal(expected.runs, found.runs),
    }


def _unequal(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    said = [f"{key} is missing" for key in expected if key not in found]
    said += [f"{key} is not in the undisturbed sweep" for key in found if key not in expected]
    said += [
        f"{key}: {_first_difference(expected[key], found[key])}"
        for key in expected
        if key in found and repr(expected[key]) != repr(found[key])  # as texts: a NaN equals a NaN
    ]
    return said


def _first_difference(expected: Any, found: Any) -> str:
    if isinstance(expected, list) and isinstance(found, list):
        missing = [value for value in expected if value not in found]
        extra = [value for value in found if value not in expected]
        return f"{len(expected)} values, {len(found)} found; missing {missing[:3]}, too much {extra[:3]}"
    if isinstance(expected, dict) and isinstance(found, dict):
        return "; ".join(_unequal(expected, found))
    return f"{expected!r:.200} became {found!r:.200}"


def _by_row(table: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"row {row['label']} on {row['dataset']}": row for row in table}


def _by_metric(histories: Mapping[str, Mapping[str, History]]) -> dict[str, list[Any]]:
    """Each metric's points; of a timing its steps alone."""
    return {
        f"{run} {key}": [step for step, _ in history] if key in TIMINGS else list(history)
        for run, metrics in histories.items()
        for key, history in metrics.items()
    }


def _twice(histories: Mapping[str, Mapping[str, History]]) -> list[str]:
    return [
        f"{run} {key} holds {len(history) - len({step for step, _ in history})} steps twice"
        for run, metrics in histories.items()
        for key, history in metrics.items()
        if len({step for step, _ in history}) < len(history)
    ]


def _history(client: Any, run_id: str, key: str) -> History:
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, key))


def _repeats(client: Any, run_id: str, storage: Path, job: str) -> list[int]:
    """Steps made again, by attempt that made some.

    MLflow keeps the time at which a step was first heard of, the job's segments that at which it
    was made for good. Steps that a killed driver had not heard of yet are missing.
    """
    first = {point.step: point.timestamp for point in client.get_metric_history(run_id, "train/loss")}
    again: Counter[str] = Counter()
    for segment in (*storage.glob(f"*/cells/{job}/metrics/*.jsonl"), *storage.glob(f"warm/{job}/metrics/*.jsonl")):
        attempt = segment.stem.rpartition("-a")[2]
        records = [json.loads(line) for line in segment.read_text().splitlines()]
        again[attempt] += sum(record["time_ms"] > first.get(record["step"], record["time_ms"]) for record in records)
    return [count for count in again.values() if count]


def _artifacts(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _artifacts(client, run_id, entry.path)
        else:
            yield entry.path


def _hashes(storage: Path, pattern: str) -> dict[str, str]:
    """SHA-256 of the files of all jobs (a job's folder is named by its id, the same in both sweeps)."""
    return {
        f"{path.relative_to(storage)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("*/cells", "warm")
        for path in sorted(storage.glob(f"{folder}/*/{pattern}"))
        if path.is_file()
    }
