"""The mixing plan's promises, checked on plans small enough to walk."""

import hashlib
import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import LANGUAGES, make, passages, plans, uneven

from xling.batching.counter_hash import counter_hash, hash_texts, uniform
from xling.batching.plan import KINDS, Plan, plan_for
from xling.batching.shares import bounds_at
from xling.batching.sources import SetShare
from xling.config.schema import MixConfig
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.errors import DataError


def as_ids(plan: Plan, step: int) -> tuple[str, str, list[tuple[str, int, int]]]:
    batch = plan.batch(step)
    ids = [plan.item_ids[item] for item in batch.items_B]
    rows = zip(ids, batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True)
    return batch.kind, batch.source, list(rows)


# ---- the same plan, wherever one starts and however the data are ordered


@settings(deadline=None, max_examples=20)
@given(plans(), st.lists(st.integers(0, 300), min_size=1, max_size=4))
def test_starting_at_a_step_equals_having_walked_there(case: tuple[np.ndarray, dict[str, Any]], steps: list[int]):
    passages_IL, arguments = case
    walked = make(passages_IL, **arguments)
    path = [as_ids(walked, step) for step in range(max(steps) + 1)]
    for step in steps:
        assert as_ids(make(passages_IL, **arguments), step) == path[step]
        assert as_ids(walked, step) == path[step]


@settings(deadline=None, max_examples=20)
@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(case: tuple[np.ndarray, dict[str, Any]], random: Any):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    order = list(range(len(passages_IL)))
    random.shuffle(order)
    shuffled = Plan(
        item_ids=[plan.item_ids[i] for i in order],
        languages=plan.languages,
        passages_IL=passages_IL[order],
        mix=plan.mix,
        batch_size=plan.batch_size,
        total_steps=300,
        seed=plan.seed,
    )
    assert [as_ids(plan, step) for step in range(40)] == [as_ids(shuffled, step) for step in range(40)]


def test_golden_batches():
    """These numbers decide what every run trained on; when they change, TRAINING_VERSION must."""
    plan = make(passages(24, per_passage=2), monolingual=0.5)
    found = [(batch.source, batch.items_B.tolist()) for batch in map(plan.batch, (0, 1, 2, 3, 1000))]
    assert found == [
        ("mono:ar", [12, 20, 5, 16]),
        ("mono:ar", [8, 0, 3, 4]),
        ("cross:de->ar", [15, 5, 10, 17]),
        ("mono:ar", [22, 15, 7, 2]),
        ("cross:en->de", [1, 21, 5, 18]),
    ]


def digest(plan: Plan) -> str:
    """Of everything in some batches."""
    hashed = hashlib.blake2b(digest_size=8)
    for batch in map(plan.batch, (*range(300), 5000, 70_000)):
        hashed.update(batch.source.encode())
        for array in (batch.items_B, batch.query_languages_B, batch.passage_languages_B, batch.passage_keys_B):
            hashed.update(array.astype("<i8").tobytes())
    return hashed.hexdigest()


TWO_SETS = [SetShare("big", 60, 1.0), SetShare("small", 20, 3.0)]


@pytest.mark.parametrize(
    ("passages_IL", "arguments", "expected"),
    [
        (uneven(), {"monolingual": 0.3, "batch_size": 10, "seed": 3, "sampling_temperature": 2.0}, "6d1a7ca1e7d60bcc"),
        (uneven(), {"monolingual": 0.0, "batch_size": 8, "cross_lingual_by": "example"}, "2699fc099b4a2f5a"),
        (
            uneven(),
            {"monolingual": 0.4, "mixed_monolingual": 0.4, "cross_lingual_by": "example", "seed": 9},
            "93ba7dbad035a2b7",
        ),
        (
            np.concatenate([uneven(), passages(20) + 1000]),
            {"monolingual": 0.25, "cross_lingual": 0.25, "mixed_monolingual": 0.5, "sets": TWO_SETS, "batch_size": 10},
            "c55b5d884e3e0d19",
        ),
    ],
)  # fmt: skip
def test_golden_digests(passages_IL: np.ndarray, arguments: dict[str, Any], expected: str):
    """Taken before shares could be scheduled and pairs chosen: whoever sets neither trains on what they always did."""
    assert digest(make(passages_IL, **arguments)) == expected


def test_seeds_give_other_plans():
    first, second = (make(passages(40), seed=seed, monolingual=0.5) for seed in (0, 1))
    assert [as_ids(first, step) for step in range(20)] != [as_ids(second, step) for step in range(20)]


