"""Chosen pairs: what is never drawn, what is drawn alike, and what is refused."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import LANGUAGES, make, passages, uneven

from xling.batching.pairs import draw_pairs, expected_pairs
from xling.batching.plan import Plan
from xling.batching.sources import SetShare
from xling.errors import DataError

PIVOT = {"pivot": "en"}
THROUGH_ENGLISH = {"ar-en", "de-en", "en-ar", "en-de"}
CROSS = sorted(f"{query}-{passage}" for query in LANGUAGES for passage in LANGUAGES if query != passage)


def drawn(plan: Plan, steps: int) -> Counter[str]:
    """Examples of cross-lingual batches by pair."""
    found: Counter[str] = Counter()
    for batch in filter(lambda batch: batch.kind == "cross_lingual", map(plan.batch, range(steps))):
        rows = zip(batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True)
        found.update(f"{LANGUAGES[query]}-{LANGUAGES[passage]}" for query, passage in rows)
    return found


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=30, max_size=30),
    st.one_of(
        st.sampled_from(LANGUAGES).map(lambda code: {"pivot": code}),
        st.sets(st.sampled_from(CROSS), min_size=1).map(lambda only: {"only": sorted(only)}),
    ),
    st.sampled_from(["batch", "example"]),
    st.integers(0, 9),
)
def test_no_other_pair_is_ever_drawn(present: list[list[bool]], pairs: dict[str, Any], by: str, seed: int):
    has_IL = np.asarray(present) | (np.arange(30) < 8)[:, None]
    passages_IL = np.where(has_IL, passages(30), -1)
    plan = make(passages_IL, monolingual=0.3, cross_lingual_by=by, pairs=pairs, seed=seed)
    allowed = set(pairs.get("only", ())) or {pair for pair in CROSS if pairs["pivot"] in pair.split("-")}
    assert set(drawn(plan, 60)) <= allowed
    cross = {pair for pair in plan.composition(0, 300).pairs if pair in CROSS}
    assert cross <= allowed
    for batch in map(plan.batch, range(60)):
        assert (passages_IL[batch.items_B, batch.query_languages_B] >= 0).all()
        assert (passages_IL[batch.items_B, batch.passage_languages_B] >= 0).all()


@pytest.mark.parametrize("by", ["batch", "example"])
def test_a_pivot_leaves_the_pairs_on_its_two_sides(by: str):
    assert set(drawn(make(passages(40), monolingual=0.5, pairs=PIVOT, cross_lingual_by=by), 200)) == THROUGH_ENGLISH


def test_listed_pairs_are_ordered():
    plan = make(passages(40), monolingual=0.0, pairs={"only": ["en-de", "ar-en"]})
    assert [source.label for source in plan.sources] == ["cross:ar->en", "cross:en->de"]
    assert set(drawn(plan, 100)) == {"ar-en", "en-de"}


def test_the_choice_leaves_monolingual_batches_as_they_are():
    every, chosen = (make(passages(40), monolingual=0.5, pairs=pairs) for pairs in ("all", PIVOT))
    for step in range(200):
        one, other = every.batch(step), chosen.batch(step)
        assert one.kind == other.kind
        if one.kind == "monolingual":
            assert (one.source, one.items_B.tolist()) == (other.source, other.items_B.tolist())


def test_by_example_an_items_allowed_pairs_are_alike_likely():
    passages_IL = passages(40)
    passages_IL[:20, 1] = -1  # these have ar and en only
    plan = make(passages_IL, batch_size=20, monolingual=0.0, cross_lingual_by="example", pairs=PIVOT)
    counts: dict[bool, Counter[tuple[int, int]]] = {True: Counter(), False: Counter()}
    for batch in map(plan.batch, range(300)):
        rows = zip(batch.items_B, batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True)
        for item, query, passage in rows:
            counts[bool(item < 20)][query, passage] += 1
    for found, pairs in ((counts[True], {(0, 2), (2, 0)}), (counts[False], {(0, 2), (2, 0), (1, 2), (2, 1)})):
        assert set(found) == pairs
        mean = found.total() / len(pairs)
        assert all(abs(count - mean) < 5 * math.sqrt(mean) for count in found.values())


def test_by_example_items_without_an_allowed_pair_are_no_members():
    passages_IL = passages(40)
    passages_IL[:20, 2] = -1  # no English
    plan = make(passages_IL, monolingual=0.0, cross_lingual_by="example", pairs=PIVOT)
    assert [source.items for source in plan.sources] == [20]
    assert all((plan.batch(step).items_B >= 20).all() for step in range(50))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.data())
def test_a_draw_numbers_pairs_by_query_then_passage(languages: int, data: st.DataObject):
    def matrix(rows: int) -> np.ndarray:
        line = st.lists(st.booleans(), min_size=languages, max_size=languages)
        return np.asarray(data.draw(st.lists(line, min_size=rows, max_size=rows)), dtype=bool)

    has_XL, pairs_LL = matrix(5), matrix(languages)
    listed = [[(q, p) for q, p in np.argwhere(pairs_LL).tolist() if row[q] and row[p]] for row in has_XL]
    has_XL, listed = has_XL[[bool(own) for own in listed]], [own for own in listed if own]
    if not listed:
        return
    for u in (0.0, 0.3, 0.999):
        query_X, passage_X = draw_pairs(has_XL, pairs_LL, np.full(len(listed), u))
        assert list(zip(query_X.tolist(), passage_X.tolist(), strict=True)) == [
            own[int(u * len(own))] for own in listed
        ]
    expected = np.zeros((languages, languages))
    for own in listed:
        for query, passage in own:
            expected[query, passage] += 1 / len(own) / len(listed)
    assert expected_pairs(has_XL, pairs_LL) == pytest.approx(expected)


# ---- what is refused


def test_a_language_the_data_lack_is_refused_naming_theirs():
    with pytest.raises(DataError, match=r"mix.pairs.pivot is 'fr', .*: the training data have ar, de, en; name one"):
        make(passages(40), monolingual=0.5, pairs={"pivot": "fr"})
    with pytest.raises(DataError, match=r"mix.pairs.only names fr-en, .* have ar, de, en, not fr; remove fr-en"):
        make(passages(40), monolingual=0.5, pairs={"only": ["ar-en", "fr-en"]})


@pytest.mark.parametrize(
    ("only", "by", "batch_size", "problem"),
    [
        ("de-en", "batch", 12, "needs a source of at least 12 items in both, found 10; lower the batch size to 10"),
        ("de-en", "batch", 8, ""),
        ("de-en", "example", 12, ""),
    ],
)  # fmt: skip
def test_a_listed_pair_needs_a_source_of_its_own(only: str, by: str, batch_size: int, problem: str):
    arguments = {"monolingual": 0.0, "batch_size": batch_size, "cross_lingual_by": by}
    if not problem:
        make(uneven(), pairs={"only": ["ar-de", only]}, **arguments)
        return
    with pytest.raises(DataError, match=problem):
        make(uneven(), pairs={"only": ["ar-de", only]}, **arguments)


def test_a_listed_pair_that_no_item_has_is_refused_however_it_is_drawn():
    passages_IL = passages(40)
    passages_IL[:20, 1], passages_IL[20:, 2] = -1, -1  # no item has both de and en
    for by, least in (("batch", 4), ("example", 1)):
        with pytest.raises(DataError, match=rf"names de-en, needs .*at least {least} items in both, found 0; remove"):
            make(passages_IL, monolingual=0.0, cross_lingual_by=by, pairs={"only": ["ar-en", "de-en"]})


def test_of_several_sets_one_is_enough_for_a_listed_pair():
    passages_IL = np.concatenate([passages(20), passages(20) + 1000])
    passages_IL[20:, 2] = -1
    sets = [SetShare("one", 20, 1.0), SetShare("two", 20, 1.0)]
    plan = make(passages_IL, sets=sets, monolingual=0.0, pairs={"only": ["de-en"]})
    assert [source.label for source in plan.sources] == ["one/cross:de->en"]
    assert plan.excluded == (("two/cross:de->en", 0),)


def test_pairs_that_no_item_has_are_told():
    passages_IL = passages(20)
    passages_IL[:, 2] = np.where(np.arange(20) < 10, passages_IL[:, 2], -1)
    passages_IL[:10, :2] = -1
    with pytest.raises(DataError, match=r"needs training items in two languages that mix.pairs allows: there are none"):
        make(passages_IL, monolingual=0.5, pairs=PIVOT)
