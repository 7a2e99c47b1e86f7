"""What a sweep has to do: its cells, the warm starts they begin from, and their baselines.

A *baseline* is a cell of zero steps: the scores of the weights that a size starts from. A *warm
start* is trained once and shared; it lies beside the sweeps, ``<storage>/warm/<id>``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from xling.batching.negatives import require_negatives
from xling.batching.pairs import pairs_by_kind
from xling.config.grid import Cell, alpha_of, size_of
from xling.config.identity import comparison_group, eval_id, train_id, warm_id
from xling.config.labels import make_unique
from xling.config.schema import (
    BudgetConfig,
    CellConfig,
    DataConfig,
    DatasetConfig,
    MixConfig,
    TrainConfig,
    TrainingEntry,
)
from xling.data import registry
from xling.data.merge import load_dev, load_training
from xling.data.overlap import Overlap, find_overlap, overlap_message
from xling.data.records import RetrievalSet, TrainingSet
from xling.errors import DataError
from xling.model.digest import weights_digest
from xling.stored_json import checker

Kind = Literal["warm", "baseline", "cell"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One retrieval set to score, below ``eval/<id>`` of a cell."""

    id: str
    dataset: str  # its name in tables and metrics
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work on the cluster; what a driver needs to know, as JSON."""

    kind: Kind
    id: str
    label: str
    size: str
    alpha: float  # of a schedule, its mean over the budget
    config: CellConfig
    training: str  # fingerprint of the training set, or of its names for a warm start
    texts: str  # fingerprint of the training set without mined negatives: a built preset's tokenizer goes by it
    weights: str  # digest of the weights before any training of ours
    dev: str = ""  # fingerprint of the dev set
    warm: str | None = None  # id of the warm start it begins from
    evaluations: tuple[Evaluation, ...] = ()
    variant: str = ""  # what else the grid varies, beside size, alpha and seed, as its label says it
    axes: dict[str, object] = field(default_factory=dict)
    group: str = ""  # of the cells that early stopping compares it with; empty without
    schedule: str = ""  # of alpha, as tables spell it; empty where it is constant

    @property
    def row_size(self) -> str:
        """Its size as rows of tables have it: with what else the grid varies."""
        return f"{self.size} {self.variant}".rstrip()

    @property
    def start(self) -> tuple[str, str | None, str]:
        """The weights before training, by what tells them apart in a sweep; tokenizers are learnt from texts."""
        return self.size, self.warm, self.texts

    def folder(self, sweep: str) -> str:
        """Where its files are, below the storage's root."""
        return f"warm/{self.id}" if self.kind == "warm" else f"{sweep}/cells/{self.id}"

    def to_json(self) -> str:
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("config", "evaluations")}
        values["config"] = self.config.model_dump(mode="json")
        values["evaluations"] = [[e.id, e.dataset, e.fingerprint] for e in self.evaluations]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        entries = [dict(zip(Evaluation.__slots__, entry, strict=False)) for entry in values["evaluations"]]
        return cast(Job, checker(cls).validate_python({**values, "evaluations": entries}))


@dataclass(frozen=True)
class Study:
    """A sweep's jobs with the data they read, loaded in this process."""

    cells: tuple[Job, ...]
    baselines: tuple[Job, ...]
    warm: tuple[Job, ...]
    trainings: dict[str, TrainingSet]  # by fingerprint
    retrievals: dict[str, RetrievalSet]  # dev and evaluation sets, by fingerprint
    overlaps: tuple[tuple[str, Overlap], ...]  # by the evaluation set's name, where there is any

    def training_of(self, job: Job) -> TrainingSet:
        """The set whose items, or for a warm start whose names, a job trains on."""
        return next(
            found
            for found in self.trainings.values()
            if found.texts == job.texts and job.training in (found.fingerprint, found.names_fingerprint)
        )

    @property
    def warm_by_id(self) -> dict[str, Job]:
        return {job.id: job for job in self.warm}

    @property
    def scored(self) -> tuple[Job, ...]:
        """The jobs with results: baselines and cells."""
        return self.baselines + self.cells


