"""Estimates: against scipy over seeds, against `xling compare` over questions."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from swept_cells import MO, at, cell, grid_of, per_query, sweep

from xling.evaluate.paired import pair_up
from xling.evaluate.significance import compare
from xling.report.cell_values import Figure
from xling.report.estimates import Basis, Estimates, basis_says, difference, from_seeds

CONTRAST = {at("large", 0.5): 1.0, at("large", 1.0): -1.0, at("small", 0.5): -1.0, at("small", 1.0): 1.0}
MEANS = {("small", 0.5): 0.5, ("small", 1.0): 0.4, ("large", 0.5): 0.7, ("large", 1.0): 0.5}


@pytest.mark.parametrize("seeds", [3, 5])
def test_over_seeds_a_value_has_scipys_t_interval(seeds):
    values = np.random.default_rng(seeds).normal(0.02, 0.03, seeds)
    ours, theirs = from_seeds(values), stats.ttest_1samp(values, 0)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-9)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.value, ours.seeds, ours.basis) == (pytest.approx(values.mean()), seeds, Basis.SEEDS)


def test_a_difference_of_differences_is_taken_within_seeds():
    cells = grid_of(MEANS, seeds=4, noise=0.02)
    (ours,) = Estimates(sweep(cells)).of(MO, [CONTRAST])
    by_key = {(c.row.size, c.row.alpha, c.row.seed): c.row.headline["mAP/Mo"] for c in cells}
    within = [sum(w * by_key[size, ratio.alpha, seed] for (size, ratio), w in CONTRAST.items()) for seed in range(4)]
    theirs = stats.ttest_1samp(within, 0)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert ours.p == pytest.approx(theirs.pvalue)


def test_what_a_seed_does_to_a_size_or_to_a_mix_is_no_error_of_the_contrast():
    cells = grid_of(MEANS, seeds=3, noise=0.01)
    moved = [
        cell(c.row.size, c.row.alpha, c.row.seed, Mo=c.row.headline["mAP/Mo"] + shift)
        for c in cells
        for shift in [c.row.seed * (0.3 + 0.2 * (c.row.size == "large") + 0.5 * (c.row.alpha == 1))]
    ]
    (before,), (after,) = (Estimates(sweep(of)).of(MO, [CONTRAST]) for of in (cells, moved))
    assert (after.low, after.high, after.p) == pytest.approx((before.low, before.high, before.p))


def test_only_seeds_that_all_points_have_count():
    cells = grid_of({("small", 0.0): 0.5, ("small", 1.0): 0.4}, seeds=4, noise=0.01)
    odd = cell("small", 1.0, 9, Mo=100.0)
    known = Estimates(sweep(cells)).of(MO, [difference(at("small", 0.0), at("small", 1.0))])
    assert Estimates(sweep(cells, odd)).of(MO, [difference(at("small", 0.0), at("small", 1.0))]) == known


def test_seeds_that_agree_to_the_last_digit_leave_no_doubt():
    apart, same = from_seeds([0.25] * 3), from_seeds([0.0] * 3)
    assert (apart.low, apart.high, apart.decided) == (0.25, 0.25, True)
    assert (same.p, same.decided) == (1, False)


def test_two_seeds_are_too_few_for_an_interval_over_seeds():
    (found,) = Estimates(sweep(grid_of({("small", 0.0): 0.5}, seeds=2))).of(MO, [{at("small", 0.0): 1.0}])
    assert (found.basis, found.seeds, found.value) == (Basis.NONE, 2, pytest.approx(0.5))
    assert found.interval_text(3) == "–"
    assert not found.decided


LANGUAGES = ["ar", "de", "en"]


def measured(seed, shift=0.0, missing=0.2):
    """Values by question, the same ones unmeasured whatever the seed: some pairs have fewer queries than others."""
    gaps = np.random.default_rng(99).random((40, 3, 4)) < missing * np.array([0, 1, 2, 1])
    values = np.random.default_rng(seed).random((40, 3, 4)) + shift
    return per_query(np.where(gaps, np.nan, values), LANGUAGES)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_with_one_seed_a_difference_has_the_interval_that_compare_gives(missing):
    a, b = measured(1, 0.02, missing), measured(2, 0.0, missing)
    theirs = compare(pair_up(a, b, "mAP"), resamples=500, seed=3)
    for group in ("Mo", "Cr", "Mul", "de-en"):
        figure = Figure(f"mAP/{group}", group)
        cells = [cell("small", 0.0, per_query=a, **{group: 0.5}), cell("small", 1.0, per_query=b, **{group: 0.4})]
        (ours,) = Estimates(sweep(cells), resamples=500, seed=3).of(
            figure, [difference(at("small", 0.0), at("small", 1.0))]
        )
        expected = theirs[group]
        assert (ours.low, ours.high, ours.p) == pytest.approx((expected.low, expected.high, expected.p), abs=1e-9)
        assert (ours.basis, ours.value) == (Basis.QUESTIONS, pytest.approx(0.1))


def test_scripts_are_groups_of_pairs():
    a, b = measured(1, missing=0), measured(2, missing=0)
    cells = [cell("small", 0.0, per_query=a, Cr_same_script=0.5), cell("small", 1.0, per_query=b, Cr_same_script=0.4)]
    (ours,) = Estimates(sweep(cells), resamples=500).of(
        Figure("mAP/Cr_same_script", ""), [difference(at("small", 0.0), at("small", 1.0))]
    )
    latin = [only_latin(t) for t in (a, b)]  # de-en and en-de: the only pairs of one script
    expected = compare(pair_up(*latin, "mAP"), resamples=500)["Cr"]
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def only_latin(table):
    pairs = zip(table["query_language"].to_pylist(), table["passage_language"].to_pylist(), strict=True)
    return table.filter(pa.array([pair in (("de", "en"), ("en", "de")) for pair in pairs]))


def test_two_seeds_are_averaged_before_questions_are_resampled():
    seeds = [[measured(10 * point + seed, missing=0) for seed in (0, 1)] for point in (1, 2)]
    cells = [
        cell("small", alpha, seed, per_query=table, Mo=0.5)
        for alpha, tables in zip((0.0, 1.0), seeds, strict=True)
        for seed, table in enumerate(tables)
    ]
    (ours,) = Estimates(sweep(cells), resamples=500).of(MO, [difference(at("small", 0.0), at("small", 1.0))])
    means = [
        tables[0].set_column(4, "mAP", [(tables[0]["mAP"].to_numpy() + tables[1]["mAP"].to_numpy()) / 2])
        for tables in seeds
    ]
    expected = compare(pair_up(*means, "mAP"), resamples=500)["Mo"]
    assert (ours.low, ours.high, ours.seeds) == (
        pytest.approx(expected.low, abs=1e-9),
        pytest.approx(expected.high, abs=1e-9),
        2,
    )


def test_cells_measured_on_other_questions_are_not_held_against_each_other():
    other = per_query(np.random.default_rng(0).random((39, 3, 4)), LANGUAGES)
    cells = [cell("small", 0.0, per_query=measured(1), Mo=0.5), cell("small", 1.0, per_query=other, Mo=0.4)]
    (found,) = Estimates(sweep(cells), resamples=100).of(MO, [difference(at("small", 0.0), at("small", 1.0))])
    assert (found.basis, found.value) == (Basis.NONE, pytest.approx(0.1))
    for one in cells:  # each has its own interval, whichever comes first
        point = at("small", one.row.alpha)
        together, alone = (Estimates(sweep(of), resamples=100).of(MO, [{point: 1.0}])[0] for of in (cells, [one]))
        assert (together.basis, together.low, together.high) == (Basis.QUESTIONS, alone.low, alone.high)


def test_a_point_without_the_figure_has_no_estimate():
    cells = [cell("small", 0.0, Mo=0.5), cell("small", 1.0, Cr=0.4)]
    nan = cell("small", 0.5, Mo=float("nan"))
    sums = [{at("small", 1.0): 1.0}, {at("small", 0.5): 1.0}, {at("small", 0.25): 1.0}]
    assert Estimates(sweep(cells, nan)).of(MO, sums) == [None, None, None]


def test_a_familys_p_values_are_holms():
    cells = grid_of({("small", a): m for a, m in [(0.0, 0.5), (0.5, 0.52), (0.75, 0.4), (1.0, 0.5)]}, 4, noise=0.01)
    sums = [difference(at("small", a), at("small", 1.0)) for a in (0.0, 0.5, 0.25, 0.75)]
    found = Estimates(sweep(cells)).family(MO, sums)
    assert found[2] is None
    known = [found[n] for n in (0, 1, 3)]
    assert [e.p_holm for e in known] == pytest.approx(list(multipletests([e.p for e in known], method="holm")[1]))
    assert [e.decided for e in known] == [e.p_holm < 0.05 for e in known]


def test_what_intervals_are_over_is_said():
    seeds = from_seeds([0.1, 0.2, 0.3])
    cells = [cell("small", 0.0, per_query=measured(1), Mo=0.5)]
    (questions,) = Estimates(sweep(cells), resamples=100).of(MO, [{at("small", 0.0): 1.0}])
    assert basis_says([seeds, None]) == "95 % intervals are t-intervals over 3 seeds."
    assert "over questions, for these trained models" in basis_says([questions])
    assert "nothing is claimed" in basis_says([questions])
    assert "seeds." not in basis_says([questions])
    assert "the other intervals are over questions" in basis_says([seeds, questions])
    assert "Where no interval stands" in basis_says([from_seeds([0.1])])
    assert [e.basis_text() for e in (seeds, questions)] == ["3 seeds", "questions (1 seed)"]


ALIKE = {("small", 0.5): 0.2, ("small", 1.0): 0.1, ("large", 0.5): 0.3, ("large", 1.0): 0.2}  # .3 - .2 - .2 + .1 > 0


def test_what_rounding_leaves_is_no_difference_however_often_it_comes():
    (found,) = Estimates(sweep(grid_of(ALIKE, seeds=3))).of(MO, [CONTRAST])
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.decided


def test_over_questions_too_nothing_is_left_but_0():
    cells = [
        cell(size, alpha, Mo=mean, per_query=per_query(np.full((7, 3, 4), mean), LANGUAGES))
        for (size, alpha), mean in ALIKE.items()
    ]
    (found,) = Estimates(sweep(cells)).of(MO, [CONTRAST])
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.with_interval(3, sign=True) == ".000 [.000, .000]"
