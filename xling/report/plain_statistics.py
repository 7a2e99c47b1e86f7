"""The statistics of a report a second time, by plainer arithmetic: what ``xling report --verify`` holds tables against.

Nothing here is shared with what made the tables (``evaluate/significance.py``, ``estimates.py``, ``anova.py``) but
definitions and the numbers that are drawn at random, so that a fault of either side shows. Over questions every figure
is linear in its cells: each cell is resampled by itself, and a sum of cells is the sum of their resamples.

Shapes: C questions, P pairs of languages, S resamples, N observations.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xling.evaluate.paired import question_of

Array = NDArray[np.float64]
Interval = tuple[float, float, float]  # low, high, p-value of 0

_SURE = 0.95
_EQUAL = 1e-13  # relative: sums of the same numbers in another order
_NO_ERROR = 1e-20  # of the squares about the mean: what rounding leaves


@dataclass(frozen=True, slots=True, eq=False)
class ByQuestion:
    """One cell's values by question and pair of languages: their sums over a question's queries, and how many."""

    questions: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    sums_CP: Array
    counts_CP: Array

    def alike(self, other: ByQuestion) -> bool:
        same = (self.questions, self.pairs) == (other.questions, other.pairs)
        return same and np.array_equal(self.counts_CP, other.counts_CP)


def by_question(per_query: pa.Table, measure: str) -> ByQuestion | None:
    """A measure's values by question; None where no query has one."""
    if measure not in per_query.column_names:
        return None
    rows = per_query.filter(pc.is_valid(per_query[measure]))
    if not len(rows):
        return None
    texts = [rows[name].cast(pa.string()).to_pylist() for name in ("query", "query_language", "passage_language")]
    asked = [question_of(query, code) for query, code in zip(texts[0], texts[1], strict=True)]
    questions, pairs = sorted(set(asked)), sorted(set(zip(texts[1], texts[2], strict=True)))
    row_of = {name: place for place, name in enumerate(questions)}
    column_of = {pair: place for place, pair in enumerate(pairs)}
    sums, counts = np.zeros((2, len(questions), len(pairs)))
    places = [row_of[name] for name in asked], [column_of[pair] for pair in zip(texts[1], texts[2], strict=True)]
    np.add.at(sums, places, rows[measure].to_numpy())
    np.add.at(counts, places, 1)
    return ByQuestion(tuple(questions), tuple(pairs), sums, counts)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A figure of one cell (the mean over some pairs): its value, as resampled, without each question, by question."""

    value: float
    drawn_S: Array
    without_C: Array
    share_C: Array  # they sum to the value
    asked: int  # questions with a query


class Resampling:
    """The questions drawn in each resample, and the signs of each random swap: of so many questions, by a seed."""

    def __init__(self, questions: int, resamples: int, seed: int) -> None:
        of_draws, of_swaps = np.random.SeedSequence(seed).spawn(2)
        drawn = np.random.default_rng(of_draws).integers(0, questions, (resamples, questions))
        self._times_SC = np.stack([np.bincount(row, minlength=questions) for row in drawn]).astype(np.float64)
        self._all = 2**questions <= resamples
        if self._all:  # all swaps, each once
            self._signs_SC = np.array([[1 - 2 * (n >> q & 1) for q in range(questions)] for n in range(2**questions)])
        else:
            self._signs_SC = 1 - 2 * np.random.default_rng(of_swaps).integers(0, 2, drawn.shape, dtype=np.int8)

    def of(self, values: ByQuestion, chosen: Sequence[int]) -> Resampled:
        """The mean over the chosen pairs; one none of whose questions is drawn is left out of the mean."""
        sums_CP, counts_CP = values.sums_CP[:, chosen], values.counts_CP[:, chosen]
        whole_P, number_P = sums_CP.sum(axis=0), counts_CP.sum(axis=0)
        return Resampled(
            float((whole_P / number_P).mean()),
            _mean(self._times_SC @ sums_CP, self._times_SC @ counts_CP),
            _mean(whole_P - sums_CP, number_P - counts_CP),
            (sums_CP / number_P).mean(axis=1),
            int((counts_CP.sum(axis=1) > 0).sum()),
        )

    def interval(self, parts: Sequence[tuple[float, Resampled]]) -> Interval:
        """BCa interval and two-sided randomisation p-value of a weighted sum of cells' figures."""
        value = sum(weight * of.value for weight, of in parts)
        share_C = np.sum([weight * of.share_C for weight, of in parts], axis=0)
        tolerance = _EQUAL * max(1.0, abs(value))
        as_far = int((np.abs(self._signs_SC @ share_C) >= abs(value) - tolerance).sum())
        p = as_far / len(self._signs_SC) if self._all else (as_far + 1) / (len(self._signs_SC) + 1)
        if parts[0][1].asked < 2:
            return math.nan, math.nan, p
        drawn_S = np.sum([weight * of.drawn_S for weight, of in parts], axis=0)
        without_C = np.sum([weight * of.without_C for weight, of in parts], axis=0)
        return *_bca(value, drawn_S[~np.isnan(drawn_S)], without_C[~np.isnan(without_C)], tolerance), p


def _mean(sums: Array, counts: Array) -> Array:
    """Over the last axis, of what is known."""
    known = counts > 0
    values = np.divide(sums, counts, out=np.zeros_like(sums), where=known).sum(axis=1)
    number = known.sum(axis=1)
    return np.asarray(np.divide(values, number, out=np.full(len(values), np.nan), where=number > 0), np.float64)


