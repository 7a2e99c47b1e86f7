"""The sentences: they say what constructed numbers say, and nothing else."""

import re

from xling.report.rows import ScoreRow, StoppedRow
from xling.report.sentence import counted, summary

NAMES = ("mAP/Mo", "mAP/Cr", "mAP/Mul", "rank_distance")
MEASURES = ("Mo.", "Cr.", "Mul.", "rank distance")


def rows(table, seeds=(0,), noise=0.0):
    """Rows from {(size, alpha): (Mo, Cr, Mul, rank distance)}; seeds lie ``noise`` apart in mAP."""
    return [
        ScoreRow(f"{size}/{alpha}/{seed}", size, alpha, seed, "geo", figures_of(values, noise * seed))
        for (size, alpha), values in table.items()
        for seed in seeds
    ]


def figures_of(values, shift):
    return {name: value + shift * (value < 1) for name, value in zip(NAMES, values, strict=True)}


def best(text, measure):
    """The alphas that the clause of a measure names, by where: ``{"everywhere": ["1"]}``."""
    clause = re.search(rf"\({re.escape(measure)}\), (.*?)(?:;|\.(?!\d))", text).group(1)
    parts = {size: part for part, size in re.findall(r"(.*?) at (tiny|mid)", clause)} or {"everywhere": clause}
    return {where: re.findall(r"alpha ([\d.]*\d)", part) for where, part in parts.items()}


DEMO = {
    ("tiny", None): (0.339, 0.135, 0.084, 1600),
    ("tiny", 0.0): (0.942, 0.663, 0.597, 149),
    ("tiny", 0.5): (0.945, 0.604, 0.527, 228),
    ("tiny", 1.0): (0.971, 0.218, 0.218, 1166),
    ("mid", None): (0.387, 0.164, 0.100, 1437),
    ("mid", 0.0): (0.960, 0.758, 0.700, 140),
    ("mid", 0.5): (0.972, 0.711, 0.635, 173),
    ("mid", 1.0): (0.986, 0.324, 0.290, 915),
}


def test_measures_that_disagree_are_each_given_their_own_best_alpha():
    text = summary(rows(DEMO))
    assert best(text, "Mo.") == {"everywhere": ["1"]}
    for measure in ("Cr.", "Mul.", "rank distance"):
        assert best(text, measure) == {"everywhere": ["0"]}


def test_the_gain_from_size_is_given_at_every_alpha():
    text = summary(rows(DEMO))
    gains = re.findall(r"([+-][\d.]+) at alpha ([\d.]*\d)", text)
    assert gains == [("+0.103", "0"), ("+0.108", "0.5"), ("+0.072", "1")]
    assert "not the same at every ratio" in text


def test_a_gain_that_is_the_same_everywhere_is_not_called_an_interaction():
    even = {(size, alpha): (0.5, 0.5, 0.5 + 0.1 * (size == "mid"), 100) for size in ("tiny", "mid") for alpha in (0, 1)}
    assert "about the same at every ratio" in summary(rows(even))


def test_monolingual_wins():
    text = summary(rows({("s", 0.0): (0.1, 0.1, 0.1, 300), ("s", 1.0): (0.5, 0.5, 0.5, 100)}))
    assert [best(text, measure) for measure in MEASURES] == [{"everywhere": ["1"]}] * 4


def test_a_hybrid_wins():
    table = {("s", 0.0): (0.1, 0.1, 0.1, 300), ("s", 0.5): (0.7, 0.7, 0.7, 30), ("s", 1.0): (0.5, 0.5, 0.5, 100)}
    text = summary(rows(table))
    assert [best(text, measure) for measure in MEASURES] == [{"everywhere": ["0.5"]}] * 4


def test_sizes_that_disagree_are_named():
    text = summary(rows({**DEMO, ("mid", 0.5): (0.999, 0.9, 0.9, 20)}))
    assert best(text, "Cr.") == {"tiny": ["0"], "mid": ["0.5"]}


