"""``xling mine``: hard negatives for training data, found with a trained encoder."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.config.schema import EvaluationConfig, TrainingEntry
from xling.data import registry
from xling.data.merge import set_names
from xling.data.mined_file import write_mined
from xling.data.records import TrainingSet
from xling.data.tokenize import tokenize_retrieval
from xling.errors import ConfigError, DataError
from xling.evaluate.blocks import model_at, token_total
from xling.evaluate.pairs import EmbeddingHome, Report, task_count
from xling.evaluate.search.place import Cluster
from xling.languages import LangPair, all_pairs
from xling.mine.candidates import candidates_of
from xling.mine.choose import Counts, Rule
from xling.mine.miner import mine
from xling.model.source import load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.report.tables import as_rich
from xling.storage import Storage
from xling.sweep.models.sources import single_source
from xling.sweep.models.standalone import progress_bar
from xling.sweep.placing.cluster import is_started_here, ray_cluster

VERSIONS = ("xling", "torch", "transformers", "tokenizers", "faiss-cpu", "numpy")  # that the manifest records
_COLUMNS = {  # by field of the counts: its heading, and what it says
    "questions": ("asked", "questions whose item has a passage in the language searched"),
    "full": ("full", "got as many negatives as asked for"),
    "few": ("few", "got fewer"),
    "none": ("none", "got none"),
    "negatives": ("negatives", "all that were found"),
    "equal": ("equal", "candidates left out: the item's passage, or equal to it in some language"),
    "article": ("article", "candidates left out: of the item's article"),
    "near": ("near", "candidates within the ranks left out by margin or share"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: which pairs, by what rule, how deep."""

    is_cross: bool | None  # passages in the other languages, in the question's own, or as the pairs say
    pairs: tuple[LangPair, ...]
    rule: Rule
    deepest: int

    def __post_init__(self) -> None:
        """Raises ConfigError for what contradicts itself."""
        rule, problems = self.rule, []
        if self.is_cross is not None and self.pairs:
            problems.append("--within and --pairs exclude each other: the pairs say which languages are searched")
        if not 1 <= rule.first <= rule.last:
            problems.append(f"--ranks is {rule.first}-{rule.last}, must rise from 1 on, as in 10-100")
        elif rule.per_question > rule.last - rule.first + 1:
            problems.append(
                f"--per-question is {rule.per_question}, must be at most the {rule.last - rule.first + 1} of --ranks; "
                "lower it, or widen them"
            )
        if self.deepest < rule.last:
            problems.append(f"--depth is {self.deepest}, must be at least the last of --ranks, {rule.last}; raise it")
        if rule.max_share is not None and not 0 < rule.max_share <= 1:
            problems.append(f"--max-share is {rule.max_share:g}, must be above 0 and at most 1")
        if rule.margin is not None and not 0 <= rule.margin <= 2:
            problems.append(f"--margin is {rule.margin:g}, must be within 0..2, which cosines can differ by")
        if problems:
            raise ConfigError(problems)

    def pairs_of(self, training: TrainingSet) -> list[LangPair]:
        """The pairs to mine for. Raises ConfigError: a language is unknown, or there is no pair."""
        for code in dict.fromkeys(code for pair in self.pairs for code in (pair.query, pair.passage)):
            if code not in training.languages:
                raise ConfigError(f"--pairs {registry.unknown(code, training.languages)}")
        if self.pairs:
            return list(self.pairs)
        together = {pair for item in training.items for pair in all_pairs(item.texts)}
        wanted = [
            pair
            for pair in all_pairs(training.languages)
            if pair in together and pair.is_monolingual != bool(self.is_cross)
        ]
        if not wanted:
            raise ConfigError(f"--within is X-Y, but no item of {training.name} is in two languages; use X-X")
        return wanted


def sweep_entries(loaded: LoadedSweep) -> list[TrainingEntry]:
    """The training sets of a sweep's cells, which must all have the same. Raises ConfigError."""
    found = {
        tuple(entry.model_copy(update={"weight": 1.0, "mined": None}) for entry in cell.config.data.training_sets)
        for cell in loaded.cells
    }
    if len(found) > 1:
        raise ConfigError(f"{loaded.source}: its cells train on {len(found)} different data; name a data set instead")
    (entries,) = found
    return list(entries)


