"""The report's page in a real Chromium."""

import os

import pytest
from synthetic_sweep import finish_all, write_sweep

from xling.storage import Storage
from xling.sweep.outcome.gather import gather
from xling.sweep.reporting.show import write_report
from xling.sweep.study import build_study

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a finished sweep."""
    folder = tmp_path_factory.mktemp("made")
    loaded = write_sweep(folder, alphas=3, seeds=2, questions=8, languages=5, steps=30)
    study = build_study(loaded.cells)
    finish_all(loaded, study)
    root = Storage(loaded.config.storage)
    return f"file://{root.locate(write_report(gather(root, loaded, study)))}/index.html"


@pytest.fixture
def open_page(browser, address):
    """Opens the page at a width; what it complained of or asked the network for fails the test."""
    contexts, problems = [], []

    def opened(width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type != "info" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if is_elsewhere(request.url) else None)
        page.goto(address)
        return page

    def is_elsewhere(url):
        return url.split("#")[0] != address and not url.startswith("data:")

    yield opened
    for context in contexts:
        if folder := os.environ.get("XLING_SCREENSHOTS"):
            for page in context.pages:
                page.screenshot(path=f"{folder}/report-{len(os.listdir(folder))}.png", full_page=True)
        context.close()
    assert problems == []


def column(table, number):
    return [text.strip() for text in table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()]


def test_pictures_are_there(open_page):
    page = open_page()
    assert page.get_by_role("heading", level=1).inner_text() == "Sweep made-up"
    widths = page.eval_on_selector_all("img", "all => all.map(image => image.naturalWidth)")
    assert len(widths) == 5  # two of them of the analysis
    assert min(widths) > 300


def test_tables_sort_by_click_and_by_keyboard(open_page):
    table = open_page().locator("#block-parallel-jsonl-size-by-alpha table")
    heading = table.get_by_role("columnheader", name="Mul.")
    number = 1 + table.locator("thead th").all_inner_texts().index(heading.inner_text())
    before = column(table, number)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    ascending = column(table, number)
    assert ascending != before
    assert [float(text.split("±")[0]) for text in ascending] == sorted(float(text.split("±")[0]) for text in before)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(table, number) == ascending[::-1]
    heading.get_by_role("button").press("Space")
    assert heading.get_attribute("aria-sort") == "none"
    assert column(table, number) == before


def test_pair_matrices_carry_text_and_show_differences(open_page):
    block = open_page().locator("#block-parallel-jsonl-pairs")
    cells = block.locator("tbody td")
    of_a = [float(text) for text in cells.all_inner_texts()]
    assert len(of_a) == 25
    assert all(0 < value <= 1 for value in of_a)
    a, b, view = (block.locator(f"select.{name}") for name in ("a", "b", "view"))
    view.focus()
    view.press("ArrowDown")  # by keyboard
    of_b = [float(text) for text in cells.all_inner_texts()]
    view.select_option("d")
    differences = [float(text) for text in cells.all_inner_texts()]
    assert differences == pytest.approx([x - y for x, y in zip(of_a, of_b, strict=True)], abs=0.0011)
    assert any(text.startswith("+") for text in cells.all_inner_texts())
    assert " − " in block.locator(".shown").inner_text()
    background = "all => all.map(cell => getComputedStyle(cell).backgroundColor)"
    assert len(set(cells.evaluate_all(background))) > 1
    b.select_option(index=int(a.input_value()))  # a cell against itself
    assert {float(text) for text in cells.all_inner_texts()} == {0.0}
    assert cells.evaluate_all(background) == ["rgb(247, 247, 247)"] * 25


def test_without_javascript_the_first_matrix_is_there(open_page):
    block = open_page(java_script_enabled=False).locator("#block-parallel-jsonl-pairs")
    assert block.locator("tbody td").count() == 25
    assert not block.locator("select").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_and_not_the_page(open_page, scheme):
    page = open_page(390, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.locator(".scroll").evaluate_all("all => all.filter(box => box.scrollWidth > box.clientWidth).length")
    assert wide > 0


def test_the_first_stop_of_the_keyboard_skips_to_the_content(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
