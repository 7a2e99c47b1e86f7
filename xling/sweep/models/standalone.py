"""``xling evaluate``: models on data sets, without launching a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from xling.config.labels import make_unique
from xling.config.schema import DatasetConfig, EvaluationConfig
from xling.data import registry
from xling.data.records import RetrievalSet
from xling.data.selected import select_pairs
from xling.data.tokenize import tokenize_retrieval
from xling.errors import ConfigError
from xling.evaluate.pairs import EmbeddingHome, Progress, evaluate_model
from xling.evaluate.result import EvaluationResult
from xling.languages import LangPair
from xling.model.source import load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.report.bias import bias_grids, nearest_languages
from xling.report.notes import search_note, used_note
from xling.report.tables import as_rich, matrix, scores
from xling.storage import Storage
from xling.sweep.models.sources import model_sources
from xling.sweep.placing.cluster import is_started_here, ray_cluster
from xling.train.inputs import trained_languages

_OPTIONS = {"titles": "title"}  # fields whose option has another name


def evaluate_models(
    model: str,
    datasets: Sequence[DatasetConfig],
    pairs: Sequence[LangPair],
    settings: EvaluationConfig,
    storage: str,
    console: Console,
    *,
    address: str | None,
    workers: int,
    gpus: float,
    run_files: Path | None,
    out: Path | None,
    as_json: bool,
    trust_remote_code: bool = False,
) -> None:
    """Score each model that ``model`` names on each data set, and print what comes out.

    Several results go to folders of their own below ``out`` and ``run_files``, ``<model>/<data set>``; of data sets
    with one name the later are numbered. Tokens, and embeddings until a set is scored, lie below ``storage``: an
    evaluation that was killed goes on from there.

    Args:
        gpus: of a task that encodes.

    Raises:
        ConfigError, DataError, CheckpointError: for what is wrong with the arguments.
    """
    sets = [_load(dataset, pairs) for dataset in datasets]
    set_names = make_unique([retrieval.name for retrieval in sets])
    root = Storage(storage)
    sources = model_sources(model, root, trust_remote_code)
    several = len(sources) * len(sets) > 1
    results = []
    with ray_cluster(address):
        for name, source in sources.items():
            with source.folder() as folder:
                model_url = source.for_tasks(folder, root, here=is_started_here(address))
                for set_name, retrieval in zip(set_names, sets, strict=True):
                    below = f"{name}/{set_name}" if several else ""
                    runs = Storage(str(run_files / below)) if run_files is not None else None
                    with progress_bar(console, f"{name} on {set_name}", as_json) as tell:
                        result = _score(
                            root, folder, model_url, retrieval, settings, workers, gpus, runs, tell, trust_remote_code
                        )
                    if out is not None:
                        result.save(Storage(str(out / below)))
                    results.append((name, result))
                    if not as_json:
                        _show(name, set_name, result, console)
    if as_json:
        console.print_json(json.dumps({"results": [{"model": name, **result.to_json()} for name, result in results]}))


def _load(dataset: DatasetConfig, pairs: Sequence[LangPair]) -> RetrievalSet:
    problems = registry.problems(dataset, "evaluate")
    if problems:
        options = _OPTIONS | ({"languages": "pairs"} if pairs else {})
        raise ConfigError([f"--{options.get(field, field)} {text}" for field, text in problems])
    retrieval = registry.get(dataset.dataset).load_evaluation(dataset)
    return select_pairs(retrieval, pairs) if pairs else retrieval


def _score(
    root: Storage,
    folder: Path,
    model_url: str,
    retrieval: RetrievalSet,
    settings: EvaluationConfig,
    workers: int,
    gpus: float,
    runs: Storage | None,
    tell: Callable[[Progress], None],
    trust_remote_code: bool,
) -> EvaluationResult:
    loaded = load_folder(folder, trust_remote_code=trust_remote_code)
    tokens = tokenize_retrieval(root, loaded.tokenizer, tokenizer_digest(loaded.tokenizer), retrieval, loaded.settings)
    home = EmbeddingHome.of(root, folder, loaded)
    result = evaluate_model(
        model_url,
        retrieval,
        tokens,
        settings,
        max_tasks=workers,
        gpus_per_task=gpus,
        home=home,
        run_folder=runs,
        progress=tell,
        trust_remote_code=trust_remote_code,
    )
    return replace(result, trained_languages=trained_languages(Storage(str(folder))))


@contextmanager
def progress_bar(console: Console, title: str, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """Bars of the stages of an evaluation, or of another search, while the block runs."""
    with Bar(console=console, transient=True, disable=as_json) as bar:
        tasks = {stage: bar.add_task(f"{title}: {stage} …", total=None) for stage in ("encode", "score")}
        yield lambda progress: bar.update(tasks[progress.stage], completed=progress.done, total=progress.total)


def _show(model: str, set_name: str, result: EvaluationResult, console: Console) -> None:
    console.print(as_rich(scores(result.headline), f"{model} on {set_name}", lead=1))
    console.print()
    leading = result.measures[0]
    pairs = matrix(result.pair_values[leading], result.languages)
    console.print(as_rich(pairs, f"{leading} (query down, passage across)", lead=1))
    for note in (search_note([result.headline]), used_note(result)):
        if note is not None:
            console.print(f"\n{note}", soft_wrap=True)
    nearest = nearest_languages(result)
    if nearest is not None:
        console.print()
        title = "Language bias: the ten nearest passages of the pool by language (query down)"
        console.print(as_rich(nearest, title, lead=1))
    for title, grid in bias_grids(model, result, result.trained_languages or ()):
        console.print()
        console.print(as_rich(grid, title, lead=2 if grid[0][1] == "passage" else 1))
