"""Measures of a ranking, each a small value that reads the ranks of a query's relevant candidates.

Shapes: R relevant entries, Q queries.

To add one, write a frozen dataclass with ``name`` and ``values`` and register an instance below.
Definitions are trec_eval's (Buckley), whose numbers these equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.layout import Indices

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RelevantRanks:
    """Ranks of relevant candidates, grouped by query and ascending within it.

    ``ordinal_R`` counts a query's relevant entries from 1. ``ideal_R`` holds the query's grades
    in descending order: the grade that would stand at rank ``ordinal_R`` in a perfect ranking.
    """

    queries: int
    query_R: Indices
    rank_R: Indices
    grade_R: Indices
    ordinal_R: Indices
    ideal_R: Indices
    count_Q: Indices

    @classmethod
    def of(cls, query_R: Indices, rank_R: Indices, grade_R: Indices, queries: int) -> RelevantRanks:
        """Args: query_R: 0..queries-1 in any order; each of them must occur."""
        order = np.lexsort((rank_R, query_R))
        query_R = query_R[order]
        count_Q = np.bincount(query_R, minlength=queries)
        assert count_Q.all(), "a query without relevant candidates cannot be measured"
        first_Q = np.cumsum(count_Q) - count_Q
        grade_R = grade_R[order]
        return cls(
            queries=queries,
            query_R=query_R,
            rank_R=rank_R[order],
            grade_R=grade_R,
            ordinal_R=np.arange(len(query_R)) - first_Q[query_R] + 1,
            ideal_R=grade_R[np.lexsort((-grade_R, query_R))],
            count_Q=count_Q,
        )

    def total(self, values_R: Values) -> Values:
        """Sum of a value over each query's entries."""
        return np.asarray(np.bincount(self.query_R, weights=values_R, minlength=self.queries), np.float64)


class Measure(Protocol):
    """One number a query."""

    @property
    def name(self) -> str: ...

    def values(self, found: RelevantRanks) -> Values: ...


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Mean of the precision at each relevant candidate, over the full ranking; ``mAP`` when averaged."""

    name: str = "mAP"

    def values(self, found: RelevantRanks) -> Values:
        return found.total(found.ordinal_R / found.rank_R) / found.count_Q


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """1 / rank of the first relevant candidate, 0 when it is below the cut-off."""

    cutoff: int

    @property
    def name(self) -> str:
        return f"MRR@{self.cutoff}"

    def values(self, found: RelevantRanks) -> Values:
        return found.total(((found.ordinal_R == 1) & (found.rank_R <= self.cutoff)) / found.rank_R)


@dataclass(frozen=True, slots=True)
class NormalisedGain:
    """Discounted cumulative gain (grade / log2(rank + 1)) over that of the perfect ranking, both cut."""

    cutoff: int

    @property
    def name(self) -> str:
        return f"nDCG@{self.cutoff}"

    def values(self, found: RelevantRanks) -> Values:
        gained_Q = found.total(self._gains(found.grade_R, found.rank_R))
        return gained_Q / found.total(self._gains(found.ideal_R, found.ordinal_R))

    def _gains(self, grade_R: Indices, rank_R: Indices) -> Values:
        gains: Values = np.where(rank_R <= self.cutoff, grade_R / np.log2(rank_R + 1.0), 0.0)
        return gains


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the relevant candidates above the cut-off."""

    cutoff: int

    @property
    def name(self) -> str:
        return f"R@{self.cutoff}"

    def values(self, found: RelevantRanks) -> Values:
        return found.total((found.rank_R <= self.cutoff).astype(np.float64)) / found.count_Q


_registry: dict[str, Measure] = {}


def register(measure: Measure) -> None:
    """Have a measure computed in every evaluation. Raises ValueError when its name is taken."""
    if measure.name in _registry:
        raise ValueError(f"measure {measure.name!r} is registered already: give this one another name")
    _registry[measure.name] = measure


def measures() -> Mapping[str, Measure]:
    """All registered measures by name, in the order they are reported."""
    return dict(_registry)


for _measure in (AveragePrecision(), ReciprocalRank(10), NormalisedGain(10), Recall(1), Recall(10), Recall(100)):
    register(_measure)
