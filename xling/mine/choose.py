"""Which of a question's nearest passages become its negatives: ranks, margins, a seeded choice. NumPy alone.

Shapes: Q questions, K candidates of a question, nearest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xling.batching.counter_hash import UInt64Array
from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rule:
    """How negatives are chosen.

    Ranks are counted from 1 among a question's candidates without its positives, and without passages of its
    own article where only others may be taken. A negative's score is at most the positive's less ``margin``,
    and at most ``max_share`` of it (the positive-aware margin and percentage of NV-Retriever, arXiv
    2407.15831); of a positive score below 0 the share is taken of its size.
    """

    first: int = 10
    last: int = 100
    margin: float | None = None
    max_share: float | None = 0.95
    per_question: int = 8
    choose: Literal["top", "random"] = "top"
    seed: int = 0
    other_articles: bool = False

    def limits(self, positive_Q: Scores) -> NDArray[np.float64]:
        """The highest score a negative may have."""
        score_Q = positive_Q.astype(np.float64)
        limit_Q = np.full(len(score_Q), np.inf)
        if self.margin is not None:
            limit_Q = score_Q - self.margin
        if self.max_share is not None:
            limit_Q = np.minimum(limit_Q, score_Q - (1 - self.max_share) * np.abs(score_Q))
        return limit_Q


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the questions of a pair, and of the candidates down to their windows' ends."""

    questions: int = 0
    full: int = 0  # got as many negatives as asked for
    few: int = 0  # got fewer
    none: int = 0
    negatives: int = 0
    equal: int = 0  # candidates that are the positive, or equal to it
    article: int = 0  # candidates of the item's own article
    near: int = 0  # candidates within the window whose score is above what margin and share allow

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class Lists(NamedTuple):
    """Candidates of some questions, nearest first, and what each is to its question."""

    scores_QK: Scores  # -inf where there is no candidate
    equal_QK: Flags
    article_QK: Flags  # of the question's article
    draws_QK: UInt64Array  # a random number for each

    def of(self, rows_Q: Flags) -> Lists:
        """Those of some questions."""
        return Lists(self.scores_QK[rows_Q], self.equal_QK[rows_Q], self.article_QK[rows_Q], self.draws_QK[rows_Q])


def ranks(rule: Rule, lists: Lists) -> Indices:
    """Each candidate's rank QK among those that count; one that does not has the rank of the last before it."""
    counted: Indices = np.cumsum(_counted(rule, lists), axis=1)
    return counted


def choose(rule: Rule, lists: Lists, positive_Q: Scores) -> tuple[Flags, Counts]:
    """The negatives among the candidates, QK, and the counts."""
    counted_QK, rank_QK = _counted(rule, lists), ranks(rule, lists)
    window_QK = counted_QK & (rank_QK >= rule.first) & (rank_QK <= rule.last)
    near_QK = window_QK & (lists.scores_QK > rule.limits(positive_Q)[:, None])
    fit_QK = window_QK & ~near_QK
    if rule.choose == "top":
        chosen_QK = fit_QK & (np.cumsum(fit_QK, axis=1) <= rule.per_question)
    else:
        # Those that do not fit sort behind all that do, whatever their number.
        order_QK = np.lexsort((lists.draws_QK, ~fit_QK), axis=1)
        chosen_QK = np.zeros_like(fit_QK)
        np.put_along_axis(chosen_QK, order_QK[:, : rule.per_question], True, axis=1)
        chosen_QK &= fit_QK
    got_Q = chosen_QK.sum(axis=1)
    before_end_QK = np.isfinite(lists.scores_QK) & (rank_QK < rule.last)
    full, none = int((got_Q == rule.per_question).sum()), int((got_Q == 0).sum())
    counts = Counts(
        questions=len(got_Q),
        full=full,
        few=len(got_Q) - full - none,
        none=none,
        negatives=int(got_Q.sum()),
        equal=int((lists.equal_QK & before_end_QK).sum()),
        article=int((lists.article_QK & ~lists.equal_QK & before_end_QK).sum()) if rule.other_articles else 0,
        near=int(near_QK.sum()),
    )
    return chosen_QK, counts


def _counted(rule: Rule, lists: Lists) -> Flags:
    open_QK: Flags = np.isfinite(lists.scores_QK) & ~lists.equal_QK
    return open_QK & ~lists.article_QK if rule.other_articles else open_QK
