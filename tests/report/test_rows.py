"""Rows: their order, and figures over seeds."""

import pytest

from xling.report.rows import Ratio, ScoreRow, headline, in_order, mean_of, ratios_of, sizes_of


def row(size, alpha, seed=0, mono=0.5, strata=None):
    return ScoreRow(f"{size}/a{alpha}/s{seed}", size, alpha, seed, "geo", {"mAP/Mo": mono}, strata or {})


def test_sizes_are_in_the_sweeps_order_not_the_alphabets():
    rows = [row("tiny", None), row("mini", None), row("mid", None), row("tiny", 0.0), row("mid", 0.0)]
    assert sizes_of(rows) == ["tiny", "mini", "mid"]
    assert in_order(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


def test_alphas_ascend_and_leave_out_the_baseline():
    found = ratios_of([row("s", 1.0), row("s", None), row("s", 0.25), row("s", 0.0), row("s", 1.0)])
    assert [str(ratio) for ratio in found] == ["0", "0.25", "1"]


def test_schedules_of_one_mean_are_ratios_of_their_own_and_never_averaged():
    falls, rises = (
        ScoreRow(f"s/a{name}", "s", 0.5, 0, "geo", {"mAP/Mo": mono}, schedule=name)
        for name, mono in (("1to0", 0.2), ("0to1", 0.6))
    )
    rows = [falls, row("s", 0.5, mono=0.9), rises]
    assert [str(ratio) for ratio in ratios_of(rows)] == ["0.5", "0to1", "1to0"]
    means = [mean_of(rows, "s", ratio, headline("mAP/Mo")) for ratio in ratios_of(rows)]
    assert [(mean.value, mean.seeds) for mean in means] == [(0.9, 1), (0.6, 1), (0.2, 1)]


def test_a_mean_knows_its_spread_and_seeds():
    rows = [row("s", 0.5, seed, mono) for seed, mono in enumerate((0.4, 0.5, 0.6))]
    mean = mean_of([*rows, row("s", 1.0), row("t", 0.5), row("s", None)], "s", Ratio(0.5), headline("mAP/Mo"))
    assert (mean.value, mean.spread, mean.seeds) == (pytest.approx(0.5), pytest.approx(0.1), 3)


def test_one_seed_has_no_spread():
    assert mean_of([row("s", 0.5)], "s", Ratio(0.5), headline("mAP/Mo")).spread is None


def test_a_seed_that_lacks_the_figure_is_left_out_not_counted_as_zero():
    rows = [row("s", 0.5, 0, 0.4), ScoreRow("x", "s", 0.5, 1, "geo", {})]
    mean = mean_of(rows, "s", Ratio(0.5), headline("mAP/Mo"))
    assert (mean.value, mean.seeds) == (0.4, 1)
    assert mean_of(rows, "s", Ratio(0.5), headline("mAP/Cr")) is None


def test_a_stratums_figure_is_its_own():
    one = row("s", 0.5, strata={"wording=unseen": {"mAP/Mo": 0.1}})
    assert headline("mAP/Mo")(one) == 0.5
    assert headline("mAP/Mo", "wording=unseen")(one) == 0.1
    assert headline("mAP/Mo", "wording=seen")(one) is None


def test_the_baseline_is_read_by_no_alpha():
    assert mean_of([row("s", None, mono=0.3), row("s", 0.0)], "s", None, headline("mAP/Mo")).value == 0.3