class _Data:
    """Loads each data set once."""

    def __init__(self) -> None:
        self._trainings: dict[str, TrainingSet] = {}
        self._retrievals: dict[tuple[str, str], RetrievalSet] = {}

    def training(self, config: DataConfig) -> TrainingSet:
        key = _without_weights(config.training_sets)
        if key not in self._trainings:
            self._trainings[key] = load_training(config.training_sets)
        return self._trainings[key]

    def dev(self, config: DataConfig) -> RetrievalSet:
        key = ("dev", _without_weights(config.training_sets))
        if key not in self._retrievals:
            self._retrievals[key] = load_dev(config.training_sets)
        return self._retrievals[key]

    def evaluation(self, config: DatasetConfig) -> RetrievalSet:
        key = ("evaluation", config.model_dump_json())
        if key not in self._retrievals:
            self._retrievals[key] = registry.get(config.dataset).load_evaluation(config)
        return self._retrievals[key]


def _without_weights(entries: Sequence[TrainingEntry]) -> str:
    """What decides the content of the sets together."""
    return "\n".join(entry.model_dump_json(exclude={"weight"}) for entry in entries)


def build_study(cells: Sequence[Cell]) -> Study:
    """Load the data that the cells name, check the zero-shot claim, and give every job its id.

    Raises:
        DataError: files are missing or wrong, or a claim of zero-shot does not hold.
    """
    data = _Data()
    overlaps = _check_claims(data, cells)
    jobs = [_cell_job(data, cell) for cell in cells]
    trainings = {(s := data.training(cell.config.data)).fingerprint: s for cell in cells}
    retrievals = {}
    for cell in cells:
        dev = data.dev(cell.config.data)
        scored = [data.evaluation(config) for config in cell.config.data.evaluate]
        retrievals.update({found.fingerprint: found for found in (dev, *scored)})
    return Study(
        cells=tuple(jobs),
        baselines=tuple(_first_by(lambda job: job.start, map(_baseline_job, jobs))),
        warm=tuple(_first_by(lambda job: job.id, (_warm_job(data, job) for job in jobs if job.warm))),
        trainings=trainings,
        retrievals=retrievals,
        overlaps=overlaps,
    )


def _cell_job(data: _Data, cell: Cell) -> Job:
    config = cell.config
    training = data.training(config.data)
    pairs_by_kind(config.mix, training.languages)  # refuses pairs that the data cannot have, before anything is trained
    require_negatives(config.train.hard_negatives, len(training.negatives))
    if config.model.warm_start is not None and not training.names:
        raise DataError(
            f"model.warm_start needs a data set with parallel names, {config.data.training_name!r} has none; "
            "remove it, or train on one that has them (geo)"
        )
    digest = weights_digest(config.model)
    warm = None
    if config.model.warm_start is not None:
        warm = warm_id(
            config.model,
            weights_digest=digest,
            names_fingerprint=training.names_fingerprint,
            training_fingerprint=training.texts,
        )
    identity = train_id(config, training_fingerprint=training.fingerprint, weights_digest=digest, warm_id=warm)
    dev = data.dev(config.data).fingerprint
    group = comparison_group(
        config,
        cell.tuned,
        training_fingerprint=training.fingerprint,
        weights_digest=digest,
        warm_id=warm,
        dev_fingerprint=dev,
    )
    return Job(
        kind="cell",
        id=identity,
        label=cell.label,
        size=size_of(cell),
        alpha=alpha_of(cell),
        config=config,
        training=training.fingerprint,
        texts=training.texts,
        weights=digest,
        dev=dev,
        warm=warm,
        evaluations=_evaluations(data, config, identity),
        variant=variant_of(cell),
        axes=dict(cell.axes),
        group=group if cell.tuned else "",
        schedule=config.mix.schedule,
    )


