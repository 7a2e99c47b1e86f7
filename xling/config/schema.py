"""The sweep file as frozen pydantic models.

A field marked with :func:`identity` is part of a cell's identity: it changes what is trained.
One left unmarked can be changed without training anything again (design decision 1).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from xling import sizes
from xling.config.data_sets import DataConfig as DataConfig
from xling.config.data_sets import DatasetConfig as DatasetConfig
from xling.config.data_sets import TrainingEntry as TrainingEntry
from xling.config.data_sets import first_twins
from xling.config.encoder import ModelConfig as ModelConfig
from xling.config.encoder import WarmStartConfig as WarmStartConfig
from xling.config.evaluation import EvaluationConfig as EvaluationConfig
from xling.config.evaluation import IndexConfig as IndexConfig
from xling.config.mix import MixConfig as MixConfig
from xling.config.mix import PairsConfig as PairsConfig
from xling.config.resources import ResourcesConfig as ResourcesConfig
from xling.config.schedule import ShareSchedule as ShareSchedule
from xling.config.section import MAX_SEED
from xling.config.section import Section as Section
from xling.config.section import identity as identity
from xling.config.training import BudgetConfig as BudgetConfig
from xling.config.training import TrainConfig as TrainConfig


class TrackingConfig(Section):
    """MLflow."""

    uri: str | None = Field(None, description="Tracking server; a SQLite file under the storage folder by default.")
    experiment: str | None = Field(None, description="Experiment's name; the sweep's name by default.")
    system_metrics: bool = Field(
        True, description="Log the load of each trial's machine (processor, memory, disk, network, GPUs) every 10 s."
    )
    log_models: Literal["small", "all", "none"] = Field(
        "small",
        description="Trained models that MLflow keeps a copy of, to be loaded and served from there; small: of at most "
        "16 million parameters.",
    )


class EarlyStoppingConfig(Section):
    """Asynchronous successive halving (ASHA, arXiv 1810.05934) over cells that differ in tuning fields alone."""

    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.25, 0.5), description="Shares of the budget after which a cell is compared with those that were there."
    )
    reduction_factor: int = Field(
        3, ge=2, description="The best 1/reduction_factor of the cells at a milestone so far go on."
    )
    compare_within: tuple[str, ...] | None = Field(
        None,
        description="Paths of the grid in which cells must be equal to be compared; by default those of every entry "
        "that holds more than tuning fields.",
    )

    @field_validator("milestones")
    @classmethod
    def _rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(one >= other for one, other in pairwise(value)):
            raise ValueError(f"is {list(value)}, must be one or more rising shares, as in [0.25, 0.5]")
        return value


class CellConfig(Section):
    """One resolved configuration: what a cell trains and how it is run."""

    data: DataConfig = Field(description="Training and evaluation data.")
    model: ModelConfig = identity("The encoder.")
    mix: MixConfig = identity("How batches are mixed.", default=MixConfig())
    train: TrainConfig = identity("Fine-tuning.", default=TrainConfig())
    seed: int = identity("Seed of the weights, dropout and batches.", default=0, ge=0, le=MAX_SEED)
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="Scoring.")
    resources: ResourcesConfig = Field(ResourcesConfig(), description="What a trial needs.")
    retries: int = Field(2, ge=0, description="Times a failed cell is tried again before it gets further.")

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        need = self.resources.of(self.model)
        sizes = {"train.batch_size": self.train.batch_size}
        if self.model.warm_start is not None:
            sizes["model.warm_start.batch_size"] = self.model.warm_start.batch_size
        for name, size in sizes.items():
            if size % need.workers:
                where = self.resources.where(self.model, "workers")
                raise ValueError(f"{name} is {size}, must divide by {where} ({need.workers})")
        if need.workers > 1 and need.gpus_per_worker % 1:
            where = self.resources.where(self.model, "gpus_per_worker")
            raise ValueError(f"{where} is {need.gpus_per_worker:g}, must be whole with {need.workers} workers: NCCL")
        return self


# What lies in a storage beside its sweeps.
STORAGE_FOLDERS = frozenset(
    {"data", "embeddings", "hub-models", "mlartifacts", "mlflow.db", "tokenizers", "tokens", "warm"}
)

GridAxis = dict[str, tuple[Any, ...]]


class SweepConfig(CellConfig):
    """A whole sweep file: a cell's fields, a name, and the grid over them."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Names the sweep's folder and experiment.",
        json_schema_extra={"rule": "must be letters, digits, '.', '_' and '-', the first a letter or digit"},
    )
    storage: str = Field("runs", description="Folder or URL that holds everything: s3://bucket/prefix, gs://…")
    min_free_space: str = Field(
        "1GiB",
        description="Room that stays free where `storage` is a folder: with less nothing is launched, and what runs "
        "stops in order. 0GiB for no floor.",
    )
    grid: tuple[GridAxis, ...] = Field(
        (), description="Axes, multiplied with each other; the paths within one axis are linked, value by value."
    )
    tracking: TrackingConfig = Field(TrackingConfig(), description="MLflow.")
    early_stopping: EarlyStoppingConfig | None = Field(
        None,
        description="Stop cells early that do worse than others which differ in tuning fields (ASHA); none by default.",
    )

    @property
    def min_free_bytes(self) -> int:
        return sizes.in_bytes(self.min_free_space)

    @field_validator("min_free_space")
    @classmethod
    def _a_size(cls, value: str) -> str:
        return sizes.one_spelling(value)

    # Of a file that is launched, not of a CellConfig: cells that were stored must stay readable. And a dry run's
    # samples may be equal where the sets are not.
    @field_validator("data")
    @classmethod
    def _each_set_is_scored_once(cls, data: DataConfig) -> DataConfig:
        if same := first_twins(data.evaluate):
            one, other = same
            raise ValueError(f"evaluate.{one} and evaluate.{other} are the same, must differ; keep one")
        return data

    @model_validator(mode="after")
    def _budget_buys_a_step(self) -> Self:
        examples, batch_size = self.train.budget.examples, self.train.batch_size
        if examples is not None and examples < batch_size:
            raise ValueError(
                f"train.budget.examples is {examples}, must be at least one batch ({batch_size}), or nothing is "
                "trained; raise it or lower train.batch_size"
            )
        return self

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in STORAGE_FOLDERS:
            raise ValueError(f"name is {self.name!r}, a folder of the storage itself; choose another name")
        return self
