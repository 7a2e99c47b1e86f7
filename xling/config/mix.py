"""The ``mix`` section: how batches are mixed."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from xling.config.section import Section, identity


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