def variant_of(cell: Cell) -> str:
    usual = {size_of(cell), f"a{cell.config.mix.schedule or format(alpha_of(cell), 'g')}", f"s{cell.config.seed}"}
    return " ".join(part for part in cell.label.split("/") if part not in usual)


def _evaluations(data: _Data, config: CellConfig, identity: str) -> tuple[Evaluation, ...]:
    named = [(data.evaluation(entry).fingerprint, name) for entry, name in _named(config.data.evaluate)]
    return tuple(Evaluation(eval_id(identity, found, config.evaluation), name, found) for found, name in named)


def _named(entries: Sequence[DatasetConfig]) -> list[tuple[DatasetConfig, str]]:
    """Each entry with its name in tables and metrics; the same set again, say with other titles, is numbered."""
    names = [entry.dataset if entry.split is None else f"{entry.dataset}-{entry.split}" for entry in entries]
    return list(zip(entries, make_unique(names), strict=True))


def _baseline_job(cell: Job) -> Job:
    train = TrainConfig(budget=BudgetConfig(steps=0), batch_size=cell.config.train.batch_size)
    config = cell.config.model_copy(update={"train": train, "mix": MixConfig(), "data": _unweighted(cell.config.data)})
    identity = train_id(config, training_fingerprint=cell.texts, weights_digest=cell.weights, warm_id=cell.warm)
    evaluations = tuple(
        Evaluation(eval_id(identity, e.fingerprint, config.evaluation), e.dataset, e.fingerprint)
        for e in cell.evaluations
    )
    return Job(
        kind="baseline",
        id=identity,
        label=f"{cell.size}/start",
        size=cell.size,
        alpha=float("nan"),
        config=config,
        training=cell.training,
        texts=cell.texts,
        weights=cell.weights,
        dev=cell.dev,
        warm=cell.warm,
        evaluations=evaluations,
    )


def _unweighted(config: DataConfig) -> DataConfig:
    """Without weights, which nothing that is not trained depends on."""
    if not isinstance(config.train, tuple):
        return config
    return config.model_copy(update={"train": tuple(e.model_copy(update={"weight": 1.0}) for e in config.train)})


def _warm_job(data: _Data, cell: Job) -> Job:
    warm = cell.config.model.warm_start
    assert warm is not None
    assert cell.warm is not None
    mix = MixConfig(monolingual=0.0, cross_lingual=1.0, cross_lingual_by="example")
    train = TrainConfig(batch_size=warm.batch_size, budget=BudgetConfig(steps=warm.steps), lr=warm.lr)
    config = cell.config.model_copy(update={"mix": mix, "train": train, "seed": warm.seed})
    return Job(
        kind="warm",
        id=cell.warm,
        label=f"{cell.size}/warm",
        size=cell.size,
        alpha=float("nan"),
        config=config,
        training=data.training(cell.config.data).names_fingerprint,
        texts=cell.texts,
        weights=cell.weights,
    )


def _first_by(key: Callable[[Job], object], jobs: Iterable[Job]) -> list[Job]:
    seen: dict[object, Job] = {}
    for job in jobs:
        seen.setdefault(key(job), job)
    return list(seen.values())


def _check_claims(data: _Data, cells: Sequence[Cell]) -> tuple[tuple[str, Overlap], ...]:
    """Hold every zero-shot claim against the training data; overlaps that were allowed are returned."""
    allowed: dict[str, Overlap] = {}
    problems: list[str] = []
    for config in {cell.config.data.model_dump_json(): cell.config.data for cell in cells}.values():
        for entry, name in _named(config.evaluate):
            training, evaluation = data.training(config), data.evaluation(entry)
            overlap = find_overlap(training, evaluation)
            if not overlap.any:
                continue
            allowed[name] = overlap
            if config.zero_shot and not config.allow_overlap:
                problems.append(overlap_message(training, evaluation, overlap))
    if problems:
        raise DataError("\n".join(problems))
    return tuple(allowed.items())