def _bca(value: float, drawn: Array, without: Array, tolerance: float) -> tuple[float, float]:
    """Efron's interval, bias-corrected and accelerated (Efron and Tibshirani 1993, ch. 14)."""
    from scipy.stats import norm

    below = float(np.mean(drawn < value - tolerance) + np.mean(drawn <= value + tolerance)) / 2
    influence = without.mean() - without
    spread = float((influence**2).sum()) ** 1.5
    acceleration = float((influence**3).sum()) / (6 * spread) if spread > 0 else 0.0
    bias, ends = float(norm.ppf(below)), []
    for share in ((1 - _SURE) / 2, (1 + _SURE) / 2):
        shifted = bias + float(norm.ppf(share))
        at = float(norm.cdf(bias + shifted / (1 - acceleration * shifted)))
        ends.append(float(np.quantile(drawn, share if math.isnan(at) else at)))
    return ends[0], ends[1]


def without_rounding(value: float, terms: Sequence[float]) -> float:
    """A sum of terms, or an end of its interval; 0 where nothing but rounding is left of them."""
    return 0.0 if math.isclose(value, 0, abs_tol=_EQUAL * max(abs(term) for term in terms)) else value


def over_seeds(values: Sequence[float]) -> Interval:
    """The t-interval of a mean and its p-value; seeds that agree to the last digit leave no doubt."""
    from scipy.stats import ttest_1samp

    mean = float(np.mean(values))
    if float(np.std(values, ddof=1)) / math.sqrt(len(values)) <= 1e-15 * max(map(abs, values)):
        return mean, mean, float(mean == 0)
    test = ttest_1samp(values, 0)
    low, high = test.confidence_interval(_SURE)
    return float(low), float(high), float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value times the number of those that are no smaller, at least as large as the ones before it."""
    found, so_far = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        so_far = max(so_far, p_values[place] * (len(p_values) - rank))
        found[place] = min(1.0, so_far)
    return found


Observation = tuple[str, str, int, float]  # size, mix, seed, value


@dataclass(frozen=True, slots=True)
class Tested:
    """A term's F test by two nested models."""

    squares: float
    df: int
    df_error: int
    ratio: float
    p: float


def two_way(seen: Sequence[Observation]) -> dict[str, Tested]:
    """The tests of ``anova.py`` by nested least-squares fits; a term that cannot be tested is left out.

    Size is what the model with sizes explains beyond the mean, its error what their interaction with seeds does beyond
    sizes and seeds; likewise alpha; both of the seeds that have every cell. Size x alpha is what cells explain beyond
    their sizes' and mixes' interactions with seeds, its error the rest.
    """
    sizes, mixes, cells = ({key(one) for one in seen} for key in (_size, _mix, _cell))
    found = {}
    whole = set.intersection(*({one[2] for one in seen if _cell(one) == cell} for cell in cells)) if cells else set()
    if len(cells) == len(sizes) * len(mixes) and len(whole) > 1:
        full = [one for one in seen if one[2] in whole]
        for name, level in (("size", _size), ("alpha", _mix)):
            term, block = [level(one) for one in full], [one[2] for one in full]
            both = list(zip(term, block, strict=True))
            found[name] = _f_test(full, ([[0] * len(full)], [term]), ([term, block], [both]))
    pairs: Model = [[(_size(one), one[2]) for one in seen], [(_mix(one), one[2]) for one in seen]]
    with_cells: Model = [*pairs, [_cell(one) for one in seen]]
    found["size x alpha"] = _f_test(seen, (pairs, with_cells), (with_cells, None))
    return {name: test for name, test in found.items() if test is not None}


def _size(one: Observation) -> str:
    return one[0]


def _mix(one: Observation) -> str:
    return one[1]


def _cell(one: Observation) -> tuple[str, str]:
    return one[:2]


Model = Sequence[Sequence[Hashable]]  # a level an observation, for each factor
Models = tuple[Model, Model | None]  # the smaller one, and the larger one; None: one that leaves nothing


def _f_test(seen: Sequence[Observation], effect: Models, error: Models) -> Tested | None:
    from scipy.stats import f

    if not seen:
        return None
    y_N = np.array([value for *_, value in seen])
    y_N = y_N - y_N.mean()
    squares, df = _explained(effect, y_N)
    left, df_error = _explained(error, y_N)
    if df < 1 or df_error < 1:
        return None
    floor = _NO_ERROR * float((y_N**2).sum())
    squares = squares if squares > floor else 0.0
    if left <= floor:
        return Tested(squares, df, df_error, math.inf if squares else math.nan, float(not squares))
    ratio = (squares / df) / (left / df_error)
    return Tested(squares, df, df_error, ratio, float(f.sf(ratio, df, df_error)))


def _explained(models: Models, y_N: Array) -> tuple[float, int]:
    """What the larger model explains beyond the smaller one, and by how many more parameters."""
    (small, rank_small), (large, rank_large) = (
        (0.0, len(y_N)) if model is None else _left(model, y_N) for model in models
    )
    return small - large, rank_large - rank_small


def _left(model: Model, y_N: Array) -> tuple[float, int]:
    """The squares that a model leaves, and its rank, by the projection onto its columns."""
    columns = [[float(level == one) for level in levels] for levels in model for one in dict.fromkeys(levels)]
    design = np.array(columns).T
    basis, kept, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, kept > kept[0] * 1e-10]
    rest = y_N - basis @ (basis.T @ y_N)
    return float((rest**2).sum()), basis.shape[1]


def doubled(values: Mapping[str, float | None], large: str, small: str) -> float | None:
    """How often a number doubles from one size to another; None where that is not known."""
    more, less = values.get(large), values.get(small)
    return math.log2(more) - math.log2(less) if more and less and more > less else None
