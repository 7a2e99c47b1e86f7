"""The ``train`` section: batch, budget, optimiser, loss."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xling.config.dev_measure import MAP, DevMeasure, Name
from xling.config.section import Section, identity


class BudgetConfig(Section):
    """How long to train: exactly one of steps, examples and FLOPs."""

    steps: int | None = identity("Optimiser steps.", default=None, ge=0)
    examples: int | None = identity("Training pairs seen; divided by the batch size, rounded down.", default=None, ge=1)
    flops: float | None = identity(
        "Training compute in FLOPs, by 6 x encoder parameters x tokens, hard negatives' too; for equal compute.",
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


DEV_POOL = 1024


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
    clip: float | None = identity("Largest gradient norm; null for no clipping.", default=1.0, gt=0, tuning=True)
    temperature: float = identity("Temperature of the contrastive loss.", default=0.05, gt=0, tuning=True)
    directions: Literal["one-way", "two-way"] = identity(
        "Query to passage only, or the mean of both directions.", default="one-way"
    )
    hard_negatives: int = identity(
        "Hard negatives a pair brings to its batch, drawn anew each step; candidates of every query.", default=0, ge=0
    )
    mask_false_negatives: bool = identity("Leave out negatives with the positive's passage id or text.", default=True)
    precision: Literal["auto", "fp32", "bf16"] = identity(
        "auto: bf16 where the accelerator has it, else fp32.", default="auto"
    )
    chunk_size: int | None = Field(
        None,
        ge=1,
        description="Gradient caching: texts whose activations are held at once, for batches larger than memory. "
        "The gradient is the same but for rounding; without it all texts' activations are held.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again when they are needed: less memory, about a third more time."
    )
    compile: bool = Field(False, description="torch.compile the transformer: minutes at the start; measure it first.")
    keep: Literal["last", "best"] = identity("Score the last step's weights, or those best on dev.", default="last")
    dev_every: int | None = identity("Steps between dev measurements; at the end only by default.", default=None, ge=1)
    dev_measure: Name = identity(
        "What is measured on dev: mAP, or the loss against a fixed pool, which batch sizes can be compared by.",
        default="mAP",
    )
    dev_pool: int = identity(
        "Candidates in each language that the dev loss is computed over, the same for every cell; all if fewer.",
        default=DEV_POOL,
        ge=2,
    )
    patience: int | None = identity(
        "End after this many dev measurements in a row without a better one; none by default.", default=None, ge=1
    )
    target_dev: float | None = identity(
        "End as soon as dev is as good as this; the budget is then the most that is spent.", default=None, gt=0
    )
    checkpoint_every: int = Field(100, ge=1, description="Steps between checkpoints.")
    report_every: int = Field(10, ge=1, description="Steps between metrics reports.")

    @model_validator(mode="after")
    def _keep_needs_dev(self) -> Self:
        if self.keep == "best" and self.dev_every is None:
            raise ValueError("keep: best needs dev_every, the steps between dev measurements")
        return self

    @model_validator(mode="after")
    def _ends_need_dev(self) -> Self:
        for name in ("patience", "target_dev"):
            if (value := getattr(self, name)) is not None and self.dev_every is None:
                raise ValueError(f"{name}: {value} needs dev_every, the steps between dev measurements")
        return self

    @model_validator(mode="after")
    def _dev_measure_is_one(self) -> Self:
        if self.dev_measure == "mAP" and self.dev_pool != DEV_POOL:
            raise ValueError(
                f"dev_pool: {self.dev_pool} needs dev_measure: loss, mAP has no pool; set that, or remove it"
            )
        if self.dev_measure == "mAP" and self.target_dev is not None and self.target_dev > 1:
            raise ValueError(
                f"target_dev is {self.target_dev:g}, must be at most 1 for mAP; for a loss set dev_measure"
            )
        return self

    @property
    def negatives(self) -> int:
        """How many negatives a query sees at most: the batch's other passages and all its hard negatives."""
        return self.batch_size * (1 + self.hard_negatives) - 1

    @property
    def measure(self) -> DevMeasure:
        """What is measured on dev, with all that its values depend on."""
        if self.dev_measure == "mAP":
            return MAP
        return DevMeasure(self.dev_measure, self.temperature, self.dev_pool)
