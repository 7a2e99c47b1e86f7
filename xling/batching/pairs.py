"""Which ordered language pairs each kind of batch may hold, and drawing one of them for an item.

Shape suffixes: X items, L languages; of two L the first is the query's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xling.config.schema import MixConfig, PairsConfig
from xling.errors import DataError
from xling.languages import LangPair

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


def pairs_by_kind(mix: MixConfig, languages: Sequence[str]) -> dict[str, BoolArray]:
    """Of each kind an array LL, true where it may pair these languages.

    Raises:
        DataError: ``mix.pairs`` names a language that the training data lack.
    """
    same_LL = np.eye(len(languages), dtype=np.bool_)
    return {
        "monolingual": same_LL,
        "cross_lingual": _cross_lingual(mix, languages),
        "mixed_monolingual": same_LL,
    }


def _cross_lingual(mix: MixConfig, languages: Sequence[str]) -> BoolArray:
    if not isinstance(mix.pairs, PairsConfig):
        return ~np.eye(len(languages), dtype=np.bool_)
    _require_languages(mix.pairs, languages)
    allowed_LL = np.zeros((len(languages), len(languages)), dtype=np.bool_)
    if mix.pairs.pivot is not None:
        pivot = languages.index(mix.pairs.pivot)
        allowed_LL[pivot], allowed_LL[:, pivot] = True, True
        allowed_LL[pivot, pivot] = False
    for pair in map(LangPair.parse, mix.pairs.only or ()):
        allowed_LL[languages.index(pair.query), languages.index(pair.passage)] = True
    return allowed_LL


def _require_languages(pairs: PairsConfig, languages: Sequence[str]) -> None:
    has = f"the training data have {', '.join(languages)}"
    if pairs.pivot is not None and pairs.pivot not in languages:
        raise DataError(f"mix.pairs.pivot is {pairs.pivot!r}, must be a language of the data: {has}; name one of them")
    for pair in map(LangPair.parse, pairs.only or ()):
        if missing := [code for code in (pair.query, pair.passage) if code not in languages]:
            raise DataError(
                f"mix.pairs.only names {pair}, must name languages of the data: {has}, not {' and '.join(missing)}; "
                f"remove {pair}, or train on data that have it"
            )


def passages_to_draw(has_XL: BoolArray, pairs_LL: BoolArray) -> Int64Array:
    """How many passage languages each item offers to a query in each language, 0 where it lacks the latter. XL."""
    offered_XL = has_XL.astype(np.float64) @ pairs_LL.T.astype(np.float64)  # exact; floats multiply much faster
    return np.asarray(np.where(has_XL, offered_XL, 0.0), dtype=np.int64)


def draw_pairs(has_XL: BoolArray, pairs_LL: BoolArray, u_X: npt.NDArray[np.float64]) -> tuple[Int64Array, Int64Array]:
    """For each item one of the pairs that it has, all alike likely: numbered by query, then passage, chosen by u.

    Args:
        has_XL: which languages each item has; of every item at least one pair is allowed.
        pairs_LL: the pairs allowed.
        u_X: a number in [0, 1) for each item.

    Returns:
        Indices of the query's and of the passage's language, X each.
    """
    offered_XL = passages_to_draw(has_XL, pairs_LL)
    ends_XL = np.cumsum(offered_XL, axis=1)
    nth_X = (u_X * ends_XL[:, -1]).astype(np.int64)
    query_X = _nth(offered_XL, nth_X)
    rows_X = np.arange(len(query_X))
    nth_X -= ends_XL[rows_X, query_X] - offered_XL[rows_X, query_X]
    return query_X, _nth(has_XL & pairs_LL[query_X], nth_X)


def expected_pairs(has_XL: BoolArray, pairs_LL: BoolArray) -> npt.NDArray[np.float64]:
    """The share of each pair among those drawn, when every item is drawn for equally often. LL, of sum 1."""
    ones_XL = has_XL.astype(np.float64)
    number_X = passages_to_draw(has_XL, pairs_LL).sum(axis=1)
    return np.where(pairs_LL, (ones_XL / number_X[:, None]).T @ ones_XL, 0.0) / len(has_XL)


def _nth(counts_XL: npt.NDArray[np.bool_ | np.int64], nth_X: Int64Array) -> Int64Array:
    """The column that holds each row's n-th one, counting from 0 along the row."""
    reached_XL = np.cumsum(counts_XL, axis=1) > nth_X[:, None]
    return np.asarray(reached_XL.argmax(axis=1), dtype=np.int64)
