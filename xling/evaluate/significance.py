"""Is one system better than another on the same queries? Paired tests over questions.

A question is asked in many languages, and what makes it hard makes it hard in all of them: its
queries are no independent draws. So questions are resampled, each with all its queries in all pairs
(a cluster). A query's question is its id without the language in front, ``ar/56be4db0`` is
``56be4db0``; ids that only one language has are resampled by themselves, as single queries.

* Interval: paired bootstrap (Efron), bias-corrected and accelerated.
* p-value: randomisation test (Fisher), exact where all swaps can be tried: were the systems alike,
  swapping them on a question would change nothing. Two-sided.
* Holm's correction over pairs of languages.

Shapes: C questions, P cells (a pair, or a query language and the pool), F figures (cells, then their
macro means), B resamples of a block, S resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.layout import Indices
from xling.evaluate.measures import Values
from xling.evaluate.paired import PairedValues

RESAMPLES = 10_000
CONFIDENCE = 0.95
_BLOCK_VALUES = 4_000_000  # of the arrays that a block of resamples is made of
_KEPT_VALUES = 8_000_000  # of the draws that are kept: more are drawn anew each time
_EQUAL = 1e-13  # relative: sums of the same numbers in another order

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """A figure of two systems, and what their difference may be by chance.

    ``difference`` is a - b, ``low`` and ``high`` the interval around it. ``p_holm`` is the p-value
    corrected over all pairs of languages (over query languages against the pool), None for a macro
    mean. The interval of a single question is NaN.
    """

    name: str  # "Mo", "Cr", "Mul", "ar-en", "ar-pool"
    queries: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems by one measure: macro means first, then pairs, then query languages against the pool."""

    measure: str
    questions: int
    resamples: int
    seed: int
    effects: tuple[Effect, ...]

    def __getitem__(self, name: str) -> Effect:
        return next(effect for effect in self.effects if effect.name == name)


