"""The sweep file as frozen pydantic models.

A field marked with :func:`identity` is part of a cell's identity: it changes what is trained.
One left unmarked can be changed without training anything again (design decision 1).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from xling.config.data_sets import DataConfig as DataConfig
from xling.config.data_sets import DatasetConfig as DatasetConfig
from xling.config.data_sets import TrainingEntry as TrainingEntry
from xling.config.evaluation import EvaluationConfig as EvaluationConfig
from xling.config.evaluation import IndexConfig as IndexConfig
from xling.config.section import Section as Section
from xling.config.section import identity as identity


class WarmStartConfig(Section):
    """Training on the data set's parallel names before fine-tuning, shared by all cells of a size."""

    steps: int = identity("Steps of the warm start.", default=300, ge=1)
    batch_size: int = identity("Names a batch, in random language pairs.", default=128, ge=2)
    lr: float = identity("Peak learning rate of the warm start.", default=3e-3, gt=0)
    seed: int = identity("Seed of its weights and batches, shared by all cells.", default=0, ge=0)


class ModelConfig(Section):
    """The encoder: exactly one of ``preset``, ``path`` and ``hub``."""

    preset: str | None = identity("A named size (`xling presets` lists them).", default=None)
    path: str | None = Field(None, description="Folder of a Hugging Face or sentence-transformers model.")
    hub: str | None = identity("Id of a model on the Hugging Face hub.", default=None)
    revision: str | None = Field(None, description="Commit, tag or branch on the hub; resolved to a commit.")
    pooling: Literal["mean", "cls"] | None = identity(
        "How token vectors become one; the folder's own by default.", default=None
    )
    query_prefix: str = identity("Text put before every query.", default="")
    passage_prefix: str = identity("Text put before every passage.", default="")
    max_query_tokens: int = identity("Longer queries are cut and counted.", default=96, ge=4, le=8192)
    max_passage_tokens: int = identity("Longer passages are cut and counted.", default=256, ge=4, le=8192)
    dropout: float | None = identity("Dropout probability; the model's own by default.", default=None, ge=0, lt=1)
    warm_start: WarmStartConfig | None = identity("Warm start on parallel names; none by default.", default=None)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("preset", "path", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise ValueError(f"needs exactly one of preset, path and hub, found {found}")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision needs hub: only hub models have revisions")
        return self


class MixConfig(Section):
    """How batches are mixed: the three shares sum to 1.

    ``{monolingual: a}`` alone is short for ``{monolingual: a, cross_lingual: 1 - a}``.
    """

    monolingual: float = identity(
        "Share of batches whose texts are all in one language (X-X-mono).", default=0.5, ge=0, le=1
    )
    cross_lingual: float = identity(
        "Share of batches that pair two different languages (X-Y).", default=0.5, ge=0, le=1
    )
    mixed_monolingual: float = identity(
        "Share of batches whose pairs are monolingual, in languages mixed within the batch (X-X).",
        default=0.0,
        ge=0,
        le=1,
    )
    cross_lingual_by: Literal["batch", "example"] = identity(
        "One ordered language pair a batch, or one drawn for each example.", default="batch"
    )
    sampling_temperature: float = identity(
        "T: a source is drawn in proportion to its size^(1/T); 1 is by size, large is uniform.", default=1.0, gt=0
    )

    @model_validator(mode="before")
    @classmethod
    def _complement(cls, value: Any) -> Any:
        if isinstance(value, dict) and "monolingual" in value and "cross_lingual" not in value:
            mono, mixed = value["monolingual"], value.get("mixed_monolingual", 0.0)
            if all(isinstance(share, int | float) and not isinstance(share, bool) for share in (mono, mixed)):
                return {**value, "cross_lingual": min(1.0, max(0.0, round(1.0 - mono - mixed, 12)))}
        return value

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = self.monolingual + self.cross_lingual + self.mixed_monolingual
        if abs(total - 1) > 1e-9:
            raise ValueError(f"shares sum to {total:g}, must sum to 1")
        return self


class BudgetConfig(Section):
    """How long to train: exactly one of steps, examples and FLOPs."""

    steps: int | None = identity("Optimiser steps.", default=None, ge=0)
    examples: int | None = identity("Training pairs seen; divided by the batch size, rounded down.", default=None, ge=1)
    flops: float | None = identity(
        "Training compute in FLOPs, by 6 x encoder parameters x tokens; compares sizes at equal compute.",
        default=None,
        gt=0,
    )

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        given = [name for name in ("steps", "examples", "flops") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise ValueError(f"needs exactly one of steps, examples and flops, found {found}")
        return self


class TrainConfig(Section):
    """Fine-tuning: batch, budget, optimiser, loss."""

    batch_size: int = identity("Pairs a step over all workers; must divide by the workers.", default=64, ge=2)
    budget: BudgetConfig = identity("How long to train.", default=BudgetConfig(steps=300))
    lr: float = identity("Peak learning rate.", default=3e-5, gt=0, tuning=True)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = identity(
        "AdamW's decay rates.", default=(0.9, 0.98), tuning=True
    )
    weight_decay: float = identity("AdamW's weight decay; not on biases and norms.", default=0.01, ge=0, tuning=True)
    warmup: float = identity(
        "Share of the steps in which the rate rises to its peak.", default=0.1, ge=0, le=1, tuning=True
    )
    decay: Literal["linear", "cosine", "constant"] = identity(
        "How the rate falls after that.", default="linear", tuning=True
    )
    clip: float | None = identity("Largest gradient norm; none for no clipping.", default=1.0, gt=0, tuning=True)
    temperature: float = identity("Temperature of the contrastive loss.", default=0.05, gt=0, tuning=True)
    directions: Literal["one-way", "two-way"] = identity(
        "Query to passage only, or the mean of both directions.", default="one-way"
    )
    mask_false_negatives: bool = identity("Leave out negatives with the positive's passage id or text.", default=True)
    precision: Literal["auto", "fp32", "bf16"] = identity(
        "auto: bf16 where the accelerator has it, else fp32.", default="auto"
    )
    keep: Literal["last", "best"] = identity("Score the last step's weights, or those best on dev.", default="last")
    dev_every: int | None = identity("Steps between dev measurements; at the end only by default.", default=None, ge=1)
    checkpoint_every: int = Field(100, ge=1, description="Steps between checkpoints.")
    report_every: int = Field(10, ge=1, description="Steps between metrics reports.")

    @model_validator(mode="after")
    def _keep_needs_dev(self) -> Self:
        if self.keep == "best" and self.dev_every is None:
            raise ValueError("keep: best needs dev_every, the steps between dev measurements")
        return self


class ResourcesConfig(Section):
    """What one trial needs of the cluster."""

    workers: int = Field(1, ge=1, description="Ray Train workers a trial.")
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores a worker.")
    gpus_per_worker: float = Field(0, ge=0, description="GPUs a worker.")
    max_concurrent: int | None = Field(None, ge=1, description="Trials at once; what fits by default.")
    hang_timeout: float = Field(
        600,
        gt=0,
        description="Seconds of silence after which a trial's workers are ended, to go on from the last checkpoint.",
    )


class TrackingConfig(Section):
    """MLflow."""

    uri: str | None = Field(None, description="Tracking server; a SQLite file under the storage folder by default.")
    experiment: str | None = Field(None, description="Experiment's name; the sweep's name by default.")


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
    seed: int = identity("Seed of the weights, dropout and batches.", default=0, ge=0)
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="Scoring.")
    resources: ResourcesConfig = Field(ResourcesConfig(), description="What a trial needs.")
    retries: int = Field(2, ge=0, description="Times a failed cell is tried again.")

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        workers = self.resources.workers
        sizes = {"train.batch_size": self.train.batch_size}
        if self.model.warm_start is not None:
            sizes["model.warm_start.batch_size"] = self.model.warm_start.batch_size
        for name, size in sizes.items():
            if size % workers:
                raise ValueError(f"{name} is {size}, must divide by resources.workers ({workers})")
        if workers > 1 and self.resources.gpus_per_worker % 1:
            share = self.resources.gpus_per_worker
            raise ValueError(f"resources.gpus_per_worker is {share:g}, must be whole with {workers} workers: NCCL")
        return self


# What lies in a storage beside its sweeps.
STORAGE_FOLDERS = frozenset({"data", "embeddings", "mlartifacts", "mlflow.db", "tokenizers", "tokens", "warm"})

GridAxis = dict[str, tuple[Any, ...]]


class SweepConfig(CellConfig):
    """A whole sweep file: a cell's fields, a name, and the grid over them."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Names the sweep's folder and experiment.",
        json_schema_extra={"rule": "must be letters, digits, '.', '_' and '-', the first a letter or digit"},
    )
    storage: str = Field("runs", description="Folder or URL that holds everything: s3://bucket/prefix, gs://…")
    grid: tuple[GridAxis, ...] = Field(
        (), description="Axes, multiplied with each other; the paths within one axis are linked, value by value."
    )
    tracking: TrackingConfig = Field(TrackingConfig(), description="MLflow.")
    early_stopping: EarlyStoppingConfig | None = Field(
        None, description="Stop cells early that do worse than others which differ in tuning fields; none by default."
    )

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in STORAGE_FOLDERS:
            raise ValueError(f"name is {self.name!r}, a folder of the storage itself; choose another name")
        return self
