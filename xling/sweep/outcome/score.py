"""``xling score``: the measures of TREC runs, whoever wrote them."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from xling.data.files import BadRows
from xling.data.sets.xor_retrieve import read_questions
from xling.errors import ConfigError
from xling.evaluate.measures import Measure, measure, measures
from xling.evaluate.paired import Cell, macro_groups
from xling.evaluate.run_values import RunValues, find_runs, measure_runs
from xling.evaluate.xor import Gold, read_predictions, score_predictions
from xling.report.tables import as_rich, number, scores
from xling.storage import Storage

Figures = dict[str, dict[str, float]]  # by measure, then pair or macro mean


def score_files(
    run: Path, qrels: Path | None, names: str | None, per_query: Path | None, console: Console, *, as_json: bool
) -> None:
    """Measure and print. Raises ConfigError for an argument, DataError for what is wrong with the files."""
    if per_query is not None and per_query.is_dir():
        raise ConfigError(f"--per-query is {per_query}, a folder, must be a Parquet file; name one in it")
    wanted = _wanted(names)
    values = measure_runs(find_runs(run, qrels), wanted)
    if per_query is not None:
        buffer = io.BytesIO()
        pq.write_table(values.per_query, buffer, compression="zstd")
        Storage(str(per_query.parent)).write(per_query.name, buffer.getvalue())
    pairs = _pair_means(values.per_query, list(wanted))
    means = _macro_means(pairs)
    if as_json:
        console.print_json(json.dumps(_record(run, values, pairs, means)))
        return
    _show(run, values, pairs, means, console)


def score_xor(predictions: Path, questions: Path, console: Console, *, as_json: bool) -> None:
    """Measure XOR-Retrieve's predictions and print. Raises DataError for what is wrong with the files."""
    gold = {
        query.id.partition("/")[2]: Gold(query.language, tuple(answers))
        for query, answers in read_questions(questions, BadRows(strict=True))
    }
    found = score_predictions(read_predictions(predictions), gold)
    if as_json:
        console.print_json(json.dumps({"predictions": str(predictions), **asdict(found)}))
        return
    body = [
        [code, str(count), *(number(of[code], 4) for of in found.by_language.values())]
        for code, count in found.questions.items()
    ]
    body.append(["mean", str(sum(found.questions.values())), *(number(mean, 4) for mean in found.means.values())])
    console.print(as_rich((["language", "questions", *found.means], body), str(predictions), lead=1))
    for count, what in (
        (found.unanswered, "questions have no prediction: they count as missed"),
        (found.unknown, "predictions are for no question of the file: left out"),
    ):
        if count:
            console.print(f"{count} {what}")


def _wanted(names: str | None) -> dict[str, Measure]:
    if names is None:
        return dict(measures())
    wanted = {name: measure(name) for name in (part.strip() for part in names.split(",")) if name}
    if not wanted:
        raise ConfigError("--measures is empty, must name measures: mAP,nDCG@10,R@100")
    return wanted


def _pair_means(per_query: pa.Table, names: list[str]) -> dict[Cell, dict[str, float]]:
    """Means, and the number of queries, by pair."""
    grouped = per_query.group_by(["query_language", "passage_language"], use_threads=False)
    table = grouped.aggregate([("query", "count"), *((name, "mean") for name in names)])
    return {
        Cell(row["query_language"], row["passage_language"]): {
            "queries": row["query_count"],
            **{name: row[f"{name}_mean"] for name in names},
        }
        for row in table.to_pylist()
    }


def _macro_means(pairs: dict[Cell, dict[str, float]]) -> dict[str, float]:
    """``mAP/Mo`` and so on, as an evaluation's headline."""
    names = [name for name in next(iter(pairs.values())) if name != "queries"]
    return {
        f"{name}/{group}": sum(pairs[cell][name] for cell in members) / len(members)
        for name in names
        for group, members in macro_groups(pairs).items()
    }


def _record(
    run: Path, values: RunValues, pairs: dict[Cell, dict[str, float]], means: dict[str, float]
) -> dict[str, Any]:
    return {
        "run": str(run),
        "queries": pc.count_distinct(values.per_query["query"]).as_py(),
        "skipped": values.skipped,
        "unanswered": values.unanswered,
        "unknown": values.unknown,
        "headline": means,
        "pairs": {cell.name: figures for cell, figures in pairs.items()},
    }


def _show(
    run: Path, values: RunValues, pairs: dict[Cell, dict[str, float]], means: dict[str, float], console: Console
) -> None:
    if means:
        console.print(as_rich(scores(means), str(run), lead=1))
        console.print()
    names = list(next(iter(pairs.values())))
    body = [
        [cell.name, *(number(of[name], 4) if name != "queries" else str(of[name]) for name in names)]
        for cell, of in pairs.items()
    ]
    console.print(as_rich((["pair", *names], body), "means over queries", lead=1))
    for count, what in (
        (values.unanswered, "queries have no line in the run: they count 0"),
        (values.skipped, "judged queries have no relevant passage: left out"),
        (values.unknown, "queries of the run are not judged: left out"),
    ):
        if count:
            console.print(f"{count} {what}")
