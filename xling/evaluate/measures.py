"""Measures of a ranking, each a small value that reads the ranks of a query's relevant candidates.

Shapes: R relevant entries, Q queries.

A measure is named as it is written: ``mAP``, ``nDCG@10``; :func:`measure` reads such a name. To add
a kind, write a frozen dataclass with ``name`` and ``values`` and enter it in ``_KINDS``; to have one
computed in every evaluation, register it below. Definitions are trec_eval's (Buckley), whose numbers
these equal, but for average precision with a cut-off (see there). docs/measures.md has them all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xling.errors import ConfigError
from xling.evaluate.layout import Indices

Values = NDArray[np.float64]
UNRANKED = int(np.iinfo(np.int64).max)  # rank of what no list holds: adds nothing to any measure


@dataclass(frozen=True, slots=True)
class RelevantRanks:
    """Ranks of relevant candidates, grouped by query and ascending within it.

    A relevant candidate below the depth that was searched, or not in a run at all, has rank
    ``UNRANKED``: a query of which nothing was found measures 0 everywhere.

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
        last = int(rank_R[rank_R < UNRANKED].max(initial=0)) + 1
        # One sort by a number that holds both: a tenth of what a sort by two keys takes.
        order = np.argsort(query_R * (last + 1) + np.minimum(rank_R, last), kind="stable")
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

    def above(self, cutoff: int | None) -> NDArray[np.bool_]:
        """Which entries stand at a rank up to the cut-off; without one, which are ranked at all."""
        return self.rank_R < UNRANKED if cutoff is None else self.rank_R <= cutoff

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
    """Mean of the precision at each relevant candidate; ``mAP`` when averaged.

    Cut off at k it is divided by min(relevant candidates, k), so that a perfect ranking has 1;
    trec_eval's ``map_cut`` divides by all relevant ones.
    """

    cutoff: int | None = None

    @property
    def name(self) -> str:
        return _spell("mAP", self.cutoff)

    def values(self, found: RelevantRanks) -> Values:
        best_Q = found.count_Q if self.cutoff is None else np.minimum(found.count_Q, self.cutoff)
        return found.total(np.where(found.above(self.cutoff), found.ordinal_R / found.rank_R, 0.0)) / best_Q


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """1 / rank of the first relevant candidate, 0 when it is below the cut-off; ``MRR`` when averaged."""

    cutoff: int | None = None

    @property
    def name(self) -> str:
        return _spell("MRR", self.cutoff)

    def values(self, found: RelevantRanks) -> Values:
        return found.total(((found.ordinal_R == 1) & found.above(self.cutoff)) / found.rank_R)


@dataclass(frozen=True, slots=True)
class NormalisedGain:
    """Discounted cumulative gain (grade / log2(rank + 1)) over that of the perfect ranking, both cut.

    The gain is the grade itself (Järvelin and Kekäläinen 2002), as in trec_eval, not 2^grade - 1.
    """

    cutoff: int | None = None

    @property
    def name(self) -> str:
        return _spell("nDCG", self.cutoff)

    def values(self, found: RelevantRanks) -> Values:
        gained_Q = found.total(self._gains(found.grade_R, found.rank_R, found.above(self.cutoff)))
        ideal_R = True if self.cutoff is None else found.ordinal_R <= self.cutoff
        return gained_Q / found.total(self._gains(found.ideal_R, found.ordinal_R, ideal_R))

    def _gains(self, grade_R: Indices, rank_R: Indices, counted_R: NDArray[np.bool_] | bool) -> Values:
        gains: Values = np.where(counted_R, grade_R / np.log2(rank_R + 1.0), 0.0)
        return gains


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the relevant candidates above the cut-off."""

    cutoff: int

    @property
    def name(self) -> str:
        return _spell("R", self.cutoff)

    def values(self, found: RelevantRanks) -> Values:
        return found.total(found.above(self.cutoff).astype(np.float64)) / found.count_Q


@dataclass(frozen=True, slots=True)
class Success:
    """1 when any relevant candidate is above the cut-off, else 0; also called hit rate."""

    cutoff: int

    @property
    def name(self) -> str:
        return _spell("success", self.cutoff)

    def values(self, found: RelevantRanks) -> Values:
        return found.total(((found.ordinal_R == 1) & found.above(self.cutoff)).astype(np.float64))


def _spell(kind: str, cutoff: int | None) -> str:
    return kind if cutoff is None else f"{kind}@{cutoff}"


_KINDS: Mapping[str, Callable[[int], Measure]] = {
    "mAP": AveragePrecision,
    "MRR": ReciprocalRank,
    "nDCG": NormalisedGain,
    "R": Recall,
    "success": Success,
}
_WHOLE: Mapping[str, Callable[[], Measure]] = {  # over the full ranking
    "mAP": AveragePrecision,
    "MRR": ReciprocalRank,
    "nDCG": NormalisedGain,
}
_NAME = re.compile(r"([A-Za-z]+)(?:@([1-9][0-9]{0,8}))?")


def measure(name: str) -> Measure:
    """The measure of a name: ``mAP``, ``mAP@10``, ``MRR@100``, ``nDCG@20``, ``R@100``, ``success@5``.

    Raises:
        ConfigError: there is no such measure; the message has the nearest name.
    """
    found = _NAME.fullmatch(name)
    if found is not None:
        kind, cutoff = found.groups()
        if cutoff is not None and kind in _KINDS:
            return _KINDS[kind](int(cutoff))
        if cutoff is None and kind in _WHOLE:
            return _WHOLE[kind]()
    known = [*_WHOLE, *(f"{kind}@k" for kind in _KINDS)]
    raise ConfigError(f"measure {name!r} is unknown, must be one of {', '.join(known)}{_nearest(name)}")


def _nearest(name: str) -> str:
    """``; did you mean 'nDCG@10'?``: the kind that is spelt most alike, with the cut-off that was given."""
    spelt, _, cutoff = name.partition("@")
    digits = re.sub(r"\D", "", cutoff).lstrip("0")
    kinds = {kind.lower(): kind for kind in _KINDS} | {"recall": "R", "ap": "mAP", "rr": "MRR", "hits": "success"}
    close = difflib.get_close_matches(spelt.lower(), kinds, n=1, cutoff=0.5)
    if not close:
        return ""
    kind = kinds[close[0]]
    suggested = _spell(kind, int(digits) if digits else None if kind in _WHOLE else 10)
    return f"; did you mean {suggested!r}?"


_registry: dict[str, Measure] = {}


def register(measure: Measure) -> None:
    """Have a measure computed in every evaluation. Raises ValueError when its name is taken."""
    if measure.name in _registry:
        raise ValueError(f"measure {measure.name!r} is registered already: give this one another name")
    _registry[measure.name] = measure


def measures(first: Collection[str] = ()) -> Mapping[str, Measure]:
    """Measures by name in the order they are reported: those named, then the other registered ones.

    Args:
        first: a set's published measures.

    Raises:
        ConfigError: a name is unknown.
    """
    return {name: measure(name) for name in first} | {
        name: registered for name, registered in _registry.items() if name not in first
    }


for _measure in (AveragePrecision(), ReciprocalRank(10), NormalisedGain(10), Recall(1), Recall(10), Recall(100)):
    register(_measure)
