"""Scripts and unseen languages, of every size and mix."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from swept_cells import CR, MO, cell, per_query, sweep

from xling.evaluate.result import EvaluationResult
from xling.report.cell_values import CellValues, Figure
from xling.report.estimates import Basis, Estimates
from xling.report.groups import groups, language_groups

LANGUAGES = ("ar", "de", "en", "th")


def result(values):
    return EvaluationResult(
        dataset="toy",
        fingerprint="f",
        languages=LANGUAGES,
        headline={},
        pair_queries=np.ones((4, 4), np.int64),
        pair_values={"mAP": values},
        pool=None,
        strata={},
        per_query=pa.table({}),
    )


def test_means_are_over_pairs_by_how_many_of_their_languages_were_trained_on():
    values = np.arange(16.0).reshape(4, 4) / 16
    found = language_groups(result(values), ("de", "en"), "mAP")
    mixed = [values[i, j] for i in range(4) for j in range(4) if (i in (1, 2)) != (j in (1, 2))]
    assert found == pytest.approx(
        {
            "mAP/Mo_seen": np.mean([values[1, 1], values[2, 2]]),
            "mAP/Mo_unseen": np.mean([values[0, 0], values[3, 3]]),
            "mAP/Cr_seen": np.mean([values[1, 2], values[2, 1]]),
            "mAP/Cr_mixed": np.mean(mixed),
            "mAP/Cr_unseen": np.mean([values[0, 3], values[3, 0]]),
        }
    )


@pytest.mark.parametrize("seen", [(), LANGUAGES, ("fr",)])
def test_without_both_kinds_there_is_no_table(seen):
    found = language_groups(result(np.ones((4, 4))), seen, "mAP")
    assert found.keys() == {f"mAP/{kind}_{'seen' if seen == LANGUAGES else 'unseen'}" for kind in ("Mo", "Cr")}
    one = cell("small", 0.5, Mo=1.0)
    swept = sweep(CellValues(one.row, more=found))
    assert groups(swept, Estimates(swept), [MO]) is None


def test_who_was_trained_on_all_stands_beside_who_was_not():
    rest = {"mAP/Mo_seen": 0.6, "mAP/Mo_unseen": 0.5}
    ones = [(0.0, {"mAP/Mo_seen": 0.7}), (1.0, rest)]
    swept = sweep([CellValues(cell("small", alpha, Mo=0.5).row, more=more) for alpha, more in ones])
    body = groups(swept, Estimates(swept), [MO]).blocks[0].grid[1]
    assert [row[2:5] for row in body] == [[".700", "–", "–"], [".600", ".500", "+.100"]]


def test_a_group_without_a_scored_pair_is_left_out():
    values = np.ones((4, 4))
    values[1, 1] = values[2, 2] = np.nan
    found = language_groups(result(values), ("de", "en"), "mAP")
    assert "mAP/Mo_seen" not in found
    assert "mAP/Mo_unseen" in found


def test_scripts_are_shown_with_their_difference_within_seeds():
    rng = np.random.default_rng(1)
    pairs = [(0.6 + rng.normal() / 50, 0.5 + rng.normal() / 50) for _ in range(4)]
    cells = [
        cell("small", 0.5, n, Mo=0.5, Cr=0.5, Cr_same_script=a, Cr_different_script=b) for n, (a, b) in enumerate(pairs)
    ]
    swept = sweep(cells)
    section = groups(swept, Estimates(swept), [MO, CR])
    assert [block.name for block in section.blocks] == ["scripts", "script-gap"]
    low, high = stats.ttest_1samp([a - b for a, b in pairs], 0).confidence_interval(0.95)
    ((_, _, _, interval, basis),) = section.blocks[1].grid[1]
    assert (interval, basis) == (f"+{low:.3f} … +{high:.3f}".replace("0.", "."), "4 seeds")


def test_unseen_languages_have_a_table_and_a_sentence():
    cells = []
    for alpha, gap in ((0.0, 0.1), (1.0, 0.25)):
        one = cell("small", alpha, Mo=0.5)
        more = {"mAP/Mo_seen": 0.5 + gap, "mAP/Mo_unseen": 0.5}
        cells.append(CellValues(one.row, more=more))
    swept = sweep(cells)
    section = groups(swept, Estimates(swept), [MO])
    headings, body = section.blocks[0].grid
    assert headings[2:5] == ["Mo. of languages trained on", "Mo. of others", "Mo., trained on less others"]
    assert [row[:5] for row in body] == [
        ["small", "0", ".600", ".500", "+.100"],
        ["small", "1", ".750", ".500", "+.250"],
    ]
    assert {row[5] for row in body} == {"– (1 seed)"}
    assert "+.100 (small at alpha 0) to +.250 (small at alpha 1)" in section.says[0]


def test_with_three_seeds_means_of_unseen_languages_have_t_intervals():
    values = {0: (0.6, 0.5), 1: (0.64, 0.52), 2: (0.61, 0.47)}
    cells = [
        CellValues(cell("small", 0.5, seed, Mo=0.5).row, more={"mAP/Mo_seen": a, "mAP/Mo_unseen": b})
        for seed, (a, b) in values.items()
    ]
    swept = sweep(cells)
    ((_, _, seen, unseen, gap, basis),) = groups(swept, Estimates(swept), [MO]).blocks[0].grid[1]
    for text, of, sign in (
        (seen, [a for a, _ in values.values()], ""),
        (unseen, [b for _, b in values.values()], ""),
        (gap, [a - b for a, b in values.values()], "+"),
    ):
        low, high = stats.ttest_1samp(of, 0).confidence_interval(0.95)
        wanted = f"{sign}{np.mean(of):.3f} [{sign if low > 0 else ''}{low:.3f}, {sign}{high:.3f}]"
        assert text == wanted.replace("0.", ".")
    assert basis == "3 seeds"


@pytest.mark.parametrize("trained", ["de", "deu"])
def test_with_one_seed_they_are_over_the_questions_of_those_pairs_alone(trained):
    values = np.random.default_rng(4).random((40, 3, 4))
    one = cell("small", 0.5, Mo=values[:, range(3), range(3)].mean(), Cr=0.5)
    table = per_query(values, ("ar", "de", "en"))
    means = {"mAP/Mo_seen": values[:, 1, 1].mean(), "mAP/Cr_unseen": values[:, [0, 2], [2, 0]].mean()}
    swept = sweep(CellValues(one.row, table, trained=frozenset({trained}), more=means))
    estimates = Estimates(swept)
    pair = CellValues(one.row, table, more={"mAP/de-de": means["mAP/Mo_seen"]})
    (alike,) = Estimates(sweep(pair)).curve(Figure("mAP/de-de", "de-de")).values()
    (found,) = estimates.curve(Figure("mAP/Mo_seen", "seen")).values()
    assert (found.basis, found.low, found.high) == (Basis.QUESTIONS, alike.low, alike.high)
    (mixed,) = estimates.curve(Figure("mAP/Cr_unseen", "unseen")).values()
    assert mixed.low < means["mAP/Cr_unseen"] < mixed.high
    assert estimates.curve(Figure("mAP/Cr_mixed", "mixed")) == {}
    ((*_, basis),) = groups(swept, estimates, [MO]).blocks[0].grid[1]
    assert basis == "questions (1 seed)"


def test_a_set_without_groups_has_no_section():
    swept = sweep([cell("small", 0.5, Mo=0.5)])
    assert groups(swept, Estimates(swept), [MO]) is None


def test_a_language_trained_on_is_found_under_another_code():
    found = language_groups(result(np.arange(16.0).reshape(4, 4)), ("ara", "de_at", "eng"), "mAP")
    assert found["mAP/Mo_unseen"] == 15.0
    assert found == language_groups(result(np.arange(16.0).reshape(4, 4)), ("ar", "de", "en"), "mAP")
