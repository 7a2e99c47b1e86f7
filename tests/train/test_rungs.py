"""The decision at a milestone, and what is kept of it."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.config.dev_measure import MAP, DevMeasure
from xling.storage import Storage
from xling.train.rungs import Rungs, RungSpec, as_percent, best_share, decide, forget, milestone_steps

VALUES = st.lists(st.integers(0, 12).map(lambda n: n / 12), max_size=30)
FACTORS = st.integers(2, 6)


@settings(deadline=None)
@given(st.floats(0, 1), VALUES, FACTORS)
def test_the_best_share_of_all_so_far_goes_on_and_ties_with_it(value, rivals, factor):
    places = max(1, (len(rivals) + 1) // factor)
    verdict = decide(value, rivals, factor, MAP)
    assert verdict.goes_on == (sum(rival > value for rival in rivals) < places)
    assert verdict.cells == len(rivals) + 1
    if verdict.cutoff is not None:
        assert decide(verdict.cutoff, rivals, factor, MAP).goes_on
        assert not decide(verdict.cutoff - 1e-6, rivals, factor, MAP).goes_on


@settings(deadline=None)
@given(st.floats(0, 1), VALUES, FACTORS)
def test_it_is_ray_tunes_rule_without_its_interpolation(value, rivals, factor):
    """Tune cuts at a percentile of the rivals, between two of them; ours is a place among all."""
    from ray.tune.schedulers.async_hyperband import _Bracket

    theirs = _Bracket(1, 1, factor, 0).cutoff(dict(enumerate(rivals)))
    verdict = decide(value, rivals, factor, MAP)
    if theirs is None or verdict.cutoff is None:
        assert verdict.goes_on
        return
    assert verdict.cutoff >= theirs - 1e-9, "what Tune stops, we stop"
    assert sum(theirs + 1e-9 < rival < verdict.cutoff for rival in set(rivals)) <= 1, "and at most one place more"


@settings(deadline=None)
@given(st.floats(0, 1), VALUES, FACTORS)
def test_of_a_loss_the_lowest_go_on(value, rivals, factor):
    verdict = decide(value, rivals, factor, DevMeasure("loss"))
    mirrored = decide(-value, [-rival for rival in rivals], factor, MAP)
    assert (verdict.goes_on, verdict.cells) == (mirrored.goes_on, mirrored.cells)
    assert verdict.cutoff == (None if mirrored.cutoff is None else -mirrored.cutoff)


def test_the_first_goes_on_and_the_second_only_if_it_is_no_worse():
    assert decide(0.0, [], 3, MAP).goes_on
    assert decide(0.5, [0.5], 3, MAP).goes_on
    assert not decide(0.4, [0.5], 3, MAP).goes_on
    assert decide(0.4, [0.5, 0.1, 0.1, 0.1, 0.1], 3, MAP).goes_on  # the second of six


@pytest.mark.parametrize(
    ("shares", "total", "steps"),
    [
        ((0.25, 0.5), 300, {75: 0.25, 150: 0.5}),
        ((0.1,), 30, {3: 0.1}),  # 0.1 x 30 is above 3 in floating point
        ((0.25, 0.5), 10, {3: 0.25, 5: 0.5}),
        ((0.25, 0.5), 3, {1: 0.25, 2: 0.5}),
        ((0.25, 0.5), 2, {1: 0.5}),
        ((0.25, 0.5), 1, {}),
        ((0.25, 0.5), 0, {}),
    ],
)
def test_milestones_are_rounded_up_to_steps_before_the_last(shares, total, steps):
    assert milestone_steps(shares, total) == steps


@pytest.fixture
def root(tmp_path):
    return Storage(str(tmp_path))


def rungs(root, cell, *, stops=True, factor=3, group="g", measure="mAP"):
    return Rungs(root, RungSpec(f"s/rungs/{group}", cell, (0.25, 0.5), factor, stops, measure), 100, print)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b'{"value": "high", "step": 25}'])
def test_a_damaged_value_of_another_cell_counts_as_none_and_is_told(root, capsys, content):
    for number in range(3):
        rungs(root, f"rival{number}").arrive(25, 0.9)
    root.write("s/rungs/g/0.25/rival0.json", content)
    assert "of 3 cells" in rungs(root, "c").arrive(25, 0.1)
    told = capsys.readouterr().out
    assert told.startswith("early stopping passes over a cell's value: ")
    assert "rival0.json" in told
    root.write("s/rungs/g/0.25/c.json", content)  # its own: measured and decided anew
    assert "of 3 cells" in rungs(root, "c").arrive(25, 0.1)


def test_a_cell_is_held_against_those_that_were_there_before(root):
    assert rungs(root, "first").arrive(25, 0.1) is None
    assert rungs(root, "second").arrive(25, 0.35) is None
    assert rungs(root, "third").arrive(25, 0.312) == (
        "early stopping: dev 0.3120 after 25 % of its steps; "
        "to go on it had to be at least 0.3500, the best third of 3 cells"
    )
    assert rungs(root, "first").arrive(50, 0.2) is None  # nobody else came as far
    assert rungs(root, "other", group="h").arrive(25, 0.0) is None


def test_a_loss_that_is_too_high_stops(root):
    assert rungs(root, "first", measure="loss").arrive(25, 0.9) is None
    assert rungs(root, "second", measure="loss").arrive(25, 0.35) is None
    assert rungs(root, "third", measure="loss").arrive(25, 0.4) == (
        "early stopping: dev loss 0.4000 after 25 % of its steps; "
        "to go on it had to be at most 0.3500, the best third of 3 cells"
    )


def test_what_was_decided_stands(root):
    for cell, value in (("a", 0.2), ("b", 0.1)):
        rungs(root, cell).arrive(25, value)
    reason = rungs(root, "b").arrive(25, 0.1)
    rungs(root, "c").arrive(25, 0.9)
    assert rungs(root, "a").arrive(25, 0.2) is None  # by today's values it would have to stop
    assert rungs(root, "b").arrive(25, 0.95) == reason is not None
    assert rungs(root, "b", factor=2).arrive(25, None) == reason  # with the factor of then
    assert root.read_json("s/rungs/g/0.25/b.json") == {
        "value": 0.1,
        "step": 25,
        "decision": {"value": 0.1, "cells": 2, "cutoff": 0.2, "goes_on": False},
        "reduction_factor": 3,
    }


def test_a_death_between_the_value_and_the_decision_only_decides_anew(root, monkeypatch):
    rungs(root, "a").arrive(25, 0.2)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "list", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rungs(root, "b").arrive(25, 0.1)
    assert root.read_json("s/rungs/g/0.25/b.json") == {"value": 0.1, "step": 25}
    assert "at least 0.2000" in rungs(root, "b").arrive(25, 0.1)


def test_a_checkpoint_without_a_decision_goes_on(root):
    rungs(root, "a").arrive(25, 0.9)
    assert rungs(root, "b").arrive(25, None) is None
    assert root.list("s/rungs/g/0.25") == ["a.json"]


def test_one_that_was_asked_for_is_recorded_and_goes_on(root):
    rungs(root, "a").arrive(25, 0.2)
    assert rungs(root, "b", stops=False).arrive(25, 0.1) is None
    assert "at least 0.2000, the best third of 3 cells" in rungs(root, "c").arrive(25, 0.15)
    reason = rungs(root, "b").arrive(25, 0.1)
    assert reason is not None
    assert rungs(root, "b", stops=False).arrive(25, None) is None
    assert rungs(root, "b").arrive(25, None) == reason, "its being asked for changes nothing of what was decided"


def test_two_at_once_see_each_other(root, monkeypatch):
    """Both write before either looks: of two equals in time only the better goes on."""
    listed = Storage.list
    decisions = {}

    def list_after_the_other_came(storage, path=""):
        monkeypatch.setattr(Storage, "list", listed)
        decisions["b"] = rungs(root, "b").arrive(25, 0.2)
        return listed(storage, path)

    monkeypatch.setattr(Storage, "list", list_after_the_other_came)
    decisions["a"] = rungs(root, "a").arrive(25, 0.1)
    assert decisions["b"] is None
    assert "the best third of 2 cells" in decisions["a"]


def test_forgetting_removes_one_cell_from_all_groups(root):
    for group, cell, step in itertools.product("gh", "ab", (25, 50)):
        rungs(root, cell, group=group).arrive(step, 0.1)
    forget(root, "s", "a")
    forget(root, "s", "unknown")
    left = [root.list(f"s/rungs/{group}/{milestone}") for group in "gh" for milestone in ("0.25", "0.5")]
    assert left == [["b.json"]] * 4


def test_the_words_of_a_reason():
    assert [best_share(factor) for factor in (2, 3, 7)] == ["the best half", "the best third", "the best 1/7"]
    assert [as_percent(share) for share in (0.25, 0.1, 0.125)] == ["25 %", "10 %", "12.5 %"]
