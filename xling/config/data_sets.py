"""The ``data`` section: what is trained on and what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from xling.config.section import Section


class DatasetConfig(Section):
    """Which data, from where. What its content is enters the identity by its fingerprint."""

    dataset: str = Field(description="Name of a registered data set (`xling data list` lists them).")
    path: str | None = Field(None, description="Local file or folder in the data set's documented format.")
    languages: tuple[str, ...] | None = Field(
        None, description="Only these languages; all that the set has by default."
    )
    titles: tuple[str, ...] | None = Field(None, description="Only articles with these titles.")
    split: str | None = Field(None, description="Which split to score: the data set's test split by default.")
    limit: int | None = Field(
        None, ge=1, description="At most so many items, always the same ones; the data set's own limit by default."
    )
    hard_negatives: int | None = Field(
        None, ge=0, description="At most so many hard negatives an item; the data set's own number by default."
    )
    bad_rows: Literal["stop", "skip"] = Field("stop", description="Stop at a row that breaks the format, or count it.")


class TrainingEntry(DatasetConfig):
    """A data set to train on, one of several or the only one."""

    weight: float = Field(
        1.0,
        gt=0,
        description="Among several sets: a source is drawn in proportion to weight x size^(1/T). Only ratios count.",
        json_schema_extra={"counts": True},  # in a cell's identity, as ratios: config/identity.py
    )
    mined: str | None = Field(
        None, description="Folder that `xling mine` wrote for this set: hard negatives, added to the set's own."
    )

    @property
    def mined_folder(self) -> Path | None:
        return None if self.mined is None else Path(self.mined).expanduser()


def first_twins(entries: Sequence[DatasetConfig]) -> tuple[int, int] | None:
    """The numbers of the first two that name the same data, whatever their weight; None where all differ."""
    first: dict[tuple[Any, ...], int] = {}
    for number, entry in enumerate(entries):
        same = first.setdefault(tuple(entry.model_dump(exclude={"weight"}).values()), number)
        if same != number:
            return same, number
    return None


_TrainChoice = Annotated[
    Annotated[TrainingEntry, Tag("(one)")] | Annotated[tuple[TrainingEntry, ...], Tag("(several)")],
    Discriminator(lambda value: "(several)" if isinstance(value, list | tuple) else "(one)"),
]


class DataConfig(Section):
    """What is trained on, what is scored."""

    train: _TrainChoice = Field(description="Parallel items to fine-tune on: one data set, or a list with weights.")
    evaluate: tuple[DatasetConfig, ...] = Field((), description="Retrieval sets every trained model is scored on.")
    zero_shot: bool = Field(True, description="Claim that no evaluation article, paragraph or question is trained on.")
    allow_overlap: bool = Field(False, description="Start although that claim fails; the overlap is tracked and shown.")

    @property
    def training_sets(self) -> tuple[TrainingEntry, ...]:
        """What is trained on, as a list however the file gives it."""
        return self.train if isinstance(self.train, tuple) else (self.train,)

    @property
    def training_name(self) -> str:
        """The data sets' names, for tables and tracking."""
        return " + ".join(entry.dataset for entry in self.training_sets)

    @model_validator(mode="after")
    def _training_makes_sense(self) -> Self:
        if not self.training_sets:
            raise ValueError("train is an empty list, must name at least one data set")
        if len(self.training_sets) == 1 and self.training_sets[0].weight != 1:
            weight = self.training_sets[0].weight
            raise ValueError(f"train has the weight {weight:g}, must be one of several sets to have one; remove it")
        if same := first_twins(self.training_sets):
            one, other = same
            raise ValueError(
                f"train.{one} and train.{other} are the same, must differ in more than the weight; keep one"
            )
        return self
