"""Scripts and unseen languages, of every size and mix."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from swept_cells import CR, MO, cell, sweep

from xling.evaluate.result import EvaluationResult
from xling.report.cell_values import CellValues
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
def test_without_both_kinds_there_are_no_groups(seen):
    assert language_groups(result(np.ones((4, 4))), seen, "mAP") == {}


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
    section = groups(sweep(cells), [MO, CR])
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
    section = groups(sweep(cells), [MO])
    headings, body = section.blocks[0].grid
    assert headings == ["size", "alpha", "Mo. of languages trained on", "Mo. of others", "Mo., trained on less others"]
    assert body == [["small", "0", ".600", ".500", "+.100"], ["small", "1", ".750", ".500", "+.250"]]
    assert "+.100 (small at alpha 0) to +.250 (small at alpha 1)" in section.says[0]


def test_a_set_without_groups_has_no_section():
    assert groups(sweep([cell("small", 0.5, Mo=0.5)]), [MO]) is None
