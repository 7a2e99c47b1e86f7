"""A page of blocks: what is in it, that nothing in it can break out, and the files beside it."""

import csv
import io
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from xling.report.blocks import Example, Examples, Listing, PairMaps, Picture, Quote, Section, Table
from xling.report.page.files import Page, files_beside, page_files
from xling.report.page.maps import map_view, palettes
from xling.report.page.views import table_view

ATTACK = "<script>alert('x')</script>&\"'"
GRID = (["size", "alpha", "Mo.\nseen"], [["tiny", "start", ".229"], ["", "0", ".803±.010"], ["mid", "1", "–"]])


def figure(title="a figure"):
    drawn = Figure(figsize=(3, 2))
    drawn.subplots().plot([1, 2], [3, 4])
    drawn.suptitle(title)
    return drawn


def maps(**options):
    values_LL = {
        "mid/a0.5": np.array([[0.9, 0.5], [0.4, np.nan]]),
        "mid/a1": np.array([[0.95, 0.2], [0.1, 0.8]]),
    }
    return PairMaps("pairs", "by pair", "mAP", ("ar", "zh_cn"), values_LL, **options)


def page_of(*blocks, says=(), title="Sweep demo"):
    return page_files(Page(title, ("made today",), (Section("part", "A part", tuple(says), tuple(blocks)),)))


def html_of(*blocks, **more):
    return page_of(*blocks, **more)["index.html"].decode()


def test_every_text_is_escaped():
    grid = ([ATTACK, "b"], [[ATTACK, ATTACK]])
    values_LL = {ATTACK: np.eye(1)}
    html = html_of(
        Table("t", ATTACK, grid, note=ATTACK),
        Picture("p", ATTACK, figure(ATTACK), alt=ATTACK, data=grid),
        PairMaps("m", ATTACK, ATTACK, (ATTACK,), values_LL),
        Listing("l", ATTACK, ATTACK),
        Examples("e", ATTACK, (Example(ATTACK, Quote(ATTACK, ATTACK), ((ATTACK, (Quote(ATTACK, "en", ATTACK),)),)),)),
        says=[ATTACK],
        title=ATTACK,
    )
    assert "<script>alert" not in html
    assert html.count("<script") == 2  # the matrices' numbers, and the page's own
    assert "&lt;script&gt;alert" in html


def test_a_picture_does_not_carry_markup_out_of_its_texts():
    svg = page_of(Picture("p", "t", figure(ATTACK), alt=""))["p.svg"].decode()
    assert "<script" not in svg


def test_the_page_asks_for_nothing():
    html = html_of(Picture("p", "t", figure(), alt="two points", data=GRID), maps(), Table("t", "t", GRID))
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)
    assert not re.search(r"@import|url\(", html)
    assert "default-src 'none'" in html
    assert 'alt="two points"' in html


def test_files_lie_beside_the_page_by_the_blocks_names():
    picture = Picture("over alpha", "t", figure(), alt="", data=GRID)
    found = page_of(Table("by-size", "t", GRID), picture, maps(), Table("by-size", "other", GRID))
    assert list(found) == [
        *("by-size.csv", "over-alpha.csv", "over-alpha.png", "over-alpha.svg"),
        *("pairs.parquet", "pairs.png", "pairs.svg", "by-size-2.csv", "index.html"),
    ]
    assert found["over-alpha.png"].startswith(b"\x89PNG")
    assert b"<svg" in found["over-alpha.svg"]
    html = found["index.html"].decode()
    assert all(f'href="{name}"' in html for name in found if name != "index.html")


def test_a_page_tells_the_files_beside_it_and_no_others():
    quoted = '<p class="files"><a href="quoted.csv">'
    found = page_of(Table("by-size", "t", GRID), maps(), Listing("l", quoted, quoted), says=[quoted])
    assert files_beside(found["index.html"]) == found.keys() - {"index.html"}
    foreign = b'<p class="files"><a href="../up.csv"><a href="/etc/x.csv"><a href="..%2Fx.csv"><a href="a.html"></p>'
    assert files_beside(foreign + b'<a href="other.csv">\xff') == set()


def test_the_same_page_gives_the_same_files():
    first, second = (page_of(Picture("p", "t", figure(), alt=""), maps()) for _ in range(2))
    assert first == second