# ---- kinds and sources


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 5000), st.integers(200, 2000), st.sampled_from([0.0, 0.1, 0.5, 0.75, 1.0]), st.integers(0, 50))
def test_the_ratio_holds_in_any_window(start: int, length: int, share: float, seed: int):
    plan = make(passages(12), monolingual=share, seed=seed)
    counted = plan.composition(start, start + length).kinds["monolingual"]
    steps = np.arange(start, start + length, dtype=np.uint64)
    assert counted == int((uniform(counter_hash(seed, 0, steps)) < share).sum())
    assert abs(counted - share * length) <= 5 * math.sqrt(share * (1 - share) * length)


def test_mixes_share_their_random_numbers():
    kinds = {}
    for share in (0.25, 0.5):
        plan = make(passages(12), monolingual=share)
        kinds[share] = {step: plan.batch(step) for step in range(400)}
    monolingual = {
        share: {t for t, batch in steps.items() if batch.kind == "monolingual"} for share, steps in kinds.items()
    }
    assert monolingual[0.25] < monolingual[0.5]
    for step in monolingual[0.25]:
        assert kinds[0.25][step].source == kinds[0.5][step].source


@pytest.mark.parametrize("shares", [(0.2, 0.0), (0.3, 0.4), (0.0, 0.5), (0.0, 0.0)])
def test_three_kinds_get_their_shares(shares: tuple[float, float]):
    mono, cross = shares
    mixed = 1 - mono - cross
    counts = (
        make(passages(12), monolingual=mono, cross_lingual=cross, mixed_monolingual=mixed).composition(0, 4000).kinds
    )
    assert [counts[kind] / 4000 for kind in KINDS] == pytest.approx([mono, cross, mixed], abs=0.04)
    assert [counts[kind] > 0 for kind in KINDS] == [share > 0 for share in (mono, cross, mixed)]


def test_shares_that_round_below_one_leave_no_step_without_a_kind():
    mix = MixConfig(monolingual=0.5, cross_lingual=0.5 - 9e-10)
    assert bounds_at(mix, np.arange(3), 3).tolist() == [[0.5], [1.0], [1.0]]


def test_repeated_ids_are_refused():
    with pytest.raises(DataError, match="'b' occurs 2 times"):
        Plan(
            item_ids=["a", "b", "b"],
            languages=LANGUAGES,
            passages_IL=passages(3),
            mix=MixConfig(),
            batch_size=2,
            total_steps=10,
            seed=0,
        )


# ---- items


