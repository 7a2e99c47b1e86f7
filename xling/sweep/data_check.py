"""``xling data``: which data sets there are, what one is, and what is in the files that a user names."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.config.schema import DataConfig, DatasetConfig, ModelConfig, TrainingEntry
from xling.data import registry
from xling.data.merge import load_dev, load_training
from xling.data.overlap import find_overlap
from xling.data.records import RetrievalSet, TrainingSet
from xling.data.summary import PERCENTILES, CountTokens, describe_retrieval, describe_training
from xling.errors import ConfigError
from xling.sweep.cell_table import show_cells

OPTION_NAMES = {"titles": "title"}  # fields whose option has another name


def list_sets(console: Console, *, as_json: bool) -> None:
    """Every data set with what it is for."""
    adapters = [registry.get(name) for name in registry.names()]
    if as_json:
        console.print_json(json.dumps([_about(adapter) for adapter in adapters]))
        return
    width = max(len(adapter.name) for adapter in adapters)
    for adapter in adapters:
        use = {(True, True): "train, score", (True, False): "train", (False, True): "score"}
        role = use[adapter.can_train, bool(adapter.splits)]
        console.print(f"{adapter.name:{width}s}  {role:12s}  {adapter.summary}", soft_wrap=True)


def show_set(name: str, console: Console, *, as_json: bool) -> None:
    """Files, licence, languages, options and an example. Raises ConfigError for an unknown name."""
    about = _about(registry.get(name))
    if as_json:
        console.print_json(json.dumps(about))
        return
    console.print(f"{about['name']}: {about['summary']}", soft_wrap=True)
    for title in ("licence", "files", "path", "languages", "options", "splits"):
        value = about[title]
        text = ", ".join(value) if isinstance(value, list) else value
        if text:
            console.print(f"  {title:9s} {text}", soft_wrap=True)
    console.print("\n" + about["example"], soft_wrap=True)


def check_sweep(loaded: LoadedSweep, console: Console, *, rows: int, as_json: bool) -> None:
    """Load all data that a sweep's cells name. Raises DataError for what is wrong with them."""
    data: dict[str, tuple[DataConfig, ModelConfig]] = {}
    for cell in loaded.cells:
        data.setdefault(cell.config.data.model_dump_json(), (cell.config.data, cell.config.model))
    reports = [_check(config, model, rows) for config, model in data.values()]
    _print_reports(reports, console, as_json)


def check_set(config: DatasetConfig, model: str | None, console: Console, *, rows: int, as_json: bool) -> None:
    """Load one data set, for whatever it is good for. Raises ConfigError or DataError for what is wrong.

    A set that can be trained on and scored is checked as what its files are there for; the other is told.
    """
    adapter = registry.get(config.dataset)
    trains, scores = adapter.can_train and config.split is None, bool(adapter.splits)
    training = registry.problems(config, "train") if trains else []
    scoring = registry.problems(config, "evaluate") if scores else []
    absent = []
    if trains and scores and bool(training) != bool(scoring) and {field for field, _ in training + scoring} == {"path"}:
        role = "training data" if training else "a set to score"
        absent = [f"not checked as {role}: {line}" for line in _as_options(training or scoring)]
        trains, scores = not training, not scoring
    elif problems := _as_options(dict.fromkeys(training + scoring)):
        raise ConfigError(problems)
    elif trains and adapter.splits[:1] == ("dev",):  # shown as that of the training data
        scores = False
    entry = TrainingEntry.model_validate(config.model_dump()) if trains else None
    report = _report((entry,) if entry else (), (config,) if scores else (), _model(model), rows)
    report["left_out"] += absent
    _print_reports([report], console, as_json)


def _as_options(problems: Iterable[registry.Problem]) -> list[str]:
    """What is wrong with the fields, told of the options that set them."""
    return [f"--{OPTION_NAMES.get(field, field).replace('_', '-')} {text}" for field, text in problems]


def _check(config: DataConfig, model: ModelConfig, rows: int) -> dict[str, Any]:
    return _report(config.training_sets, config.evaluate, model, rows)


def _report(
    train: Sequence[TrainingEntry], evaluate: Sequence[DatasetConfig], model: ModelConfig | str | None, rows: int
) -> dict[str, Any]:
    """What the sets hold, what they share, and what was left out in reading them."""
    with _notes() as notes:
        training = load_training(train) if train else None
        dev = load_dev(train) if train else None
        scored = [registry.get(entry.dataset).load_evaluation(entry) for entry in evaluate]
        with _token_counter(model, training) as count_tokens:
            sets = [describe_training(training, rows, count_tokens)] if training is not None else []
            sets += [describe_retrieval(dev, "dev", rows, count_tokens)] if dev is not None else []
            sets += [describe_retrieval(retrieval, "evaluation", rows, count_tokens) for retrieval in scored]
        overlaps = {} if training is None else _overlaps(training, scored)
    return {"sets": sets, "overlaps": overlaps, "left_out": notes}


def _overlaps(training: TrainingSet, scored: Sequence[RetrievalSet]) -> dict[str, str]:
    return {retrieval.name: str(find_overlap(training, retrieval)) for retrieval in scored}


@contextmanager
def _notes() -> Iterator[list[str]]:
    """What the data room logs meanwhile: rows and items left out."""
    notes: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    log, handler = logging.getLogger("xling.data"), Keep(logging.WARNING)
    propagates, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield notes
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


