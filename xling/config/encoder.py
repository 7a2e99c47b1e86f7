"""The ``model`` section: which encoder, and how texts are given to it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from xling.config.section import Section, identity


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