def test_with_one_seed_a_small_difference_is_no_win():
    table = {("s", 0.0): (0.500, 0.5, 0.5, 100), ("s", 0.5): (0.505, 0.3, 0.3, 101), ("s", 1.0): (0.4, 0.2, 0.2, 300)}
    text = summary(rows(table))
    assert best(text, "Mo.") == {"everywhere": ["0", "0.5"]}
    assert best(text, "rank distance") == {"everywhere": ["0", "0.5"]}
    assert best(text, "Cr.") == {"everywhere": ["0"]}


def test_with_seeds_their_scatter_decides_what_is_a_tie():
    table = {("s", 0.0): (0.50, 0.5, 0.5, 100), ("s", 0.5): (0.54, 0.3, 0.3, 200), ("s", 1.0): (0.1, 0.2, 0.2, 300)}
    assert best(summary(rows(table, seeds=(0, 1), noise=0.001)), "Mo.") == {"everywhere": ["0.5"]}
    assert best(summary(rows(table, seeds=(0, 1), noise=0.1)), "Mo.") == {"everywhere": ["0", "0.5"]}


def test_the_baseline_never_wins_and_training_that_did_not_help_is_told():
    table = {("s", None): (0.9, 0.9, 0.9, 1), ("s", 0.0): (0.5, 0.5, 0.5, 100), ("s", 1.0): (0.3, 0.3, 0.3, 200)}
    text = summary(rows(table))
    assert best(text, "Mul.") == {"everywhere": ["0"]}
    assert "At s, no trained cell has a higher Mul. than the start" in text
    assert "no trained cell" not in summary(rows(DEMO))


def test_a_missing_cell_is_left_out_and_named():
    text = summary(rows({key: value for key, value in DEMO.items() if key != ("mid", 1.0)}))
    assert best(text, "Mo.") == {"tiny": ["1"], "mid": ["0.5"]}
    assert re.findall(r"[+-][\d.]+ at alpha ([\d.]*\d)", text) == ["0", "0.5"]
    assert "mid at alpha 1" in text


def test_schedules_of_one_mean_are_told_apart_by_name():
    cells = [
        ScoreRow(name, "s", 0.5, 0, "geo", figures_of((mono, 0.5, 0.5, 100), 0), schedule=name)
        for name, mono in (("", 0.1), ("1to0", 0.2), ("0to1", 0.9))
    ]
    text = summary(cells, stopped=[StoppedRow("t/a1to0", "t", 0.5, "it was slow", "1to0")])
    assert "within a language (Mo.), alpha 0to1 is best" in text.lower().replace("mo.", "Mo.")
    gaps = [*cells, ScoreRow("t", "t", 0.5, 0, "geo", {})]
    stopped = [StoppedRow("t/a1to0", "t", 0.5, "it was slow", "1to0")]
    assert "left out: t at alpha 0to1." in summary(gaps, stopped=stopped)


def test_one_size_cannot_tell_of_size():
    one_size = {("s", 0.0): (0.1, 0.1, 0.1, 9), ("s", 1.0): (0.5, 0.5, 0.5, 1)}
    assert "nothing can be said of size" in summary(rows(one_size))


def test_one_alpha_cannot_tell_of_mixing():
    text = summary(rows({("s", 0.5): (0.1, 0.1, 0.1, 3), ("m", 0.5): (0.2, 0.1, 0.3, 3)}))
    assert "nothing can be said of the mixing ratio" in text
    assert "+0.200 at alpha 0.5" in text


def test_without_a_trained_cell_there_is_nothing_to_say():
    nothing = "No cell is done yet: there is nothing to say."
    assert summary([]) == nothing
    assert summary(rows({("s", None): (0.1, 0.1, 0.1, 3)})) == nothing


