"""The sentences: they say what constructed numbers say."""

import re

from xling.report.rows import ScoreRow
from xling.report.sentence import summary


def rows(table, seeds=(0,), strata=None):
    """Rows from {(size, alpha): (Mo, Cr, Mul, rank distance)}."""
    names = ("mAP/Mo", "mAP/Cr", "mAP/Mul", "rank_distance")
    found = []
    for (size, alpha), figures in table.items():
        figures = dict(zip(names, figures, strict=False))
        for seed in seeds:
            found.append(ScoreRow(f"{size}/{alpha}/{seed}", size, alpha, seed, "geo", figures, strata or {}))
    return found


def clause(text, measure):
    """What is said of one measure."""
    return re.search(rf"\({re.escape(measure)}\) ([^;]*?)(?:;|\. )", text).group(1)


DEMO = {
    ("tiny", None): (0.339, 0.135, 0.084, 1600),
    ("tiny", 0.0): (0.942, 0.663, 0.597, 149),
    ("tiny", 0.5): (0.945, 0.604, 0.527, 228),
    ("tiny", 1.0): (0.971, 0.218, 0.218, 1166),
    ("mid", None): (0.387, 0.164, 0.100, 1437),
    ("mid", 0.0): (0.960, 0.758, 0.700, 148),
    ("mid", 0.5): (0.972, 0.711, 0.635, 173),
    ("mid", 1.0): (0.986, 0.324, 0.290, 915),
}


def test_measures_that_disagree_are_each_given_their_own_best_alpha():
    text = summary(rows(DEMO))
    assert clause(text, "Mo.") == "alpha 1 at every size"
    for measure in ("Cr.", "Mul.", "rank distance"):
        assert clause(text, measure) == "alpha 0 at every size"


def test_the_gain_from_size_is_given_by_alpha():
    text = summary(rows(DEMO))
    assert "+0.103 at alpha 0, +0.108 at alpha 0.5, +0.072 at alpha 1" in text
    assert "hangs on the ratio" in text


def test_a_gain_that_is_the_same_everywhere_is_not_called_an_interaction():
    even = {(size, alpha): (0.5, 0.5, 0.5 + 0.1 * (size == "mid"), 100) for size in ("tiny", "mid") for alpha in (0, 1)}
    assert "much the same at every ratio" in summary(rows(even))


def test_monolingual_wins():
    text = summary(rows({("s", 0.0): (0.1, 0.1, 0.1, 300), ("s", 1.0): (0.5, 0.5, 0.5, 100)}))
    assert {clause(text, measure) for measure in ("Mo.", "Cr.", "Mul.", "rank distance")} == {"alpha 1"}


def test_a_hybrid_wins():
    table = {("s", 0.0): (0.1, 0.1, 0.1, 300), ("s", 0.5): (0.7, 0.7, 0.7, 30), ("s", 1.0): (0.5, 0.5, 0.5, 100)}
    text = summary(rows(table))
    assert {clause(text, measure) for measure in ("Mo.", "Cr.", "Mul.", "rank distance")} == {"alpha 0.5"}


def test_sizes_that_disagree_are_named():
    table = {**DEMO, ("mid", 0.5): (0.999, 0.9, 0.9, 20)}
    assert clause(summary(rows(table)), "Cr.") == "alpha 0 at tiny, alpha 0.5 at mid"


def test_a_small_difference_is_a_tie():
    table = {("s", 0.0): (0.500, 0.5, 0.5, 100), ("s", 1.0): (0.505, 0.3, 0.3, 101)}
    text = summary(rows(table))
    assert clause(text, "Mo.") == "alpha 0 and 1 (a tie)"
    assert clause(text, "rank distance") == "alpha 0 and 1 (a tie)"


def test_the_baseline_never_wins():
    table = {("s", None): (0.9, 0.9, 0.9, 1), ("s", 0.0): (0.5, 0.5, 0.5, 100), ("s", 1.0): (0.3, 0.3, 0.3, 200)}
    assert clause(summary(rows(table)), "Mul.") == "alpha 0"


def test_a_missing_cell_is_left_out():
    table = {key: value for key, value in DEMO.items() if key != ("mid", 1.0)}
    text = summary(rows(table))
    assert clause(text, "Mo.") == "alpha 1 at tiny, alpha 0.5 at mid"
    assert "at alpha 1" not in text.partition("From tiny to mid")[2]


def test_one_size_one_alpha_or_nothing():
    assert "nothing can be said of size" in summary(
        rows({("s", 0.0): (0.1, 0.1, 0.1, 9), ("s", 1.0): (0.5, 0.5, 0.5, 1)})
    )
    one_alpha = summary(rows({("s", 0.5): (0.1, 0.1, 0.1, 3), ("m", 0.5): (0.2, 0.1, 0.3, 3)}))
    assert "nothing can be said of the mixing ratio" in one_alpha
    assert "+0.200 at alpha 0.5" in one_alpha
    assert (
        summary([])
        == summary(rows({("s", None): (0.1, 0.1, 0.1, 3)}))
        == "No cell is done yet: there is nothing to say."
    )


def test_a_stratum_is_read_alone_and_named():
    wordings = {"wording=unseen": {"mAP/Mo": 0.2}}
    best = ScoreRow("a", "s", 0.0, 0, "geo", {"mAP/Mo": 0.1}, {"wording=unseen": {"mAP/Mo": 0.9}})
    other = ScoreRow("b", "s", 1.0, 0, "geo", {"mAP/Mo": 0.9}, wordings)
    text = summary([best, other], "wording=unseen")
    assert clause(text, "Mo.") == "alpha 0 (wording unseen)"


def test_seeds_are_told():
    assert "One seed" in summary(rows(DEMO))
    assert "Means of 3 seeds" in summary(rows(DEMO, seeds=(0, 1, 2)))
