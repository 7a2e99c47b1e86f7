"""A share of the batches that changes in the course of training.

Positions are shares of the budget, 0 its first step and 1 its end, so that a schedule means the same
for every size and every unit of the budget.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from xling.config.section import Section, identity

LONGEST_TEXT = 32  # characters; a longer list of steps is abridged

_Share = Annotated[float, Field(ge=0, le=1)]


class Ramp(Section):
    """From one share to another, where it stays."""

    start: float = identity("Share at the first step.", ge=0, le=1)
    end: float = identity("Share that is reached.", ge=0, le=1)
    until: float = identity("Share of the budget after which it is reached.", default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.start == self.end:
            raise ValueError(f"goes from {self.start:g} to {self.end:g}, must change; write the number alone")
        return self

    @property
    def text(self) -> str:
        by = f"by{self.until:g}" if self.until < 1 else ""
        return f"{self.start:g}to{self.end:g}{by}"


class ShareSchedule(Section):
    """Exactly one of a line, half a cosine, and a list of steps."""

    linear: Ramp | None = identity("From start to end in a straight line.", default=None)
    cosine: Ramp | None = identity("From start to end by half a cosine: slow, fast, slow.", default=None)
    steps: tuple[tuple[_Share, _Share], ...] | None = identity(
        "Pairs of a position and the share from there on, as in [[0, 1], [0.5, 0.25]].", default=None
    )

    @field_validator("steps")
    @classmethod
    def _ascend(cls, value: tuple[tuple[float, float], ...] | None) -> tuple[tuple[float, float], ...] | None:
        if value is None:
            return None
        if len(value) < 2:
            raise ValueError("must be a list of at least two pairs; write the number alone where nothing changes")
        positions = [position for position, _ in value]
        if positions[0] != 0:
            raise ValueError(f"begins at {positions[0]:g}, must begin at 0; add a pair for the first step")
        for before, after in pairwise(value):
            if before[0] >= after[0]:
                raise ValueError(f"has {after[0]:g} after {before[0]:g}, must have positions that ascend; sort them")
            if before[1] == after[1]:
                raise ValueError(f"has {after[1]:g} twice in a row, must change at each position; remove one")
        if positions[-1] == 1:
            raise ValueError("has a step at 1, must have positions below the end of the budget; remove it")
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise ValueError(f"needs exactly one of linear, cosine and steps, found {found}")
        return self

    @property
    def ramp(self) -> Ramp | None:
        return self.linear or self.cosine

    @property
    def span(self) -> tuple[float, float]:
        """The least and the largest share it comes to."""
        shares = [share for _, share in self.steps or ()]
        if self.ramp is not None:
            shares = [self.ramp.start, self.ramp.end]
        return min(shares), max(shares)

    @property
    def mean(self) -> float:
        """Over the budget; half a cosine has the mean of a line."""
        if self.ramp is not None:
            start, end, until = self.ramp.start, self.ramp.end, self.ramp.until
            return until * (start + end) / 2 + (1 - until) * end
        steps = self.steps or ()
        ends = [position for position, _ in steps[1:]] + [1.0]
        return sum(share * (end - start) for (start, share), end in zip(steps, ends, strict=True))

    @property
    def text(self) -> str:
        """Its spelling in labels and tables: letters, digits, ``.`` and ``-``."""
        if self.ramp is not None:
            return f"{self.ramp.text}{'cos' if self.cosine is not None else ''}"
        (_, first), *others = steps = self.steps or ()
        full = f"{first:g}" + "".join(f"then{share:g}at{position:g}" for position, share in others)
        if len(full) <= LONGEST_TEXT:
            return full
        digest = hashlib.blake2b(repr(steps).encode(), digest_size=3).hexdigest()
        return f"{first:g}to{others[-1][1]:g}in{len(steps)}steps-{digest}"
