"""Intervals over questions, for these trained models: what the data set might have said with other questions.

Sums and differences of several cells' figures, each question drawn with all its queries, in all languages and of
all cells at once (evaluate/significance.py).

Shapes: C questions, P pairs of languages, K kinds of pairs (those with equal numbers of queries), M weighted sums.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.paired import Cell, PairedValues, alone
from xling.evaluate.significance import Draws, over_questions
from xling.languages import LangPair, trained_on
from xling.report.cell_values import CellValues, Figure

RESAMPLES = 4_000
_SEEN = {"seen": 2, "mixed": 1, "unseen": 0}  # how many of a pair's languages were trained on
_AT_ONCE = 500  # columns that are resampled together: bounds memory

Matrix = NDArray[np.float64]
Interval = tuple[float, float, float]  # low, high, p-value of 0


@dataclass(frozen=True, slots=True)
class _Kinds:
    """A cell's values by question: the pairs of a mean that have the same queries are averaged beforehand."""

    questions: tuple[str, ...]
    pairs: tuple[Cell, ...]
    sums_CK: Matrix
    counts_CK: Matrix
    pairs_K: Matrix  # how many pairs a column is the mean of


class QuestionValues:
    """The per-query values of cells on one data set."""

    def __init__(self, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self._resamples, self._seed = resamples, seed
        self._paired: dict[tuple[str, str], PairedValues | None] = {}
        self._known: dict[tuple[str, str], _Kinds | None] = {}  # by a cell's label and a figure's name
        self._draws: dict[int, Draws] = {}  # by the number of questions

    def intervals(
        self, figure: Figure, sums: Sequence[Mapping[str, float]], cells: Sequence[CellValues]
    ) -> list[Interval | None]:
        """Of each weighted sum (weights by a cell's label) its interval and p-value.

        None where one of its cells has no values by query, or was measured on other questions or pairs than another
        one of the same sum.
        """
        by_label = {cell.row.label: cell for cell in cells}
        labels = dict.fromkeys(label for one in sums for label in one)
        kinds = {label: self._kinds_of(by_label[label], figure) for label in labels}
        found: list[Interval | None] = [None] * len(sums)
        left = {label: of for label, of in kinds.items() if of is not None}
        while left:
            first = next(iter(left.values()))
            known = {label: of for label, of in left.items() if _alike(of, first)}
            left = {label: of for label, of in left.items() if label not in known}
            wanted = [number for number, one in enumerate(sums) if all(label in known for label in one)]
            step = max(1, _AT_ONCE // len(first.pairs_K))
            for start in range(0, len(wanted), step):
                part = wanted[start : start + step]
                for number, interval in zip(part, self._of(known, [sums[n] for n in part], first), strict=True):
                    found[number] = interval
        return found

    def _of(self, known: Mapping[str, _Kinds], sums: Sequence[Mapping[str, float]], like: _Kinds) -> list[Interval]:
        values = [
            np.sum([weight * known[label].sums_CK for label, weight in one.items()], axis=0, dtype=np.float64)
            for one in sums
        ]
        weights_MP: Matrix = np.kron(np.eye(len(sums)), like.pairs_K).astype(np.float64)
        counts = np.tile(like.counts_CK, (1, len(sums)))
        asked = len(like.questions)
        draws = self._draws.setdefault(asked, Draws(asked, self._resamples, self._seed))
        _, low_F, high_F, p_F = over_questions(np.concatenate(values, axis=1), counts, weights_MP, draws)
        return [(float(low_F[f]), float(high_F[f]), float(p_F[f])) for f in range(-len(sums), 0)]

    def _kinds_of(self, cell: CellValues, figure: Figure) -> _Kinds | None:
        key = (cell.row.label, figure.name)
        if key not in self._known:
            self._known[key] = self._kinds(cell, figure)
        return self._known[key]

    def _kinds(self, cell: CellValues, figure: Figure) -> _Kinds | None:
        paired = self._of_cell(cell, figure.measure)
        if paired is None:
            return None
        chosen = [number for number, pair in enumerate(paired.cells) if _belongs(pair, figure.group, cell.trained)]
        if not chosen:
            return None
        counts_CK, kind_P, pairs_K = np.unique(
            paired.counts_CP[:, chosen], axis=1, return_inverse=True, return_counts=True
        )
        sums_CK = paired.sums_CP[:, chosen] @ np.eye(len(pairs_K))[kind_P.ravel()] / pairs_K
        return _Kinds(
            paired.questions, tuple(paired.cells[p] for p in chosen), sums_CK, counts_CK, pairs_K.astype(np.float64)
        )

    def _of_cell(self, cell: CellValues, measure: str) -> PairedValues | None:
        key = (cell.row.label, measure)
        if key not in self._paired:
            table = cell.per_query
            if table is None or measure not in table.column_names or table[measure].null_count == len(table):
                self._paired[key] = None
            else:
                self._paired[key] = alone(table, measure, cell.row.label)
        return self._paired[key]


def _alike(one: _Kinds, other: _Kinds) -> bool:
    return (
        one.questions == other.questions and one.pairs == other.pairs and np.array_equal(one.counts_CK, other.counts_CK)
    )


def _belongs(pair: Cell, group: str, trained: Collection[str]) -> bool:
    """Whether a pair is among those that a mean is over; ``trained``: the languages trained on."""
    if pair.is_pool:
        return group == "Mul"
    if group == pair.name:
        return True
    kind, _, known = group.partition("_")
    if kind != ("Mo" if pair.query == pair.passage else "Cr"):
        return False
    if known in _SEEN:
        return _SEEN[known] == sum(trained_on((pair.query, pair.passage), trained))
    same = LangPair(pair.query, pair.passage).is_same_script
    return {"": True, "same_script": same, "different_script": not same}.get(known, False)