def test_a_tables_csv_is_what_is_shown():
    rows = list(csv.reader(io.StringIO(page_of(Table("t", "t", GRID))["t.csv"].decode())))
    assert rows[0] == ["size", "alpha", "Mo. seen"]
    assert rows[1:] == GRID[1]


def test_rows_of_a_group_all_name_it_so_that_they_can_be_sorted():
    rows = table_view(GRID).fields["rows"]
    assert [(row[0].text, row[0].again) for row in rows] == [("tiny", False), ("tiny", True), ("mid", False)]


@pytest.mark.parametrize(
    ("texts", "numeric"),
    [
        ([".803±.010", "–", ".5"], True),
        (["1,234", "12"], True),
        (["+.012", "-.3", "<.001"], True),
        (["49.8 (50.0)", "12 %"], True),
        ([".5 [.4, .6]"], True),
        (["0", "0.5", "start"], False),
        (["2026-11-26 12:00:00"], False),
        (["1", "1–10"], False),
        (["–", ""], False),
        (["9f3a"], False),
    ],
)
def test_columns_of_numbers_are_known(texts, numeric):
    view = table_view((["a", "b"], [["x", text] for text in texts]))
    assert view.fields["numeric"][1] is numeric


def test_pair_matrices_carry_their_values_as_text_and_as_numbers():
    block = maps()
    view = map_view(block)
    assert [[cell["text"] for cell in row] for row in view.fields["first"]] == [[".900", ".500"], [".400", "–"]]
    data = view.fields["data"]
    assert data["values"] == [[[0.9, 0.5], [0.4, None]], [[0.95, 0.2], [0.1, 0.8]]]
    assert (data["low"], data["high"], data["span"]) == pytest.approx((0.1, 0.95, 0.3))
    table = pq.read_table(io.BytesIO(page_of(block)["pairs.parquet"])).to_pylist()
    assert len(table) == 8
    assert table[3] == {"system": "mid/a0.5", "query_language": "zh_cn", "passage_language": "zh_cn", "mAP": None}
    embedded = re.search(r'<script type="application/json">(.*?)</script>', html_of(block), re.DOTALL)
    assert json.loads(embedded[1])["values"] == data["values"]


def test_numbers_of_matrices_are_not_rounded_before_they_are_shown():
    value = 0.12345678901234567
    (matrix,) = map_view(PairMaps("m", "t", "mAP", ("de",), {"a": np.array([[value]])})).fields["data"]["values"]
    assert matrix == [[value]]


def test_the_good_end_of_the_colours_is_light_whichever_way_is_better():
    dark, light = palettes()["value"][0], palettes()["value"][-1]
    more, less = (map_view(maps(less_is_better=less)).fields for less in (False, True))
    assert more["data"]["less"] is False
    for view, lowest in ((more, dark), (less, light)):
        assert view["gradient"].startswith(lowest)
    assert dark != light


def test_matrices_of_which_nothing_is_known_are_dashes():
    view = map_view(PairMaps("m", "t", "mAP", ("de",), {"a": np.array([[np.nan]])}))
    assert view.fields["first"][0][0]["text"] == "–"
    assert view.fields["data"]["span"] == 0


def test_texts_say_their_language_and_find_their_direction():
    relevant = Quote("فقرة ٣", "ar", "rank 2", relevant=True)
    example = Example("mended: rank 9 → 1", Quote("问题 3?", "zh_cn"), (("nearest by a", (relevant,)),))
    html = html_of(Examples("e", "zh_cn-ar", (example,)))
    assert '<p lang="zh-cn" dir="auto" class="quote">问题 3?</p>' in html
    assert '<p lang="ar" dir="auto" class="quote">فقرة ٣</p>' in html
    assert '<li class="relevant"><span class="note">rank 2</span>' in html


def test_the_page_can_be_used_without_a_mouse():
    html = html_of(Table("t", "scores", GRID), maps())
    assert html.index('class="skip" href="#content"') < html.index("<header>")
    assert 'id="content" tabindex="-1"' in html
    assert '<div class="scroll" role="region" tabindex="0" aria-label="scores">' in html
    assert html.count('<th scope="row"') == 5
