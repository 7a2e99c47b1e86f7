"""Realised shares beside those asked for, and scores by which pairs were trained on."""

import io

import numpy as np
import pytest
from rich.console import Console

from xling.evaluate.result import EvaluationResult
from xling.report.composition import by_trained_pairs, given_and_asked, pair_shares, score_by_pairs
from xling.report.rows import ScoreRow
from xling.report.tables import as_rich


def composition(pairs, *, kinds=(60, 40, 0), asked=(50.0, 50.0, 0.0), left=0, repeated=80):
    names = ("monolingual", "cross_lingual", "mixed_monolingual")
    counts = {pair: {"examples": given, "asked": wanted} for pair, (given, wanted) in pairs.items()}
    return {
        "start": 0,
        "stop": 100,
        "batch_size": 4,
        "kinds": dict(zip(names, kinds, strict=True)),
        "asked": dict(zip(names, asked, strict=True)),
        "pairs": counts,
        "repeated": repeated,
        "left": left,
    }


PAIRS = {"de-de": (200, 200.0), "de-en": (100, 90.0), "en-de": (0, 0.0), "en-en": (100, 110.0)}


def result(languages=("de", "en", "fr")):
    values = np.arange(len(languages) ** 2, dtype=float).reshape(len(languages), -1) / 10
    return EvaluationResult("geo", "f", languages, {}, np.ones_like(values, int), {"nDCG@10": values}, None, {}, None)


def test_given_stands_beside_asked_and_equal_cells_share_a_row():
    found = {"tiny/a0.5": composition(PAIRS), "mini/a0.5": composition(PAIRS)}
    found["tiny/a1"] = composition({"de-de": (400, 400.0)}, kinds=(100, 0, 0), asked=(100.0, 0.0, 0.0))
    headings, body = given_and_asked(found)
    assert headings[:4] == ["cells", "steps", "mono-\nlingual (asked)", "cross-\nlingual (asked)"]
    assert body[0] == ["tiny/a0.5 and 1 more", "100", "60.0 (50.0)", "40.0 (50.0)", "2.5 (de-en)", "20.0"]
    assert body[1][0] == "tiny/a1"
    assert len(body) == 2


def test_sources_that_left_are_counted_where_there_are_any():
    headings, body = given_and_asked({"a": composition(PAIRS, left=3), "b": composition(PAIRS)})
    assert headings[-1] == "sources\nleft"
    assert [(line[0], line[-1]) for line in body] == [("a", "3"), ("b", "0")]


def test_untrained_cells_have_no_shares():
    nothing = {**composition({}), "stop": 0}
    assert given_and_asked({"a": nothing}) is None
    assert given_and_asked({}) is None
    assert pair_shares(nothing) is None


def test_pairs_are_a_matrix_query_down():
    headings, body = pair_shares(composition(PAIRS))
    assert headings == ["query", "de", "en"]
    assert body == [["de", "50.0/50.0", "25.0/22.5"], ["en", "0.0/0.0", "25.0/27.5"]]
    assert pair_shares(composition({"de-de": (400, 400.0)})) is None


def test_scores_by_pairs_tell_trained_from_other_pairs_of_the_same_languages():
    values = result().pair_values["nDCG@10"]
    found = score_by_pairs(result(), composition(PAIRS))
    assert found["trained"] == pytest.approx(values[0, 1])
    assert found["untrained"] == pytest.approx(values[1, 0])  # en-de, which no batch held
    assert found["unseen"] == pytest.approx(np.mean([values[0, 2], values[1, 2], values[2, 0], values[2, 1]]))
    assert "unseen" not in score_by_pairs(result(("de", "en")), composition(PAIRS))


def test_trained_pairs_are_a_table_by_size_and_alpha():
    def row(seed: int, by_pairs: dict, schedule: str = "") -> ScoreRow:
        return ScoreRow("a", "tiny", 0.5, seed, "geo", {}, schedule=schedule, by_pairs=by_pairs)

    start = ScoreRow("start", "tiny", None, 0, "geo", {})
    seeds = [row(seed, {"trained": 0.5 + seed / 5, "untrained": 0.2}) for seed in (0, 1)]
    rows = [start, *seeds, row(0, {"trained": 0.9}, "1to0")]
    headings, body = by_trained_pairs(rows)
    assert len(headings) == 4
    assert body == [
        ["tiny", "start", "–", "–"],
        ["", "0.5", ".600±.141", ".200±.000"],
        ["", "1to0", ".900", "–"],
    ]
    assert by_trained_pairs(rows[:1]) is None


def test_eleven_languages_fit_a_terminal():
    codes = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
    pairs = {f"{query}-{passage}": (4, 3.0) for query in codes for passage in codes}
    console = Console(width=80, file=io.StringIO())
    label = "multilingual-e5-base/a1to0by0.5cos/s0"
    for grid in (pair_shares(composition(pairs)), given_and_asked({label: composition(pairs, kinds=(40, 30, 30),
                 asked=(50.0, 20.0, 30.0), left=9), "b": composition(pairs)})):  # fmt: skip
        console.print(as_rich(grid, "title", lead=1))
    assert "…" not in console.file.getvalue()
    assert max(map(len, console.file.getvalue().splitlines())) <= 80


def test_pairs_trained_on_are_found_under_other_codes():
    written = {"de": "deu", "en": "en_us"}
    other = {"-".join(written[code] for code in pair.split("-")): of for pair, of in PAIRS.items()}
    assert score_by_pairs(result(), composition(other)) == score_by_pairs(result(), composition(PAIRS))
