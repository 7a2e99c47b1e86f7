"""``xling export``: a trained model as a folder for sentence-transformers and transformers, with its card."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from xling.config import presets
from xling.data import registry
from xling.errors import ConfigError
from xling.evaluate.result import SUMMARY, EvaluationResult
from xling.model.source import LoadedModel, load_folder, save_folder
from xling.report.model_card import CardFacts, model_card
from xling.report.tables import number
from xling.sizes import size_text
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.jobs import Job
from xling.sweep.models.sources import ModelSource, single_source
from xling.train.trained import MODEL_MARKER, about_model, trained_languages

CARD = "README.md"
_OURS = "xling.json"  # what every folder of ours holds
_MARKER = MODEL_MARKER.rpartition("/")[2]


def export_model(
    model: str,
    target: Path,
    storage: str,
    console: Console,
    *,
    force: bool,
    as_json: bool,
    trust_remote_code: bool = False,
) -> None:
    """Write the model to ``target``, which appears whole or not at all.

    Args:
        force: replace a folder that an earlier export wrote.

    Raises:
        ConfigError, CheckpointError: for what is wrong with the arguments.
    """
    target = target.expanduser().absolute()
    _require_free(target, force)
    name, source = single_source(model, Storage(storage), trust_remote_code, argument="MODEL")
    with source.folder() as folder:
        loaded = load_folder(folder, trust_remote_code=trust_remote_code)
        facts = card_facts(target.name, loaded, source, trained_languages(Storage(str(folder))) or ())
        with _appearing(target) as scratch:
            save_folder(scratch, loaded)
            (scratch / CARD).write_text(model_card(facts), encoding="utf-8")
            if (folder / _MARKER).is_file():  # tells an evaluation which languages the model has seen
                shutil.copyfile(folder / _MARKER, scratch / _MARKER)
            files = sorted(file for file in scratch.rglob("*") if file.is_file())
            for file in files:  # safetensors writes files that nobody else may read
                file.chmod((scratch / CARD).stat().st_mode)
            size = sum(file.stat().st_size for file in files)
    if as_json:
        console.print_json(json.dumps({"model": name, "folder": str(target), "files": len(files), "bytes": size}))
        return
    console.print(f"{name} is in {target}: {len(files)} files, {size_text(size)}", soft_wrap=True)
    console.print(f"How it was trained, what it scores and how to use it: {target / CARD}", soft_wrap=True)


def card_facts(name: str, loaded: LoadedModel, source: ModelSource, languages: tuple[str, ...]) -> CardFacts:
    """What is known of a model: of a sweep's cell all that its folder holds, else what the model itself shows."""
    encoder = loaded.encoder
    facts = CardFacts(
        name,
        loaded.settings,
        encoder.dimension,
        encoder.parameters_total,
        languages,
        has_projection=encoder.projection is not None,
    )
    if source.job is None or source.cell is None:
        return facts
    job, cell = source.job, source.cell
    attempts = CellFolder(cell).attempts()
    return replace(
        facts,
        base_model=_hub_id(job),
        training=_training(job, cell, loaded),
        results=[
            EvaluationResult.load_means(cell.child(f"eval/{evaluation.id}"))
            for evaluation in job.evaluations
            if cell.exists(f"eval/{evaluation.id}/{SUMMARY}")
        ],
        licences=list(_licences(job)),
        versions=attempts[-1]["versions"] if attempts else {},
    )


def _training(job: Job, cell: Storage, loaded: LoadedModel) -> Mapping[str, str]:
    config, about, settings = job.config, about_model(cell), loaded.settings
    rows = {"cell": f"{job.label}, id {job.id}", "size": job.size, "weights before training": job.weights}
    limits = f"{settings.max_query_tokens}, {settings.max_passage_tokens}"
    rows |= {"pooling": settings.pooling, "query, passage tokens": limits}
    if (warm := config.model.warm_start) is not None:
        rows["warm start"] = f"{warm.steps} steps on parallel names, batch {warm.batch_size}, seed {warm.seed}"
    if job.kind != "cell":
        return {**rows, "fine-tuning": "none: these are the weights that its size starts from"}
    train, dev = config.train, about.get("dev")
    rows |= {
        "training data": f"{config.data.training_name}, fingerprint {job.training}",
        "alpha": f"{job.schedule or format(job.alpha, 'g')}, the share of batches in one language",
        "seed": str(config.seed),
        "steps": f"{about['step']} of {about['total_steps']}",
        "batch": f"{train.batch_size} pairs, each query against {train.negatives:,} negatives at most",
        "peak learning rate, temperature": f"{train.lr:g}, {train.temperature:g}",
        "kept": "the weights best on dev" if train.keep == "best" else "the last step's weights",
    }
    if dev is not None:
        rows[train.measure.title] = number(dev, 3)
    return rows


def _hub_id(job: Job) -> str:
    kind, _, rest = job.weights.partition(":")
    return rest.rpartition("@")[0] if kind == "hub" else ""


def _licences(job: Job) -> Iterator[tuple[str, str]]:
    """Of the base model, where there is one, and of the data trained on."""
    hub_id = _hub_id(job)
    known = {
        preset.hub: preset.licence
        for preset in map(presets.get, presets.names())
        if isinstance(preset, presets.HubPreset)
    }
    if hub_id:
        yield f"base model {hub_id}", known.get(hub_id, "")
    elif job.weights.startswith("path:"):
        yield "base model, a folder of the user's", ""
    if job.kind == "cell" or job.warm is not None:
        for entry in job.config.data.training_sets:
            yield f"training data {entry.dataset}", registry.get(entry.dataset).licence


def _require_free(target: Path, force: bool) -> None:
    """Raise ConfigError where something is that must not go."""
    if target.exists() and not target.is_dir():
        raise ConfigError(f"DIR is {target}, a file, must be a folder that does not exist or is empty; name another")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not force:
        raise ConfigError(
            f"DIR is {target}, which holds files, must not exist or be empty; name another, or give --force to replace "
            "what an earlier export wrote there"
        )
    if not (target / _OURS).is_file() or (target / ".git").exists():
        raise ConfigError(
            f"DIR is {target}, which is no folder that `xling export` wrote, and --force replaces only such; name "
            "another, or empty it yourself"
        )


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that takes its name when the block has filled it, and goes when it has not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch, old = (target.with_name(f".{target.name}-{uuid.uuid4().hex[:12]}") for _ in range(2))
    scratch.mkdir()
    try:
        yield scratch
        if target.is_dir():
            os.rename(target, old)
        os.rename(scratch, target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
