"""What can be drawn from, how often, and what is refused."""

import numpy as np
import pytest
from small_plans import LANGUAGES, make, passages, uneven

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
