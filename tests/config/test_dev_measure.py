"""Which of two dev values is better, and what can be compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xling.config.dev_measure import KEYS, MAP, DevMeasure
from xling.config.schema import TrainConfig

VALUES = st.floats(0, 10)
MEASURES = st.sampled_from([MAP, DevMeasure("loss", 0.05, 1024)])


def test_mAP_is_to_rise_and_a_loss_to_fall():
    assert MAP.is_better(0.6, 0.5)
    assert DevMeasure("loss").is_better(0.5, 0.6)
    assert MAP.ranked([0.5, 0.7, 0.6]) == [0.7, 0.6, 0.5]
    assert DevMeasure("loss").ranked([0.5, 0.7, 0.6]) == [0.5, 0.6, 0.7]


@given(MEASURES, VALUES, VALUES)
def test_of_two_values_one_is_better_or_each_reaches_the_other(measure, one, other):
    assert measure.reaches(one, other) == (measure.is_better(one, other) or one == other)
    assert measure.is_better(one, other) != measure.reaches(other, one)
    assert measure.ranked([one, other])[0] == (other if measure.is_better(other, one) else one)


def test_a_cells_measure_holds_all_that_its_values_depend_on():
    assert TrainConfig(temperature=0.02).measure == TrainConfig().measure == MAP
    loss = TrainConfig(dev_measure="loss")
    assert loss.measure == DevMeasure("loss", 0.05, 1024)
    assert loss.measure != TrainConfig(dev_measure="loss", temperature=0.02).measure
    assert loss.measure != TrainConfig(dev_measure="loss", dev_pool=64).measure
    assert loss.measure == TrainConfig(dev_measure="loss", lr=1.0, batch_size=8).measure


@pytest.mark.parametrize(("name", "title", "key"), [("mAP", "dev", "dev"), ("loss", "dev loss", "dev_loss")])
def test_what_it_is_called(name, title, key):
    assert (DevMeasure(name).title, DevMeasure(name).key) == (title, key)
    assert key in KEYS
