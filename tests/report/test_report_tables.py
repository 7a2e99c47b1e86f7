"""The tables: what stands in their cells, and that a terminal of 80 columns holds them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from xling.report.rows import Ratio, ScoreRow, chosen_on_dev, dev_problem, headline, mean_of
from xling.report.tables import as_markdown, as_records, as_rich, by_script, by_stratum, matrix, scores, size_by_alpha

XQUAD_R = ["ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"]


def row(size, alpha, mo=0.9, cr=0.6, mul=0.5, distance=200.0, *, seed=0, dev=None, strata=None):
    figures = {"mAP/Mo": mo, "mAP/Cr": cr, "mAP/Mul": mul, "rank_distance": distance, "own_language_share": 0.3}
    figures |= {"mAP/Cr_same_script": cr + 0.1, "mAP/Cr_different_script": cr - 0.1}
    return ScoreRow(f"{size}/a{alpha}/s{seed}", size, alpha, seed, "geo", figures, strata or {}, dev)


def study(seeds=(0,)):
    baselines = [row(size, None, 0.3, 0.1, 0.08, 1600.0) for size in ("tiny", "mini", "mid")]
    cells = [
        row(size, alpha, 0.9 + alpha / 100, 0.7 - alpha / 2, 0.6, 150 + 1000 * alpha, seed=seed, dev=0.5)
        for size in ("tiny", "mini", "mid")
        for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)
        for seed in seeds
    ]
    return [*baselines, *cells]


def printed(grid, title="a title"):
    """What an 80-column terminal shows; no line is cut."""
    console = Console(width=80, file=io.StringIO())
    console.print(as_rich(grid, title))
    text = console.file.getvalue()
    assert "…" not in text
    return text


def line_of(grid, size, alpha):
    """The figures of a line by heading; a size is named on its first line only."""
    headings, body = grid
    current = ""
    for line in body:
        current = line[0] or current
        if (current, line[1]) == (size, alpha):
            return dict(zip(headings, line, strict=True))
    raise AssertionError(f"no line {size} {alpha}")


def test_published_measures_lead_the_table():
    figures = {"nDCG@10/Mo": 0.41, "R@100/Mo": 0.77, "mAP/Mo": 0.3}
    rows = [ScoreRow("a", "tiny", 0.5, 0, "miracl", figures, published=("nDCG@10", "R@100"))]
    headings, body = size_by_alpha(rows)
    assert headings == ["size", "alpha", "nDCG@10\nMo.", "R@100\nMo.", "Mo.", "dev"]
    assert body == [["tiny", "0.5", ".410", ".770", ".300", "–"]]


def test_every_size_has_its_start_and_its_alphas_in_order():
    headings, body = size_by_alpha(study())
    assert headings[:6] == ["size", "alpha", "Mo.", "Cr.", "Mul.", "rank dist."]
    assert [line[0] for line in body if line[0]] == ["tiny", "mini", "mid"]
    assert [line[1] for line in body[:6]] == ["start", "0", "0.25", "0.5", "0.75", "1"]
    assert len(body) == 18


def test_figures_stand_under_their_headings():
    grid = size_by_alpha([row("tiny", None, 0.3, 0.1, 0.08, 1600.4), row("tiny", 0.5, 0.954, 0.604, 0.527, 228.0)])
    assert line_of(grid, "tiny", "start")["rank dist."] == "1600"
    found = line_of(grid, "tiny", "0.5")
    assert [found[name] for name in ("Mo.", "Cr.", "Mul.", "rank dist.")] == [".954", ".604", ".527", "228"]


def test_seeds_are_averaged_with_their_deviation():
    rows = [row("tiny", 0.5, mul=value, seed=seed) for seed, value in enumerate((0.50, 0.52, 0.54))]
    assert line_of(size_by_alpha(rows), "tiny", "0.5")["Mul."] == ".520±.020"
    mean = mean_of(rows, "tiny", Ratio(0.5), headline("mAP/Mul"))
    assert (round(mean.value, 12), round(mean.spread, 12), mean.seeds) == (0.52, 0.02, 3)
    assert mean_of(rows, "tiny", Ratio(1.0), headline("mAP/Mul")) is None


def test_a_cell_that_is_not_done_leaves_out_its_line_only():
    grid = size_by_alpha([row("tiny", 0.0), row("tiny", 1.0), row("mid", 1.0)])
    assert [(line[0], line[1]) for line in grid[1]] == [("tiny", "0"), ("", "1"), ("mid", "1")]


def test_measures_a_set_does_not_have_are_no_columns():
    monolingual = ScoreRow("a", "tiny", 1.0, 0, "miracl", {"mAP/Mo": 0.4})
    headings, body = size_by_alpha([monolingual])
    assert "Cr." not in headings
    assert body[0][headings.index("Mo.")] == ".400"


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_size_by_alpha_fits_a_terminal(seeds):
    text = printed(size_by_alpha(study(seeds)))
    assert "rank dist." in text
    assert text.count("start") == 3


def test_what_is_too_wide_is_shown_in_parts_each_with_its_labels():
    strata = {f"wording={name}": row("x", 0.5).headline for name in ("seen", "unseen")}
    rows = [row(size, alpha, seed=s, strata=strata) for size in ("tiny", "mid") for alpha in (0.0, 1.0) for s in (0, 1)]
    text = printed(by_stratum(rows, "wording"))
    assert text.count("alpha") == 2
    assert text.count(".900±.000") == 8
    assert text.count("200±0") == 8


def test_strata_stand_side_by_side():
    strata = {
        "wording=seen": {"mAP/Mo": 0.9, "mAP/Mul": 0.5},
        "wording=unseen": {"mAP/Mo": 0.7, "mAP/Mul": 0.4},
        "entity=seen,wording=seen": {"mAP/Mo": 0.99},
    }
    grid = by_stratum([row("tiny", 0.5, strata=strata)], "wording")
    found = line_of(grid, "tiny", "0.5")
    assert (found["Mo.\nseen"], found["Mo.\nunseen"], found["Mul.\nunseen"]) == (".900", ".700", ".400")
    assert found["Cr.\nseen"] == "–"
    assert by_stratum([row("tiny", 0.5, strata=strata)], "domain") is None
    assert "unseen" in printed(grid)


def test_scripts_are_told_apart_where_the_set_has_both():
    found = line_of(by_script([row("tiny", 1.0, cr=0.218)]), "tiny", "1")
    assert (found["Cr.\nsame script"], found["Cr.\ndifferent script"]) == (".318", ".118")
    assert by_script([ScoreRow("a", "tiny", 1.0, 0, "x", {"mAP/Cr": 0.5})]) is None


def test_a_matrix_of_eleven_languages_fits_with_the_query_language_down():
    values = np.arange(121).reshape(11, 11) / 121
    values[2, 3] = np.nan
    headings, body = matrix(values, XQUAD_R)
    assert headings == ["query", *XQUAD_R]
    assert body[0][:3] == ["ar", ".000", ".008"]
    assert body[2][4] == "–"
    assert max(map(len, printed(matrix(values, [*XQUAD_R[:-1], "zh_cn"])).splitlines())) <= 80


def test_one_models_scores():
    figures = {"mAP/Mo": 0.984, "mAP/Cr": 0.758, "R@10/Mo": 1.0, "rank_distance": 148.04, "own_language_share": 0.31}
    headings, body = scores(figures)
    assert headings == ["measure", "Mo.", "Cr.", "Mul."]
    assert body == [
        ["mAP", ".984", ".758", "–"],
        ["R@10", "1.000", "–", "–"],
        ["rank distance", "", "", "148.0"],
        ["own language share", "", "", ".310"],
    ]


def test_markdown_has_one_line_a_row_and_no_broken_heading():
    lines = as_markdown(by_script([row("tiny", 1.0), row("mid", 1.0)])).splitlines()
    assert lines[0] == "| size | alpha | Cr. same script | Cr. different script |"
    assert lines[1].count("---") == 4
    assert len(lines) == 4


def test_records_hold_everything_of_a_row():
    (record,) = as_records([row("tiny", None, strata={"entity=seen": {"mAP/Mo": 0.5}})])
    assert (record["size"], record["alpha"], record["dataset"]) == ("tiny", None, "geo")
    assert record["strata"] == {"entity=seen": {"mAP/Mo": 0.5}}
    assert record["headline"]["mAP/Mul"] == 0.5


def test_the_cell_to_quote_is_chosen_on_dev_never_a_baseline():
    rows = [row("tiny", None, dev=0.99), row("tiny", 0.0, 0.99, dev=0.5), row("tiny", 1.0, 0.1, dev=0.6)]
    assert chosen_on_dev(rows).alpha == 1.0
    assert chosen_on_dev([row("tiny", 0.0)]) is None


def test_no_cell_is_chosen_among_dev_sets_of_which_one_may_be_easier():
    hard, easy = replace(row("tiny", 0.0, dev=0.5), dev_set="hard"), replace(row("mini", 0.0, dev=0.9), dev_set="easy")
    assert chosen_on_dev([hard, easy]) is None
    assert dev_problem([hard, easy]) == "the cells were measured on 2 dev sets, of different training data"
    assert chosen_on_dev([hard, replace(easy, dev_set="hard")]).size == "mini"
    assert chosen_on_dev([hard, replace(easy, dev=None)]) == hard
