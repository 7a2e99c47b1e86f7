"""The rule by which negatives are chosen, on lists made by hand."""

import numpy as np
import pytest

from xling.mine.choose import Counts, Lists, Rule, choose, ranks


def lists(scores, equal=(), article=(), draws=None) -> Lists:
    """One question's list; ``equal`` and ``article`` are positions."""
    count = len(scores)
    flags = [np.isin(np.arange(count), of)[None] for of in (list(equal), list(article))]
    draws = np.arange(count, dtype=np.uint64) if draws is None else np.array(draws, np.uint64)
    return Lists(np.array([scores], np.float32), *flags, draws[None])


def chosen(rule: Rule, of: Lists, positive: float = 1.0) -> tuple[list[int], Counts]:
    found, counts = choose(rule, of, np.array([positive], np.float32))
    return np.flatnonzero(found[0]).tolist(), counts


TEN = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]


def test_ranks_pass_over_positives() -> None:
    rule = Rule(first=3, last=5, max_share=None, per_question=3)
    assert ranks(rule, lists(TEN, equal=[0, 2])).tolist() == [[0, 1, 1, 2, 3, 4, 5, 6, 7, 8]]
    found, counts = chosen(rule, lists(TEN, equal=[0, 2]))
    assert found == [4, 5, 6]
    assert counts == Counts(questions=1, full=1, negatives=3, equal=2)


def test_ranks_pass_over_the_articles_only_when_asked_to() -> None:
    of = lists(TEN, equal=[0], article=[0, 1, 9])
    assert chosen(Rule(first=1, last=2, max_share=None, per_question=2), of)[0] == [1, 2]
    found, counts = chosen(Rule(first=1, last=2, max_share=None, per_question=2, other_articles=True), of)
    assert found == [2, 3]
    assert (counts.equal, counts.article) == (1, 1)  # the last one is below the window


@pytest.mark.parametrize(
    ("rule", "positive", "limit"),
    [
        (Rule(margin=0.05, max_share=None), 0.8, 0.75),
        (Rule(margin=None, max_share=0.95), 0.8, 0.76),
        (Rule(margin=0.05, max_share=0.95), 0.8, 0.75),
        (Rule(margin=0.05, max_share=0.5), 0.8, 0.4),
        (Rule(margin=None, max_share=0.95), -0.2, -0.21),
        (Rule(margin=0.0, max_share=None), -0.2, -0.2),
        (Rule(margin=None, max_share=None), 0.8, np.inf),
    ],
)
def test_the_highest_score_a_negative_may_have(rule: Rule, positive: float, limit: float) -> None:
    assert rule.limits(np.array([positive], np.float32)) == pytest.approx([limit], abs=1e-6)


def test_a_score_at_the_limit_fits_and_those_above_it_keep_their_ranks() -> None:
    rule = Rule(first=1, last=4, margin=0.25, max_share=None, per_question=4)
    found, counts = chosen(rule, lists([1.0, 0.75, 0.75, 0.5, 0.25]), positive=1.0)
    assert found == [1, 2, 3]
    assert counts == Counts(questions=1, few=1, negatives=3, near=1)


def test_a_random_choice_takes_the_smallest_draws_of_those_that_fit() -> None:
    rule = Rule(first=2, last=6, margin=0.25, max_share=None, per_question=2, choose="random")
    found, _ = chosen(rule, lists(TEN, draws=[0, 1, 2, 9, 3, 4, 0, 0, 0, 0]), positive=0.96875)
    assert found == [2, 4]
    few, counts = chosen(rule, lists(TEN, draws=range(10)), positive=0.6875)
    assert few == [5]
    assert counts == Counts(questions=1, few=1, negatives=1, near=4)


def test_nothing_is_chosen_where_there_is_nothing() -> None:
    rule = Rule(first=1, last=3, max_share=None, per_question=2)
    found, counts = chosen(rule, lists([-np.inf] * 3))
    assert found == []
    assert counts == Counts(questions=1, none=1)
