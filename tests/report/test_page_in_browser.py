"""What the page's script does with constructed blocks, in a real Chromium."""

import numpy as np
import pytest

from xling.report.blocks import PairMaps, Section, Table
from xling.report.page.files import Page, page_files
from xling.report.tables import matrix

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def shown(browser, tmp_path):
    """Opens a page of one block."""
    pages = []

    def opened(block):
        html = page_files(Page("made up", (), (Section("part", "A part", (), (block,)),)))["index.html"]
        (tmp_path / "index.html").write_bytes(html)
        pages.append(browser.new_page())
        pages[-1].goto(f"file://{tmp_path}/index.html")
        return pages[-1].locator(f"#block-{block.name}")

    yield opened
    for page in pages:
        page.close()


def column_sorted(block, heading):
    """A column's texts, ascending, then descending."""
    button = block.get_by_role("columnheader", name=heading).get_by_role("button")
    place = block.locator("thead th").all_inner_texts().index(heading) + 1
    found = []
    for _ in range(2):
        button.click()
        found.append(block.locator(f"tbody tr > :nth-child({place})").all_inner_texts())
    return found


def test_a_phone_leaves_long_texts_room_and_rows_begin_on_one_line(shown):
    command = "xling train sweeps/demo.yaml --set 'model.preset=\"tiny\"' --set mix.monolingual=0.5 --set seed=0"
    block = shown(
        Table("t", "t", (["cell", "mixes", "command"], [["tiny/a0.5/s0", "alpha 0.25 - alpha 1", command]] * 2))
    )
    block.page.set_viewport_size({"width": 400, "height": 900})
    row = block.locator("tbody tr").first
    assert row.bounding_box()["height"] < 100
    edges = "all => all.map(cell => { const text = document.createRange(); text.selectNodeContents(cell); "
    tops = row.locator("th, td").evaluate_all(f"{edges} return text.getBoundingClientRect().top; }})")
    assert max(tops) - min(tops) < 2
    arrow = block.locator("thead button").first.bounding_box()["height"]
    assert arrow < 30  # beside its word, not below


def test_alphas_sort_by_their_value_and_the_start_before_them(shown):
    texts = ["start", "0", "0.125", "0.25", "0.5", "0.75", "1"]
    block = shown(Table("t", "t", (["size", "alpha"], [["tiny", text] for text in [*texts[3:], *texts[:3]]])))
    assert column_sorted(block, "alpha") == [texts, texts[::-1]]


@pytest.mark.parametrize(
    "texts",
    [
        ["mid/a0.25/s0", "mid/a0.5/s0", "mid/a0.5/s2", "mid/a0.5/s10", "tiny/a0/s0"],
        ["start", "0", "0to1", "0.5", "1", "1to0"],
        ["2.9.0", "2.10.0", "2.55.1"],
        ["tiny", "tiny b64", "tiny b128"],
        ["none", "999", "1,234", "12,000"],
    ],
)
def test_texts_with_numbers_in_them_sort_by_these(shown, texts):
    block = shown(Table("t", "t", (["what", "of"], [[text, "x"] for text in [*texts[2:], *texts[:2]]])))
    assert column_sorted(block, "what") == [texts, texts[::-1]]


def test_matrices_round_once_and_as_other_tables_do(shown):
    rng = np.random.default_rng(0)
    halves = np.array([[0.0625, 0.1875], [0.3125, 0.4375]])  # exactly between two numbers of three decimals
    close = np.array([[0.12345, 0.45649], [0.00049999, 0.99949]])  # that rounding to four decimals first moves
    values_LL = {"a": halves, "b": close, "c": rng.random((2, 2)), "d": halves[::-1] * 4}
    languages = ("de", "en")
    block = shown(PairMaps("pairs", "t", "mAP", languages, values_LL))
    cells, a, b, view = (block.locator(where) for where in ("tbody td", "select.a", "select.b", "select.view"))
    for one, name in enumerate(values_LL):
        view.select_option("a")
        a.select_option(index=one)
        assert cells.all_inner_texts() == texts_of(values_LL[name], languages)
        view.select_option("d")
        for other, rival in enumerate(values_LL):
            b.select_option(index=other)
            wanted = texts_of(values_LL[name] - values_LL[rival], languages, signed=True)
            assert cells.all_inner_texts() == wanted


def texts_of(values_LL, languages, **options):
    return [text for row in matrix(values_LL, languages, **options)[1] for text in row[1:]]