def test_a_monolingual_set_is_spoken_of_by_mo_alone():
    of_set = [ScoreRow(f"{s}{a}", s, a, 0, "miracl", {"mAP/Mo": a / 2}) for s in ("x", "y") for a in (0.0, 1.0)]
    text = summary(of_set)
    assert best(text, "Mo.") == {"everywhere": ["1"]}
    assert "Cr." not in text
    assert "From x to y, Mo. changes" in text


def test_a_stratum_is_read_alone_and_named():
    cells = [
        ScoreRow("a", "s", 0.0, 0, "geo", {"mAP/Mo": 0.1}, {"wording=unseen": {"mAP/Mo": 0.9}}),
        ScoreRow("b", "s", 1.0, 0, "geo", {"mAP/Mo": 0.9}, {"wording=unseen": {"mAP/Mo": 0.2}}),
    ]
    assert best(summary(cells), "Mo.") == {"everywhere": ["1"]}
    text = summary(cells, "wording=unseen")
    assert best(text, "Mo.") == {"everywhere": ["0"]}
    assert "unseen wording" in text


def test_seeds_are_told():
    assert "One seed" in summary(rows(DEMO))
    assert summary(rows(DEMO, seeds=(0, 1, 2))).endswith(
        "Means of 3 seeds; what lies within one standard deviation is called a tie."
    )


def test_seeds_are_those_of_each_size_and_alpha():
    three = rows(DEMO, seeds=(0, 1, 2))
    fewer = [row for row in three if (row.size, row.alpha, row.seed) != ("mid", 1.0, 2)]
    assert "Means of 2 to 3 seeds; what lies within one standard deviation is called a tie." in summary(fewer)
    single = [row for row in three if (row.size, row.alpha) != ("mid", 1.0) or row.seed == 1]
    assert summary(single).endswith(
        "Means of 1 to 3 seeds; what lies within one standard deviation is called a tie, beside a single seed "
        "up to 0.01 in mAP, or 2% in rank distance."
    )
    of_one_each = [row for row in three if row.alpha is None or row.seed == int(row.alpha * 2)]
    assert "One seed: what is chance cannot be told" in summary(of_one_each)


def test_what_failed_is_not_said_not_to_have_been_run():
    only = "Only alpha 0.5 is done: nothing can be said of the mixing ratio. Only one size is done: nothing can be said"
    assert summary(rows({("s", 0.5): (0.1, 0.1, 0.1, 3)})).startswith(only)
    apart = rows({("s", 0.5): (0.1, 0.1, 0.1, 3), ("m", 1.0): (0.2, 0.1, 0.3, 3)})
    assert "No size is done at two ratios" in summary(apart)


def test_one_is_no_plural():
    assert [counted(1, "cell"), counted(2, "mix"), counted(1234, "cell")] == ["1 cell", "2 mixes", "1,234 cells"]


def test_the_whole_text_reads_well():
    table = {
        ("tiny", 0.0): (0.90, 0.600, 0.50, 100),
        ("tiny", 0.5): (0.95, 0.600, 0.60, 99),
        ("tiny", 1.0): (0.99, 0.200, 0.30, 900),
        ("mid", 0.0): (0.90, 0.700, 0.60, 100),
        ("mid", 0.5): (0.95, 0.705, 0.75, 150),
    }
    assert summary(rows(table), None) == (
        "Within a language (Mo.), alpha 1 is best at tiny and alpha 0.5 is best at mid; "
        "across languages (Cr.), alpha 0 and alpha 0.5 tie for best at tiny and no alpha stands out at mid; "
        "over all languages at once (Mul.), alpha 0.5 is best at every size; "
        "for the least language bias (rank distance), alpha 0 and alpha 0.5 tie for best at tiny "
        "and alpha 0 is best at mid. "
        "From tiny to mid, Mul. changes by +0.100 at alpha 0 and +0.150 at alpha 0.5: not the same at every ratio. "
        "Not done yet, and left out: mid at alpha 1. "
        "One seed: what is chance cannot be told; up to 0.01 in mAP, or 2% in rank distance, is called a tie."
    )
