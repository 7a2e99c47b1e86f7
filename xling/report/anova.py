"""Does the effect of the mix depend on the size? Two-way analysis of variance with seeds as blocks.

    y = size + alpha + size x alpha + seed + size x seed + alpha x seed + error

Cells of one seed share random numbers, all of them those of the batches, those of one size the fresh weights too.
So a seed may lift all its cells, or all of one size, or all of one mix. The interaction is tested against what is
left when all of that is taken out, size x alpha x seed: with the same seeds in all cells this is the F test of
repeated measures with two factors (Winer 1971, ch. 7), exact where these errors have one variance and no
correlation, whether seeds have effects or not. The usual test, against the variance within cells, would count what a
seed does to all cells as error, and miss interactions; one that took only the seed out, what it does to a size.

Fitted by least squares, so that cells may be missing and seeds unequal. A seed that is in too few cells to tell its
effects apart adds nothing.

Shapes: N observations, S sizes, A mixes, R seeds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xling.report.cell_values import Point

_NO_ERROR = 1e-20  # of the squares about the mean: what rounding leaves

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Term:
    """A term's F test. ``ratio`` is infinite where nothing is left as error."""

    name: str
    squares: float  # sum of squares that the term explains
    df: int
    df_error: int
    ratio: float  # F
    p: float


def two_way(values: Mapping[Point, Mapping[int, float]]) -> list[Term]:
    """The terms that can be tested, by seed and point; the interaction last.

    None can with one seed. Size and alpha alone are only tested where enough seeds have all the cells.
    """
    interaction = _interaction(values)
    return [*_main_effects(values), *([interaction] if interaction is not None else [])]


def _interaction(values: Mapping[Point, Mapping[int, float]]) -> Term | None:
    rows = [(point, seed, value) for point, of in values.items() for seed, value in of.items()]
    if not rows:
        return None
    y_N = np.array([value for _, _, value in rows])
    y_N -= y_N.mean()
    blocks = [_indicators([(point[0], seed) for point, seed, _ in rows])]
    blocks.append(_indicators([(point[1], seed) for point, seed, _ in rows]))
    without = np.concatenate(blocks, axis=1)
    whole = np.concatenate([without, _indicators([point for point, _, _ in rows])], axis=1)
    squares_without, rank_without = _left(without, y_N)
    squares_whole, rank_whole = _left(whole, y_N)
    floor = _NO_ERROR * float(y_N @ y_N)
    return _term(
        "size x alpha",
        squares_without - squares_whole,
        rank_whole - rank_without,
        squares_whole,
        len(rows) - rank_whole,
        floor,
    )


def _main_effects(values: Mapping[Point, Mapping[int, float]]) -> list[Term]:
    """Size against size x seed, alpha against alpha x seed, of the seeds that have every cell of a full grid."""
    sizes, ratios = list(dict.fromkeys(size for size, _ in values)), list(dict.fromkeys(ratio for _, ratio in values))
    if not values or len(values) < len(sizes) * len(ratios):
        return []
    whole = sorted(set.intersection(*(set(of) for of in values.values())))
    if len(whole) < 2:
        return []
    y_SAR = np.array([[[values[size, ratio][seed] for seed in whole] for ratio in ratios] for size in sizes])
    floor = _NO_ERROR * float(((y_SAR - y_SAR.mean()) ** 2).sum())
    terms = []
    for name, y_XR, repeats in (("size", y_SAR.mean(axis=1), len(ratios)), ("alpha", y_SAR.mean(axis=0), len(sizes))):
        levels, seeds = y_XR.shape
        effect_X = y_XR.mean(axis=1) - y_XR.mean()
        error_XR = y_XR - y_XR.mean(axis=1, keepdims=True) - y_XR.mean(axis=0) + y_XR.mean()
        squares, left = seeds * repeats * float(effect_X @ effect_X), repeats * float((error_XR**2).sum())
        term = _term(name, squares, levels - 1, left, (levels - 1) * (seeds - 1), floor)
        terms += [term] if term is not None else []
    return terms


def _term(name: str, squares: float, df: int, left: float, df_error: int, floor: float) -> Term | None:
    from scipy.special import fdtrc

    if df < 1 or df_error < 1:
        return None
    squares = squares if squares > floor else 0.0
    if left <= floor:
        return Term(name, squares, df, df_error, float("inf") if squares else float("nan"), float(not squares))
    ratio = (squares / df) / (left / df_error)
    return Term(name, squares, df, df_error, ratio, float(fdtrc(df, df_error, ratio)))


def _indicators(keys: Sequence[Hashable]) -> Matrix:
    """A column for each distinct key, 1 where it stands."""
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.eye(len(place))[[place[key] for key in keys]]


def _left(design: Matrix, y_N: Matrix) -> tuple[float, int]:
    """The sum of squares that a design leaves, and its rank."""
    fitted, _, rank, _ = np.linalg.lstsq(design, y_N, rcond=None)
    return float(((y_N - design @ fitted) ** 2).sum()), int(rank)
