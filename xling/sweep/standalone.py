"""``xling evaluate``: one model on one data set, without a sweep."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from xling.config.schema import DatasetConfig, EvaluationConfig, ModelConfig
from xling.data import registry
from xling.data.tokenize import tokenize_retrieval
from xling.errors import ConfigError
from xling.evaluate.pairs import Progress, evaluate_model
from xling.evaluate.result import EvaluationResult
from xling.model.source import LoadedModel, load_folder, load_start, save_folder
from xling.model.tokenizer import tokenizer_digest
from xling.report.tables import as_rich, matrix, scores
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.runner import ray_cluster
from xling.sweep.selection import find_job

_OPTIONS = {"titles": "title"}  # fields whose option has another name


def evaluate_one(
    model: str,
    dataset: DatasetConfig,
    storage: str,
    console: Console,
    *,
    workers: int,
    run_files: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score and print. Raises ConfigError, DataError or CheckpointError for what is wrong with the arguments."""
    problems = registry.problems(dataset, "evaluate")
    if problems:
        raise ConfigError([f"--{_OPTIONS.get(field, field)} {text}" for field, text in problems])
    retrieval = registry.get(dataset.dataset).load_evaluation(dataset)
    with _model_folder(model, storage) as folder, tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        loaded = load_folder(folder)
        digest = tokenizer_digest(loaded.tokenizer)
        tokens = tokenize_retrieval(Storage(scratch), loaded.tokenizer, digest, retrieval, loaded.settings)
        with ray_cluster(None), Bar(console=console, transient=True, disable=as_json) as bar:
            tasks = {stage: bar.add_task(f"{stage} …", total=None) for stage in ("encode", "score")}

            def tell(progress: Progress) -> None:
                bar.update(tasks[progress.stage], completed=progress.done, total=progress.total)

            result = evaluate_model(
                str(folder),
                retrieval,
                tokens,
                EvaluationConfig(run_files=run_files is not None),
                max_tasks=workers,
                run_folder=Storage(str(run_files)) if run_files is not None else None,
                progress=tell,
            )
    if out is not None:
        result.save(Storage(str(out)))
    _show(model, result, console, as_json)


def _show(model: str, result: EvaluationResult, console: Console, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps({"model": model, **result.to_json()}))
        return
    console.print(as_rich(scores(result.headline), f"{model} on {result.dataset}", lead=1))
    console.print()
    leading = result.measures[0]
    pairs = matrix(result.pair_values[leading], result.languages)
    console.print(as_rich(pairs, f"{leading} (query down, passage across)", lead=1))


@contextmanager
def _model_folder(model: str, storage: str) -> Iterator[Path]:
    """The folder of what the user named: a path, SWEEP/CELL of the storage, else an id on the hub."""
    if Path(model).is_dir():
        yield Path(model).resolve()
        return
    sweep, _, cell = model.partition("/")
    root = Storage(storage)
    if "sweep.yaml" in root.list(sweep):
        with root.local_copy(f"{_cell_of(root, sweep, cell).folder(sweep)}/model") as folder:
            yield folder
        return
    if model.startswith((".", "/", "~")):
        raise ConfigError(f"model folder {model} does not exist")
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        save_folder(Path(scratch), _from_hub(model))
        yield Path(scratch)


def _cell_of(root: Storage, sweep: str, cell: str) -> Job:
    jobs = []
    for identity in root.list(f"{sweep}/cells"):
        if root.exists(f"{sweep}/cells/{identity}/model/trained.json"):
            jobs.append(Job.from_json(root.read(f"{sweep}/cells/{identity}/cell.json").decode()))
    if not jobs:
        raise ConfigError(f"sweep {sweep!r} in {root.url} has no trained cell yet")
    return find_job(jobs, cell)


def _from_hub(model: str) -> LoadedModel:
    limits = {"max_query_tokens": 96, "max_passage_tokens": 256}
    return load_start(ModelConfig(hub=model, **limits), seed=0)