def mine_sets(
    entries: Sequence[TrainingEntry],
    model: str,
    request: Request,
    settings: EvaluationConfig,
    storage: str,
    out: Path,
    console: Console,
    *,
    address: str | None,
    workers: int,
    gpus: float,
    as_json: bool,
    trust_remote_code: bool = False,
) -> None:
    """Mine for each training set with the model, write what is found, and print the counts.

    Of several sets each gets a folder of its own below ``out``, by its name.

    Raises:
        ConfigError, DataError, CheckpointError: for what is wrong with the arguments.
    """
    root = Storage(storage)
    name, source = single_source(model, root, trust_remote_code, argument="--model")
    names = set_names(entries)
    trainings = [_load(entry) for entry in entries]
    pairs = [request.pairs_of(training) for training in trainings]
    results = []
    with ExitStack() as stack:
        folder = stack.enter_context(source.folder())
        stack.enter_context(ray_cluster(address))
        model_url = source.for_tasks(folder, root, here=is_started_here(address))
        for set_name, training, wanted in zip(names, trainings, pairs, strict=True):
            target = out / set_name if len(entries) > 1 else out
            with progress_bar(console, f"{name} on {training.name}", as_json) as tell:
                about = _mine(
                    root,
                    folder,
                    model_url,
                    name,
                    trust_remote_code,
                    training,
                    wanted,
                    request,
                    settings,
                    target,
                    workers,
                    gpus,
                    tell,
                )
            results.append({"out": str(target), **about})
            if not as_json:
                _show(about, target, console)
    if as_json:
        console.print_json(json.dumps(results[0] if len(results) == 1 else results))


def _load(entry: TrainingEntry) -> TrainingSet:
    problems = registry.problems(entry, "train")
    if problems:
        raise ConfigError([f"--{_option(field)} {text}" for field, text in problems])
    return registry.get(entry.dataset).load_training(entry)


def _option(field: str) -> str:
    return {"titles": "title"}.get(field, field).replace("_", "-")


def _mine(
    root: Storage,
    folder: Path,
    model_url: str,
    model: str,
    trust_remote_code: bool,
    training: TrainingSet,
    pairs: list[LangPair],
    request: Request,
    settings: EvaluationConfig,
    out: Path,
    workers: int,
    gpus: float,
    tell: Report,
) -> dict[str, Any]:
    """Mine for one set and write what is found; the manifest's entries."""
    loaded = load_folder(folder, trust_remote_code=trust_remote_code)
    candidates = candidates_of(training, pairs)
    digest = tokenizer_digest(loaded.tokenizer)
    tokens = tokenize_retrieval(root, loaded.tokenizer, digest, candidates.retrieval, loaded.settings)
    home = EmbeddingHome.of(root, folder, loaded)
    store = home.store(settings, settings.embedding_dtype, on_gpu=gpus > 0)
    place = Cluster(1, gpus)
    found = mine(
        candidates,
        pairs,
        request.rule,
        tokens,
        settings,
        place,
        store,
        partial(model_at, Storage(model_url).url, uuid.uuid4().hex, trust_remote_code),
        deepest=request.deepest,
        tasks=task_count(token_total(tokens), workers, place.room()),
        tell=tell,
    )
    if not any(counts.negatives for counts in found.counts.values()):
        raise DataError(
            f"{training.name}: no question has a negative within ranks {request.rule.first}-{request.rule.last} that "
            "margin and share allow; widen --ranks, or lower --margin or raise --max-share"
        )
    about = {
        "training": {"name": training.name, "fingerprint": training.fingerprint, "languages": training.languages},
        "model": {"name": model, "weights": home.weights},
        "settings": _settings(request, settings, gpus),
        "counts": {str(pair): asdict(counts) for pair, counts in found.counts.items()},
        "versions": {package: version(package) for package in VERSIONS},
    }
    write_mined(Storage(str(out)), found.lines(), about)
    found.parts.clear()
    if not settings.keep_embeddings:
        store.clear()
    return about


def _settings(request: Request, settings: EvaluationConfig, gpus: float) -> dict[str, Any]:
    """What the negatives depend on beside the model and the data."""
    searched = settings.model_dump(include={"batch_size", "batch_tokens", "embedding_dtype", "index"})
    return {**asdict(request.rule), "depth": request.deepest, "on_gpu": gpus > 0, **searched}


def _show(about: Mapping[str, Any], out: Path, console: Console) -> None:
    counts = {name: Counts(**of) for name, of in about["counts"].items()}
    total = sum(counts.values(), Counts())
    columns = {field: of for field, of in _COLUMNS.items() if field != "article" or total.article}
    rows = {**counts, "all": total} if len(counts) > 1 else counts
    body = [[name, *(f"{getattr(of, field):,}" for field in columns)] for name, of in rows.items()]
    title = f"Hard negatives for {about['training']['name']}, by {about['model']['name']}"
    console.print(as_rich((["pair", *(heading for heading, _ in columns.values())], body), title, lead=1))
    for heading, meaning in columns.values():
        console.print(f"  {heading:9s} {meaning}")
    console.print(f"Written to {out}; train with `mined: {out}` beside the data set", soft_wrap=True)
