"""The ``mix`` section: how batches are mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from xling.config.schedule import ShareSchedule
from xling.config.section import Section, identity
from xling.languages import LangPair, check_language


class PairsConfig(Section):
    """A choice among the cross-lingual pairs: exactly one of a pivot and a list."""

    pivot: str | None = identity("Only the pairs with this language on one side.", default=None)
    only: tuple[str, ...] | None = identity("Only these pairs, the query's language first, as in ar-en.", default=None)

    @field_validator("pivot")
    @classmethod
    def _a_language(cls, value: str | None) -> str | None:
        try:
            return value if value is None else check_language(value)
        except ValueError as error:
            raise ValueError(f"must be a language's code: {error}") from None

    @field_validator("only")
    @classmethod
    def _of_two_languages(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """In one order, so that two files which list the same pairs train the same."""
        if value is None:
            return None
        try:
            pairs = [LangPair.parse(text) for text in value]
        except ValueError as error:
            raise ValueError(f"must be a list of language pairs: {error}") from None
        for pair in pairs:
            if pair.is_monolingual:
                raise ValueError(
                    f"names {pair}, must name pairs of two languages; remove it, "
                    "batches within a language are what mix.monolingual is for"
                )
            if pairs.count(pair) > 1:
                raise ValueError(f"names {pair} twice, must name a pair once; remove one")
        if not pairs:
            raise ValueError("is an empty list, must name at least one pair; set mix.monolingual to 1 for none")
        return tuple(map(str, sorted(pairs)))

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        given = [name for name in ("pivot", "only") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of pivot and only, found {' and '.join(given) or 'none'}")
        return self


def _choice(value: Any) -> str:
    return "(section)" if isinstance(value, Mapping | Section) else "(plain)"


_Share = Annotated[
    Annotated[float, Field(ge=0, le=1), Tag("(plain)")] | Annotated[ShareSchedule, Tag("(section)")],
    Discriminator(_choice),
]
_Pairs = Annotated[
    Annotated[Literal["all"], Tag("(plain)")] | Annotated[PairsConfig, Tag("(section)")], Discriminator(_choice)
]


class MixConfig(Section):
    """How batches are mixed: the three shares sum to 1.

    ``{monolingual: a}`` alone is short for ``{monolingual: a, cross_lingual: 1 - a}``. Beside a schedule
    the cross-lingual share is what the other two leave, at any time.
    """

    monolingual: _Share = identity(
        "Share of batches whose texts are all in one language (X-X-mono), or a schedule of it.", default=0.5
    )
    cross_lingual: float | None = identity(
        "Share of batches that pair two different languages (X-Y); null for what the other two leave.",
        default=0.5,
        ge=0,
        le=1,
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
    pairs: _Pairs = identity(
        "Cross-lingual pairs: all, those with a pivot, or those listed; the others are never trained on.", default="all"
    )
    sampling_temperature: float = identity(
        "T: a source is drawn in proportion to its size^(1/T); 1 is by size, large is uniform.", default=1.0, gt=0
    )
    max_epochs: int | None = identity(
        "Epochs a source gives before it leaves the draw to the others of its kind; null for any number.",
        default=None,
        ge=1,
    )

    @property
    def alpha(self) -> float:
        """The share of monolingual batches; of a schedule, its mean over the budget."""
        return self.monolingual.mean if isinstance(self.monolingual, ShareSchedule) else self.monolingual

    @property
    def schedule(self) -> str:
        """The schedule of that share in a few characters; empty where it is constant."""
        return self.monolingual.text if isinstance(self.monolingual, ShareSchedule) else ""

    @model_validator(mode="before")
    @classmethod
    def _complement(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "monolingual" not in value or value.get("cross_lingual") is not None:
            return value
        mono, mixed = value["monolingual"], value.get("mixed_monolingual", 0.0)
        if all(
            isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1
            for share in (mono, mixed)
        ):
            return {**value, "cross_lingual": max(0.0, round(1.0 - mono - mixed, 12))}
        return {**value, "cross_lingual": None}

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if isinstance(self.monolingual, ShareSchedule):
            self._check_scheduled(self.monolingual)
            return self
        if self.cross_lingual is None:
            raise ValueError("cross_lingual is empty, must be a number where monolingual is not given; remove it")
        total = self.monolingual + self.cross_lingual + self.mixed_monolingual
        if abs(total - 1) > 1e-9:
            raise ValueError(f"shares sum to {total:g}, must sum to 1")
        return self

    def _check_scheduled(self, schedule: ShareSchedule) -> None:
        if self.cross_lingual is not None:
            raise ValueError(
                f"cross_lingual is {self.cross_lingual:g}, must not be given where monolingual is a schedule: "
                "it is what that leaves; remove it"
            )
        if (most := schedule.span[1]) + self.mixed_monolingual > 1 + 1e-9:
            raise ValueError(
                f"monolingual reaches {most:g}, must stay within what mixed_monolingual leaves "
                f"({1 - self.mixed_monolingual:g}); lower one"
            )
