"""What can be drawn from, how often, and what is refused."""

import numpy as np
import pytest
from small_plans import LANGUAGES, make, passages, uneven

from xling.batching.plan import Plan
from xling.batching.sources import SetShare
from xling.errors import DataError


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1.0, (0.6, 0.3, 0.1)), (1e9, (1 / 3, 1 / 3, 1 / 3)), (1e-3, (1, 0, 0))]
)
def test_temperature_flattens_the_sources(temperature: float, expected: tuple[float, ...]):
    plan = make(uneven(), monolingual=1.0, sampling_temperature=temperature)
    assert [source.probability for source in plan.sources] == pytest.approx(expected, abs=1e-6)
    drawn = plan.composition(0, 4000).sources
    assert [drawn[f"mono:{code}"].batches / 4000 for code in LANGUAGES] == pytest.approx(expected, abs=0.04)


def test_temperature_two_weighs_by_the_square_root():
    plan = make(uneven(), monolingual=1.0, sampling_temperature=2.0)
    roots = np.sqrt([60, 30, 10])
    assert [source.probability for source in plan.sources] == pytest.approx(roots / roots.sum())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_temperature_flattens_cross_lingual_pairs_too(temperature: float):
    plan = make(uneven(), monolingual=0.0, sampling_temperature=temperature, total_steps=6000)
    expected = np.array([30, 10, 30, 10, 10, 10]) ** (1 / temperature)  # ar-de, ar-en, de-ar, de-en, en-ar, en-de
    expected /= expected.sum()
    assert [source.probability for source in plan.sources] == pytest.approx(expected)
    drawn = plan.composition(0, 6000).pairs
    assert [counts.asked for counts in drawn.values()] == pytest.approx(expected * 6000 * 4)
    for counts, share in zip(drawn.values(), expected, strict=True):
        assert abs(counts.examples / 4 - share * 6000) < 5 * np.sqrt(6000 * share * (1 - share))


def test_sources_too_small_for_a_batch_are_named_and_not_drawn():
    plan = make(uneven(), monolingual=0.5, batch_size=20)
    assert plan.excluded == (
        ("mono:en", 10),
        ("cross:ar->en", 10),
        ("cross:de->en", 10),
        ("cross:en->ar", 10),
        ("cross:en->de", 10),
    )
    drawn = {plan.batch(step).source for step in range(200)}
    assert drawn == {"mono:ar", "mono:de", "cross:ar->de", "cross:de->ar"}
    assert plan.composition(0, 10).excluded["mono:en"] == 10


def test_a_kind_without_a_source_is_refused():
    with pytest.raises(DataError, match=r"cross_lingual is 0.5, .* batch of 40 items, found cross:ar->de 30.*to 30"):
        make(uneven(), monolingual=0.5, batch_size=40)
    with pytest.raises(DataError, match=r"mix.cross_lingual is 0.5, needs training items in two languages: .* none"):
        make(passages(20, languages=1), monolingual=0.5)
    with pytest.raises(DataError, match=r"mix.monolingual is 1, .*found mono:ar 60, .*lower the batch size to 60"):
        make(uneven(), monolingual=1.0, batch_size=64)
    assert make(uneven(), monolingual=1.0, batch_size=40).batch(0).source == "mono:ar"  # no share, no complaint


def several(*, weights: tuple[float, float] = (1.0, 1.0), **arguments: object) -> Plan:
    """The uneven set, then one of 20 complete items."""
    passages_IL = np.concatenate([uneven(), passages(20) + 1000])
    shares = [SetShare("big", 60, weights[0]), SetShare("small", 20, weights[1])]
    return make(passages_IL, sets=shares, **arguments)


def test_each_set_has_sources_of_its_own():
    plan = several(monolingual=0.5, batch_size=10)
    of_kind = [source.label for source in plan.sources if source.kind == "monolingual"]
    assert of_kind == ["big/mono:ar", "big/mono:de", "big/mono:en", "small/mono:ar", "small/mono:de", "small/mono:en"]
    for step in range(300):
        batch = plan.batch(step)
        of_small = batch.items_B >= 60
        assert of_small.all() if batch.source.startswith("small/") else not of_small.any()
        assert (batch.passage_keys_B >= 0).all()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_sources_are_drawn_by_weight_and_size(temperature: float):
    plan = several(weights=(1.0, 3.0), monolingual=1.0, batch_size=10, sampling_temperature=temperature)
    expected = np.array([60, 30, 10, 20, 20, 20]) ** (1 / temperature) * [1, 1, 1, 3, 3, 3]
    expected /= expected.sum()
    assert [source.probability for source in plan.sources] == pytest.approx(expected)
    drawn = plan.composition(0, 6000)
    realised = [drawn.sources[source.label].batches / 6000 for source in plan.sources]
    assert realised == pytest.approx(expected, abs=0.03)
    assert drawn.sets["small"].batches / 6000 == pytest.approx(expected[3:].sum(), abs=0.03)
    assert drawn.sets["small"].examples == drawn.sets["small"].batches * 10
    assert sum(counts.batches for counts in drawn.sets.values()) == 6000
    assert (drawn.sets["big"].items, drawn.sets["small"].weight) == (60, 3.0)


def test_only_ratios_of_weights_count():
    one, other = (several(weights=weights, monolingual=0.5) for weights in ((1.0, 3.0), (0.5, 1.5)))
    assert all(np.array_equal(one.batch(step).items_B, other.batch(step).items_B) for step in range(100))


def test_an_exhausted_set_begins_its_next_epoch():
    plan = several(weights=(1.0, 50.0), monolingual=1.0, batch_size=10)
    counts = plan.composition(0, 300).sources["small/mono:ar"]
    assert counts.epochs_begun > 10
    assert counts.repeated > 0
    seen = [plan.batch(step) for step in range(300)]
    of_source = [batch.items_B for batch in seen if batch.source == "small/mono:ar"]
    for epoch in range(0, len(of_source) - 1, 2):  # two batches of ten are all of its twenty items
        assert sorted(np.concatenate(of_source[epoch : epoch + 2])) == list(range(60, 80))


def test_a_monolingual_set_beside_a_parallel_one():
    passages_IL = np.concatenate([passages(30), passages(40) + 1000])
    passages_IL[30:, :2] = -1  # the second has the last language alone
    plan = make(
        passages_IL, sets=[SetShare("parallel", 30, 1.0), SetShare("alone", 40, 1.0)], monolingual=0.5, batch_size=8
    )
    kinds = {source.set: {s.kind for s in plan.sources if s.set == source.set} for source in plan.sources}
    assert kinds == {"parallel": {"monolingual", "cross_lingual"}, "alone": {"monolingual"}}
    assert ("alone/mono:ar", 0) in plan.excluded
    mixed = make(
        passages_IL,
        sets=[SetShare("parallel", 30, 1.0), SetShare("alone", 40, 1.0)],
        monolingual=0.0,
        cross_lingual=0.5,
        mixed_monolingual=0.5,
        cross_lingual_by="example",
        batch_size=8,
    )
    assert [source.label for source in mixed.sources] == ["parallel/cross:*", "parallel/mixed:*", "alone/mixed:*"]