def epochs_of(plan: Plan, steps: int) -> dict[tuple[str, int], list[Any]]:
    """Batches by source and epoch, as far as ``steps`` go."""
    batches_an_epoch = {source.label: source.items // plan.batch_size for source in plan.sources}
    by_source: dict[str, list[Any]] = defaultdict(list)
    for step in range(steps):
        by_source[plan.batch(step).source].append(plan.batch(step))
    return {
        (label, index // batches_an_epoch[label]): batches[index : index + batches_an_epoch[label]]
        for label, batches in by_source.items()
        for index in range(0, len(batches), batches_an_epoch[label])
    }


@settings(deadline=None, max_examples=20)
@given(plans())
def test_no_item_repeats_within_an_epoch(case: tuple[np.ndarray, dict[str, Any]]):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    for batches in epochs_of(plan, 150).values():
        items = np.concatenate([batch.items_B for batch in batches])
        assert len(set(items.tolist())) == len(items) == len(batches) * plan.batch_size


@settings(deadline=None, max_examples=20)
@given(plans())
def test_items_have_the_languages_they_are_given_in(case: tuple[np.ndarray, dict[str, Any]]):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    for step in range(60):
        batch = plan.batch(step)
        assert (passages_IL[batch.items_B, batch.query_languages_B] >= 0).all()
        assert (batch.passage_keys_B == passages_IL[batch.items_B, batch.passage_languages_B]).all()
        same = batch.query_languages_B == batch.passage_languages_B
        assert same.all() if batch.kind != "cross_lingual" else not same.any()
        pairs = set(zip(batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True))
        if batch.source not in ("mixed:*", "cross:*"):
            query, passage = pairs.pop()
            names = LANGUAGES[query], LANGUAGES[passage]
            assert not pairs
            assert batch.source == (
                f"mono:{names[0]}" if batch.kind == "monolingual" else f"cross:{names[0]}->{names[1]}"
            )


@settings(deadline=None, max_examples=20)
@given(plans())
def test_no_two_items_of_a_batch_share_a_passage_but_those_counted(case: tuple[np.ndarray, dict[str, Any]]):
    passages_IL, arguments = case
    plan = make(passages_IL, **arguments)
    repeated: Counter[str] = Counter()
    for batch in map(plan.batch, range(150)):
        keys_B = batch.passage_keys_B
        if batch.source in ("mixed:*", "cross:*"):  # here a passage is itself in whatever language; ids tell
            keys_B = np.asarray([next(key for key in row if key >= 0) // 3 for row in passages_IL[batch.items_B]])
        repeated[batch.source] += plan.batch_size - len(set(keys_B.tolist()))
    counted = {label: source.conflicts for label, source in plan.composition(0, 150).sources.items()}
    for label, conflicts in counted.items():
        if label in ("mixed:*", "cross:*"):  # items of one passage without a common language do not conflict
            assert conflicts <= repeated[label]
        else:
            assert conflicts == repeated[label]


def test_enough_passages_leave_no_conflict():
    plan = make(passages(600, per_passage=5), batch_size=16, monolingual=0.5)
    assert plan.composition(0, 300).conflicts == 0
    for batch in map(plan.batch, range(300)):
        assert len(set(batch.passage_keys_B.tolist())) == 16


def test_a_batch_by_example_never_holds_a_passage_twice_in_two_languages():
    plan = make(passages(600, per_passage=5), batch_size=16, monolingual=0.0, cross_lingual_by="example")
    for batch in map(plan.batch, range(100)):
        assert len({int(key) // 3 for key in batch.passage_keys_B}) == 16


def test_by_example_any_shared_language_counts():
    passages_IL = np.asarray([[-1, 7, 8 + i] for i in range(6)] + [[100 + i, 200 + i, 300 + i] for i in range(30)])
    plan = make(passages_IL, batch_size=4, monolingual=0.0, cross_lingual_by="example")
    shared = [int((plan.batch(step).items_B < 6).sum()) for step in range(90)]  # these have de in common, not ar
    assert sum(max(0, count - 1) for count in shared) == plan.composition(0, 90).conflicts
    assert shared.count(1) > 40


def test_epochs_are_ordered_anew_and_by_the_hash():
    plan = make(passages(40), batch_size=8, monolingual=1.0)
    epochs = epochs_of(plan, 200)
    for (label, epoch), batches in epochs.items():
        if len(batches) == 5:
            words = counter_hash(0, 2, int(hash_texts([label])[0]), epoch, hash_texts(plan.item_ids))
            assert np.concatenate([batch.items_B for batch in batches]).tolist() == np.argsort(words).tolist()
    orders = {tuple(np.concatenate([batch.items_B for batch in batches]).tolist()) for batches in epochs.values()}
    assert len(orders) == len(epochs)


@pytest.mark.parametrize("kind", ["cross_lingual", "mixed_monolingual"])
def test_languages_drawn_by_item_are_uniform_over_its_own(kind: str):
    passages_IL = passages(40)
    passages_IL[:20, 1] = -1  # these have ar and en only
    shares = {"monolingual": 0.0, "cross_lingual": 0.0, kind: 1.0}
    plan = make(passages_IL, batch_size=20, cross_lingual_by="example", **shares)
    drawn: dict[bool, Counter[tuple[int, int]]] = {True: Counter(), False: Counter()}
    for batch in map(plan.batch, range(600)):
        rows = zip(batch.items_B, batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True)
        for item, query, passage in rows:
            drawn[bool(item < 20)][query, passage] += 1
    for own, counts in ((range(0, 3, 2), drawn[True]), (range(3), drawn[False])):
        expected = {(q, p) for q in own for p in own if (q != p) == (kind == "cross_lingual")}
        assert set(counts) == expected
        mean = counts.total() / len(expected)
        assert all(abs(count - mean) < 5 * math.sqrt(mean) for count in counts.values())


# ---- from a training set


def parallel_items(count: int, prefix: str) -> list[ParallelItem]:
    """Two items ask about each passage."""
    return [
        ParallelItem(
            f"{prefix}{i}",
            "article",
            {c: TextPair(f"{c} {i}?", f"{prefix} {c} {i // 2}", f"{prefix}{c}{i // 2}") for c in LANGUAGES},
        )
        for i in range(count)
    ]


def training(names: bool) -> TrainingSet:
    named = parallel_items(30, "n") if names else ()
    return TrainingSet("rows", LANGUAGES, parallel_items(12, "q"), "0", named, "1" if names else "")


def test_plan_for_takes_items_or_names():
    mix = MixConfig(monolingual=0.5)
    plan = plan_for(training(names=True), mix, batch_size=4, total_steps=10, seed=3)
    batch = plan.batch(0)
    assert [source.items for source in plan.sources] == [12] * 9
    assert len(set(batch.passage_keys_B.tolist())) == 4
    named = plan_for(training(names=True), mix, batch_size=4, total_steps=10, seed=3, names=True)
    assert [source.items for source in named.sources] == [30] * 9
    assert named.item_ids[0] == "n0"


def test_plan_for_refuses_names_where_there_are_none():
    with pytest.raises(DataError, match=r"rows has 0 parallel names, .*remove model.warm_start"):
        plan_for(training(names=False), MixConfig(), batch_size=4, total_steps=10, seed=3, names=True)