@contextmanager
def _token_counter(model: ModelConfig | str | None, training: TrainingSet | None) -> Iterator[CountTokens | None]:
    """Counts by the model's tokenizer; one that is learnt from the training text needs some."""
    if model is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        tokenizer = _tokenizer(model, training, scratch)

        def count(texts: Sequence[str]) -> list[int]:
            return list(map(len, tokenizer(list(texts), verbose=False)["input_ids"])) if texts else []

        yield count


def _tokenizer(model: ModelConfig | str, training: TrainingSet | None, scratch: str) -> Any:
    from xling.model.source import load_folder, load_hub, load_start
    from xling.model.tokenizer import ensure_tokenizer
    from xling.storage import Storage

    if isinstance(model, str):
        folder = Path(model).expanduser()
        return (load_folder(folder) if folder.is_dir() else load_hub(model)).tokenizer
    if not model.learns_tokenizer:
        return load_start(model, seed=0).tokenizer
    if training is None:
        raise ConfigError(f"--model {model.preset} learns its tokenizer from training text, this set has none")
    return ensure_tokenizer(Storage(scratch), training, model.learnt_vocabulary)


def _model(name: str | None) -> ModelConfig | str | None:
    """A preset, or the name of a folder or an id on the hub, whose own token limits hold."""
    if name is None:
        return None
    from xling.config import presets

    if name in presets.names():
        return ModelConfig(preset=name)
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise ConfigError(f"--model is {name!r}, a folder that does not exist; name a preset, a folder or a hub id")
    return name


def _about(adapter: registry.Adapter) -> dict[str, Any]:
    languages = list(adapter.available_languages(DatasetConfig(dataset=adapter.name)))
    return {
        "name": adapter.name,
        "summary": adapter.summary,
        "trains": adapter.can_train,
        "splits": list(adapter.splits),
        "licence": adapter.licence,
        "files": adapter.files,
        "path": adapter.path_needed + (" (without it, the hub)" if adapter.path_optional else ""),
        "languages": languages,
        "options": sorted(adapter.options),
        "example": _example(adapter, languages),
    }


def _example(adapter: registry.Adapter, languages: Sequence[str]) -> str:
    """A piece of a sweep file."""
    given = [f"dataset: {adapter.name}"]
    if adapter.path_needed:
        given.append(f"path: data/{adapter.name}")
    if "languages" in adapter.options:
        given.append(f"languages: [{', '.join(languages[:3]) or 'en, de'}]")
    text = "{" + ", ".join(given) + "}"
    return f"data:\n  train: {text}" if adapter.can_train else f"data:\n  evaluate:\n    - {text}"


def _print_reports(reports: Sequence[dict[str, Any]], console: Console, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(reports[0] if len(reports) == 1 else reports))
        return
    for report in reports:
        for described in report["sets"]:
            _print_set(described, console)
        for name, text in report["overlaps"].items():
            console.print(f"Shared by the training data and {name}: {text}", soft_wrap=True)
        for note in report["left_out"]:
            console.print(f"Left out: {note}", soft_wrap=True)


def _print_set(described: dict[str, Any], console: Console) -> None:
    counted = ("items", "items_in_several_languages", "hard_negatives", "names", "judgements")
    figures = [f"{described[key]:,} {key.replace('_', ' ')}" for key in counted if described.get(key)]
    figures += [f"{name}: {count:,}" for name, count in described.get("sets", {}).items()]
    console.print(f"{described['name']} ({described['role']}): {', '.join(figures)}", soft_wrap=True)
    if described.get("hard_negatives"):
        _print_negatives(described["hard_negatives_a_pair"], console)
    languages = described["languages"]
    counts = {code: [f"{row['items']:,}", f"{row['passages']:,}"] for code, row in languages.items()}
    _print_lengths("characters", languages, counts, console)
    if any("query_tokens" in row for row in languages.values()):
        _print_lengths("tokens", languages, {code: [] for code in languages}, console)
    for row in described["rows"]:
        console.print(f"  {row['id']}  {row.get('article', '')}", soft_wrap=True)
        for code, texts in row.get("texts", {}).items():
            console.print(f"    {code}  {texts['question']}\n        {texts['passage']}", soft_wrap=True)
        if "question" in row:
            console.print(f"    {row['language']}  {row['question']}", soft_wrap=True)
            for passage in row["relevant"]:
                console.print(f"        {passage['language']}  {passage['passage']}", soft_wrap=True)
    console.print()


def _print_negatives(counts: dict[str, dict[str, int]], console: Console) -> None:
    """For each language of passages how many pairs have how many hard negatives."""
    for code, of in counts.items():
        listed = ", ".join(f"{number} in {pairs:,}" for number, pairs in of.items())
        console.print(f"  hard negatives a pair, passages in {code}: {listed}", soft_wrap=True)


def _print_lengths(
    unit: str, languages: dict[str, dict[str, Any]], counts: dict[str, list[str]], console: Console
) -> None:
    """A row a language: its counts, then the lengths of questions and passages at PERCENTILES."""
    counted = ["questions", "passages"] if any(counts.values()) else []
    headings = ["language", *counted, *(f"{unit} of\n{side}" for side in ("a question", "a passage"))]
    rows = [
        [code, *counts[code], *("/".join(map(str, row[f"{side}_{unit}"])) for side in ("query", "passage"))]
        for code, row in languages.items()
    ]
    show_cells(headings, rows, console, right=counted)
    console.print(f"{unit} at {'/'.join(map(str, PERCENTILES))} %")