def compare(paired: PairedValues, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Test every cell and macro mean. The same seed gives the same numbers."""
    means_FP = _macro_means(paired)
    counts_CP = paired.counts_CP
    draws = Draws(len(counts_CP), resamples, seed)
    difference_F, low_F, high_F, p_F = over_questions(paired.sums_CP, counts_CP, means_FP, draws)
    a_F, b_F = _figures(paired.a_P, means_FP), _figures(paired.b_P, means_FP)
    queries_P = counts_CP.sum(axis=0).astype(np.int64)
    queries_F = np.concatenate([queries_P, (means_FP > 0) @ queries_P])
    names = [*(cell.name for cell in paired.cells), *paired.groups]
    effects = [
        Effect(name, int(queries_F[f]), *(float(of[f]) for of in (a_F, b_F, difference_F, low_F, high_F, p_F)))
        for f, name in enumerate(names)
    ]
    pairs = [f for f, cell in enumerate(paired.cells) if not cell.is_pool]
    pools = [f for f, cell in enumerate(paired.cells) if cell.is_pool]
    for family in (pairs, pools):
        for f, corrected in zip(family, holm([effects[f].p for f in family]), strict=True):
            effects[f] = replace(effects[f], p_holm=corrected)
    order = [*range(len(paired.cells), len(names)), *pairs, *pools]
    return Comparison(paired.measure, len(counts_CP), resamples, seed, tuple(effects[f] for f in order))


class Draws:
    """How often each question is drawn in each resample, and who is swapped: the same whatever is tested by them.

    Kept once they were drawn, where they are few enough. Blocks have a multiple of four rows: NumPy makes four
    swaps of one word and drops what is left of it at the end of a block, so that other blocks would swap others.
    """

    def __init__(self, questions: int, resamples: int, seed: int) -> None:
        self.questions, self.resamples = questions, resamples
        self._seeds = np.random.SeedSequence(seed).spawn(2)
        self.all_swaps = questions < 31 and 2**questions <= resamples  # each is tried once
        self.swaps = 2**questions if self.all_swaps else resamples
        self._keep = max(resamples, self.swaps) * questions <= _KEPT_VALUES
        self._weights: Matrix | None = None
        self._signs: Matrix | None = None

    def weights(self, columns: int) -> Iterator[Matrix]:
        """Blocks of resamples, BC, for arrays of so many columns."""
        if self._keep and self._weights is None:
            self._weights = np.concatenate(list(self._drawn(0)))
        return self._drawn(columns) if self._weights is None else _cut(self._weights, self.questions + columns)

    def signs(self, columns: int) -> Iterator[Matrix]:
        """Blocks of swaps, BC: -1 where a question's systems are swapped, else 1."""
        if self._keep and self._signs is None:
            self._signs = np.concatenate(list(self._swapped(0)))
        return self._swapped(columns) if self._signs is None else _cut(self._signs, self.questions + columns)

    def _drawn(self, columns: int) -> Iterator[Matrix]:
        rng, questions = np.random.default_rng(self._seeds[0]), self.questions
        for size in _blocks(self.resamples, questions + columns):
            chosen = rng.integers(0, questions, (size, questions)) + questions * np.arange(size)[:, None]
            counts = np.bincount(chosen.ravel(), minlength=size * questions)
            yield counts.reshape(size, questions).astype(np.float64)

    def _swapped(self, columns: int) -> Iterator[Matrix]:
        rng, done = np.random.default_rng(self._seeds[1]), 0
        for size in _blocks(self.swaps, self.questions + columns):
            if self.all_swaps:
                swapped_BC: Indices = (np.arange(done, done + size)[:, None] >> np.arange(self.questions)) & 1
            else:
                swapped_BC = rng.integers(0, 2, (size, self.questions), dtype=np.int8)
            done += size
            yield np.asarray(1.0 - 2.0 * swapped_BC, np.float64)


def _blocks(total: int, width: int) -> Iterator[int]:
    rows = max(4, _BLOCK_VALUES // max(1, width) // 4 * 4)
    for start in range(0, total, rows):
        yield min(rows, total - start)


def _cut(whole: Matrix, width: int) -> Iterator[Matrix]:
    start = 0
    for size in _blocks(len(whole), width):
        yield whole[start : start + size]
        start += size


def over_questions(
    sums_CP: Matrix, counts_CP: Matrix, means_FP: Matrix, draws: Draws
) -> tuple[Values, Values, Values, Values]:
    """Cells and, behind them, their means: value, both ends of its interval, p-value of its being 0.

    Args:
        sums_CP: values (differences of two systems, or any weighted sum of systems) summed over a question's queries.
        counts_CP: how many queries that is.
        means_FP: the weight of each cell in each mean.
    """
    difference_F = _figures(sums_CP.sum(axis=0) / counts_CP.sum(axis=0), means_FP)
    drawn_SF = _bootstrap(sums_CP, counts_CP, means_FP, draws)
    low_F, high_F = _interval(drawn_SF, difference_F, _leave_one_out(sums_CP, counts_CP, means_FP))
    single_F = (np.concatenate([counts_CP, counts_CP @ means_FP.T], axis=1) > 0).sum(axis=0) < 2
    low_F[single_F] = high_F[single_F] = np.nan
    return difference_F, low_F, high_F, _randomisation(sums_CP / counts_CP.sum(axis=0), difference_F, means_FP, draws)


def _macro_means(paired: PairedValues) -> Matrix:
    """A row a macro mean, a column a cell: 1 where the cell is among those averaged."""
    rows = [[float(cell in members) for cell in paired.cells] for members in paired.groups.values()]
    return np.array(rows, np.float64).reshape(len(rows), len(paired.cells))


def _figures(values_P: Matrix, means_FP: Matrix) -> Matrix:
    """Cells and, behind them, their macro means, over the last axis; a cell that is NaN is left out of a mean."""
    known_P = ~np.isnan(values_P)
    if known_P.all():
        of_groups = values_P @ (means_FP / means_FP.sum(axis=1, keepdims=True)).T
    else:
        with np.errstate(invalid="ignore"):
            of_groups = (np.where(known_P, values_P, 0.0) @ means_FP.T) / (known_P.astype(np.float64) @ means_FP.T)
    return np.concatenate([values_P, of_groups], axis=-1)


def _bootstrap(sums_CP: Matrix, counts_CP: Matrix, means_FP: Matrix, draws: Draws) -> Matrix:
    """Figures of resamples, SF. A cell none of whose questions was drawn is NaN, and left out of the means."""
    kinds_CK, kind_P = np.unique(counts_CP, axis=1, return_inverse=True)  # most cells have one and the same column
    parts = []
    for weights_BC in draws.weights(sums_CP.shape[1]):
        counts_BK = weights_BC @ kinds_CK
        counts_BK[counts_BK == 0] = np.nan
        parts.append(_figures((weights_BC @ sums_CP) / counts_BK[:, kind_P.ravel()], means_FP))
    return np.concatenate(parts)


def _leave_one_out(sums_CP: Matrix, counts_CP: Matrix, means_FP: Matrix) -> Matrix:
    """Figures without each question, CF."""
    counts = counts_CP.sum(axis=0) - counts_CP
    left = np.where(counts > 0, counts, np.nan)
    return _figures((sums_CP.sum(axis=0) - sums_CP) / left, means_FP)


def _interval(drawn_SF: Matrix, difference_F: Values, jackknife_CF: Matrix) -> tuple[Values, Values]:
    """Efron's BCa interval of each figure; where all resamples agree, that value twice."""
    from scipy.special import ndtr, ndtri

    tolerance_F = _EQUAL * np.maximum(1.0, np.abs(difference_F))
    apart_SF = drawn_SF - difference_F
    known_F = (~np.isnan(drawn_SF)).sum(axis=0)
    below_F = ((apart_SF < -tolerance_F).sum(axis=0) + (apart_SF <= tolerance_F).sum(axis=0)) / (2 * known_F)
    left_F = np.maximum((~np.isnan(jackknife_CF)).sum(axis=0), 1)
    influence_CF = np.nansum(jackknife_CF, axis=0) / left_F - jackknife_CF
    cubes_F, squares_F = np.nansum(influence_CF**3, axis=0), np.nansum(influence_CF**2, axis=0)
    acceleration_F = np.divide(cubes_F, 6 * squares_F**1.5, out=np.zeros_like(cubes_F), where=squares_F > 0)
    ends = []
    for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        with np.errstate(invalid="ignore"):
            bias_F = ndtri(below_F)
            shifted_F = bias_F + ndtri(share)
            at_F = ndtr(bias_F + shifted_F / (1 - acceleration_F * shifted_F))
        ends.append(_quantiles(drawn_SF, np.where(np.isnan(at_F), share, at_F)))
    return ends[0], ends[1]


def _quantiles(drawn_SF: Matrix, at_F: Values) -> Values:
    """Each column's own quantile, by linear interpolation; NaN sorts last and is left out."""
    sorted_SF = np.sort(drawn_SF, axis=0)
    place_F = at_F * ((~np.isnan(drawn_SF)).sum(axis=0) - 1)
    lower_F = np.floor(place_F).astype(np.int64)
    upper_F = np.ceil(place_F).astype(np.int64)
    columns = np.arange(drawn_SF.shape[1])
    low_F, high_F = sorted_SF[lower_F, columns], sorted_SF[upper_F, columns]
    return np.asarray(low_F + (place_F - lower_F) * (high_F - low_F), np.float64)


def _randomisation(shares_CP: Matrix, difference_F: Values, means_FP: Matrix, draws: Draws) -> Values:
    """Two-sided p-values: how often swapping the systems on random questions differs as much.

    With few questions all swaps are tried once, else random ones, where the observation counts as one of them.
    """
    threshold_F = np.abs(difference_F) - _EQUAL * np.maximum(1.0, np.abs(difference_F))
    reached_F = np.zeros(len(difference_F), np.int64)
    for signs_BC in draws.signs(shares_CP.shape[1]):
        reached_F += (np.abs(_figures(signs_BC @ shares_CP, means_FP)) >= threshold_F).sum(axis=0)
    return reached_F / draws.swaps if draws.all_swaps else (reached_F + 1) / (draws.swaps + 1)


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979).

    By hand: statsmodels' function collects garbage on every call, half a second in a process that holds much.
    """
    order = np.argsort(p_values)
    scaled = np.array(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(scaled)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in corrected]
