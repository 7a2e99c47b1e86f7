"""A sweep in small, for ``--dry-run``: one cell a model, two steps, made-up texts, random weights, no network.

What a file configures is kept wherever it costs nothing: mix, prefixes, pooling, optimiser, loss, measures, indexes.
What is left out is told by :func:`xling.sweep.launching.dry_run.dry_run`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from xling.config import presets
from xling.config.grid import Cell, size_of
from xling.config.load import LoadedSweep
from xling.config.schema import (
    BudgetConfig,
    CellConfig,
    DatasetConfig,
    EvaluationConfig,
    ModelConfig,
    ResourcesConfig,
    TrackingConfig,
    TrainConfig,
    WarmStartConfig,
)
from xling.data.samples import SAMPLES
from xling.sweep.registered import check_registered

STEPS = 2
BATCH = 4  # pairs; every sample has as many in some language
LAYERS = 2
TOKENS = 32
STAND_IN = "mini"  # for a folder or a hub's model that is no preset: only its files say what it is


def check_names(config: CellConfig) -> Iterable[tuple[str, str]]:
    """What :func:`check_registered` finds without looking for files: no data need be there."""
    several = isinstance(config.data.train, tuple)
    train = tuple(entry.model_copy(update={"path": None}) for entry in config.data.training_sets)
    evaluate = tuple(entry.model_copy(update={"path": None}) for entry in config.data.evaluate)
    data = config.data.model_copy(update={"train": train if several else train[0], "evaluate": evaluate})
    found = check_registered(config.model_copy(update={"data": data}))
    return ((path, text) for path, text in found if not path.endswith(".path"))


def in_small(loaded: LoadedSweep, folder: Path) -> LoadedSweep:
    """The first cell of each model, cut down, with all it reads and writes below ``folder``.

    A cell's seed is its number, so that no two are the same once they are cut down.

    Args:
        loaded: a sweep whose paths may lead nowhere.
        folder: an empty folder; the samples are written into it.
    """
    samples = _Samples(folder / "data")
    first: dict[str, Cell] = {}
    for cell in loaded.cells:
        first.setdefault(size_of(cell), cell)
    cells = tuple(
        replace(cell, label=name, axes={}, tuned=(), config=_small(cell.config, samples, seed))
        for seed, (name, cell) in enumerate(first.items())
    )
    tracking = TrackingConfig(log_models="none")
    kept = {"storage": str(folder / "runs"), "min_free_space": "0GiB"}  # some megabytes, and they go
    wide = {**kept, "tracking": tracking, "early_stopping": None, "retries": 0}
    return replace(loaded, config=loaded.config.model_copy(update=wide), cells=cells)


def stands_in(model: ModelConfig) -> bool:
    """Whether a model is replaced by another, as nothing but its own files says how it is built."""
    return _preset(model) is None


class _Samples:
    """The data sets of the cells in small, each written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, DatasetConfig] = {}

    def of(self, entry: DatasetConfig) -> DatasetConfig:
        """An entry that reads the sample of its data set; what chooses among the real texts is left out."""
        key = entry.model_dump_json(exclude={"weight"})
        if key not in self._written:
            folder = self._folder / f"{len(self._written)}-{entry.dataset}"
            folder.mkdir(parents=True)
            self._written[key] = SAMPLES[entry.dataset](folder)
        sample = self._written[key]
        # The embedded set is its own sample: two entries of it may differ in languages alone, and must go on to.
        languages = (sample.path is None and entry.languages) or sample.languages
        changes = {"path": sample.path, "languages": languages, "titles": None, "limit": None}
        return entry.model_copy(update=changes)


def _small(config: CellConfig, samples: _Samples, seed: int) -> CellConfig:
    train = tuple(samples.of(entry) for entry in config.data.training_sets)
    data = {
        "train": train if isinstance(config.data.train, tuple) else train[0],
        "evaluate": tuple(samples.of(entry) for entry in config.data.evaluate),
        "allow_overlap": True,  # samples of several sets hold the same facts
    }
    return CellConfig(
        data=config.data.model_copy(update=data),
        model=_small_model(config.model),
        mix=config.mix,
        train=_small_train(config.train),
        seed=seed,
        evaluation=_small_evaluation(config.evaluation),
        resources=ResourcesConfig(hang_timeout=config.resources.hang_timeout),
        retries=0,
    )


def _small_model(model: ModelConfig) -> ModelConfig:
    preset = _preset(model) or presets.get(STAND_IN)
    fresh = isinstance(preset, presets.HubPreset)  # the others are built from nothing anyway
    depth = preset.shape.layers if isinstance(preset, presets.HubPreset) else preset.layers
    warm = model.warm_start and WarmStartConfig(steps=STEPS, batch_size=BATCH, lr=model.warm_start.lr)
    changes = {
        "preset": preset.name,
        "path": None,
        "hub": None,
        "revision": None,
        "init": "random" if fresh else "pretrained",
        "trust_remote_code": False,
        "layers": min(model.layers or LAYERS, LAYERS) if depth > LAYERS else None,
        "max_query_tokens": min(model.max_query_tokens, TOKENS),
        "max_passage_tokens": min(model.max_passage_tokens, TOKENS),
        "warm_start": warm,
    }
    return ModelConfig.model_validate({**dict(model), **changes})


def _preset(model: ModelConfig) -> presets.Preset | None:
    """The preset that a model is, also where the file names it by its id on the hub."""
    return presets.find(model.preset) if model.hub is None else presets.of_hub(model.hub)


def _small_train(train: TrainConfig) -> TrainConfig:
    changes = {
        "batch_size": BATCH,
        "budget": BudgetConfig(steps=STEPS),
        "chunk_size": train.chunk_size and min(train.chunk_size, BATCH // 2),
        "precision": "auto",
        "compile": False,
        "dev_every": train.dev_every and 1,
        "checkpoint_every": 1,
        "report_every": 1,
    }
    return TrainConfig.model_validate({**dict(train), **changes})


def _small_evaluation(evaluation: EvaluationConfig) -> EvaluationConfig:
    sizes = {"batch_size": min(evaluation.batch_size, 8), "batch_tokens": min(evaluation.batch_tokens, 1024)}
    return evaluation.model_copy(update=sizes)
