"""The two-way analysis of variance: against statsmodels, with and without missing cells."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import AnovaRM

from xling.report.anova import two_way
from xling.report.rows import Ratio

SIZES, ALPHAS = ("small", "base", "large"), (0.0, 0.5, 0.75, 1.0)


def drawn(seed, seeds=3, interaction=0.0):
    """Values with effects of seeds on everything, by point and seed."""
    rng = np.random.default_rng(seed)
    y_SAR = rng.normal(size=(3, 4, seeds)) + 3 * rng.normal(size=seeds) + 2 * rng.normal(size=(3, 1, seeds))
    y_SAR += 2 * rng.normal(size=(1, 4, seeds)) + np.arange(3)[:, None, None]
    y_SAR += interaction * np.outer(np.arange(3), np.arange(4))[:, :, None]
    return {
        (size, Ratio(alpha)): {seed: float(y_SAR[s, a, seed]) for seed in range(seeds)}
        for s, size in enumerate(SIZES)
        for a, alpha in enumerate(ALPHAS)
    }


def frame(values):
    rows = [(size, str(ratio), seed, y) for (size, ratio), of in values.items() for seed, y in of.items()]
    return pd.DataFrame(rows, columns=["size", "alpha", "seed", "y"])


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_whole_grid_has_the_repeated_measures_anova_of_statsmodels(seeds):
    values = drawn(seeds, seeds)
    theirs = AnovaRM(frame(values), "y", "seed", within=["size", "alpha"]).fit().anova_table
    ours = {term.name: term for term in two_way(values)}
    for name, of in (("size", "size"), ("alpha", "alpha"), ("size x alpha", "size:alpha")):
        expected = theirs.loc[of]
        found = ours[name]
        assert (found.df, found.df_error) == (expected["Num DF"], expected["Den DF"])
        assert (found.ratio, found.p) == (pytest.approx(expected["F Value"]), pytest.approx(expected["Pr > F"]))


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
def test_with_missing_cells_and_unequal_seeds_the_interaction_is_that_of_least_squares():
    values = drawn(7, 4)
    del values["base", Ratio(0.5)]
    del values["small", Ratio(0.0)][3]
    del values["large", Ratio(1.0)][0]
    data = frame(values)
    blocks = "C(size):C(seed) + C(alpha):C(seed)"
    whole = smf.ols(f"y ~ {blocks} + C(size):C(alpha)", data).fit()
    ratio, p, df = whole.compare_f_test(smf.ols(f"y ~ {blocks}", data).fit())
    (ours,) = two_way(values)
    assert (ours.name, ours.df, ours.df_error) == ("size x alpha", df, whole.df_resid)
    assert (ours.ratio, ours.p) == (pytest.approx(ratio), pytest.approx(p))


def test_what_seeds_do_to_sizes_and_mixes_does_not_move_the_interaction():
    values = drawn(3)
    moved = {
        (size, ratio): {seed: y + 9 * seed * SIZES.index(size) - 5 * seed * ratio.alpha for seed, y in of.items()}
        for (size, ratio), of in values.items()
    }
    before, after = two_way(values)[-1], two_way(moved)[-1]
    assert (after.ratio, after.p) == (pytest.approx(before.ratio), pytest.approx(before.p))


def test_a_strong_interaction_is_found():
    assert two_way(drawn(1, 3, interaction=5.0))[-1].p < 1e-4


def test_one_seed_tests_nothing():
    assert two_way(drawn(0, 1)) == []
    assert two_way({}) == []


def test_seeds_that_no_two_sizes_share_test_no_interaction():
    values = {
        point: {seed + 10 * SIZES.index(point[0]): y for seed, y in of.items()} for point, of in drawn(0, 3).items()
    }
    assert two_way(values) == []


def test_one_size_has_no_interaction():
    values = {point: of for point, of in drawn(0).items() if point[0] == "small"}
    assert [term.name for term in two_way(values)] == ["alpha"]


@pytest.mark.parametrize("interaction", [0.0, 1.0])
def test_without_any_error_an_effect_is_certain_and_none_is_not_made_up(interaction):
    values = {
        (size, Ratio(alpha)): dict.fromkeys(range(3), s + a + interaction * s * a)
        for s, size in enumerate(SIZES)
        for a, alpha in enumerate(ALPHAS)
    }
    term = two_way(values)[-1]
    assert (math.isinf(term.ratio), term.p) == ((True, 0.0) if interaction else (False, 1.0))
    assert (term.squares > 1) if interaction else (term.squares == 0)  # no 3.2e-29
