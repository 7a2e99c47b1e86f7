"""MLflow's pages over a store of ours, in a real Chromium."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from xling.track.mlflow import CellTracker, MetricPoint, SweepTracker, metric_name

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

ALPHAS = (0.0, 0.5, 1.0)
MAP = metric_name("geo", "mAP", "Mo")

# What `xling ui` runs, on a free port.
SERVE = textwrap.dedent("""
    import functools, sys
    from xling.track.server import serve_ui
    serve_ui(sys.argv[1], sweep="demo-sweep", port=None, show=functools.partial(print, flush=True))
""")


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    """The URI of a store with a sweep and three cells, and their run ids."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    sweep = SweepTracker(uri, "demo", str(folder / "mlartifacts"), folder / "sweep")
    sweep.open("demo-sweep", description="Three mixes of one size.")
    ids = []
    for size, alpha in zip(("tiny", "mini", "mid"), ALPHAS, strict=True):
        with CellTracker(uri, "demo", "demo-sweep", f"cell-{alpha}", folder / f"cell-{alpha}") as tracker:
            tracker.set_tags({"xling.kind": "cell", "xling.state": "done", "xling.size": size})
            tracker.log_params({"size": size, "alpha": alpha, "mix": {"monolingual": alpha}})
            tracker.log_points([MetricPoint("train/loss", 3.0 / step, step, 10**12 + step) for step in (1, 2, 3)])
            tracker.log_points([MetricPoint(MAP, 0.2 + alpha / 10, 3, 10**12)])
        ids.append(tracker.run_id)
    assert sweep.finish()
    return uri, ids


@pytest.fixture(scope="module")
def addresses(store):
    """What `xling ui` tells: the addresses by their names."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, store[0]], stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(3)]
    yield dict(re.fullmatch(r"(\w+): +(http://\S+)\n", line).groups() for line in lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


@pytest.fixture
def address(addresses):
    return addresses["MLflow"]


@pytest.fixture
def page(browser):
    """A page in a context of its own (MLflow keeps what is unfolded in local storage)."""
    context = browser.new_context(viewport={"width": 1900, "height": 1100})
    page = context.new_page()
    page.set_default_timeout(60_000)
    problems = []

    def keep(message):
        # MLflow asks every server whether it has user accounts; one that has none answers 404.
        if message.type == "error" and not message.location["url"].endswith("/users/current"):
            problems.append(f"{message.text} {message.location}")

    page.on("console", keep)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    if folder := os.environ.get("XLING_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/mlflow-{os.getpid()}-{len(os.listdir(folder))}.png")
    context.close()
    assert problems == []


def test_cells_are_rows_below_their_sweep(page, address):
    page.goto(address)
    parent = page.get_by_role("gridcell").filter(has_text="demo-sweep")
    parent.first.wait_for()
    assert page.get_by_role("link", name="cell-0.5").count() == 0
    parent.first.get_by_role("button").first.click()
    for alpha in ALPHAS:
        page.get_by_role("link", name=f"cell-{alpha}").first.wait_for()


def test_a_cells_page_shows_its_params_metrics_and_parent(page, address, store):
    page.goto(address.replace("/runs?workflowType=machine_learning", f"/runs/{store[1][1]}"))
    page.get_by_text("mix.monolingual").first.wait_for()
    page.get_by_text("alpha", exact=True).first.wait_for()
    page.get_by_text(MAP).first.wait_for()
    page.get_by_text("Parent run").first.wait_for()
    page.get_by_role("link", name="demo-sweep").first.wait_for()
    assert page.get_by_role("row").filter(has_text="mix.monolingual").filter(has_text="0.5").count() == 1


def test_the_link_to_the_cells_shows_these_alone_and_unfolded(page, addresses):
    page.goto(addresses["Cells"])
    for alpha in ALPHAS:
        page.get_by_role("link", name=f"cell-{alpha}").first.wait_for()
    assert page.get_by_role("gridcell").get_by_role("link", name="demo-sweep", exact=True).count() == 0


def test_the_link_to_compare_shows_the_cells_side_by_side(page, addresses):
    page.goto(addresses["Compare"])
    page.get_by_text("Comparing 3 Runs from 1 Experiment").first.wait_for()
    sizes = ["tiny", "mini", "mid"]
    for heading, figures in (
        ("Run Name:", [f"cell-{alpha}" for alpha in ALPHAS]),
        ("alpha", [str(alpha) for alpha in ALPHAS]),
        ("size", sizes),
        ("xling.size", sizes),
    ):
        row = page.get_by_role("row").filter(has_text=re.compile(rf"^\s*{re.escape(heading)}\s*{figures[0]}"))
        row.wait_for()
        assert row.inner_text().split()[-3:] == figures


def test_size_alpha_and_a_measure_in_parallel_coordinates(page, addresses):
    """With the very clicks of docs/mlflow.md."""
    page.goto(addresses["Compare"])
    page.wait_for_function("document.querySelector('.js-plotly-plot')?.data?.[0]?.type === 'parcoords'")
    page.get_by_role("button", name="Clear All").click()
    for number, name in ((0, "size"), (0, "alpha"), (1, MAP)):
        page.get_by_role("combobox").nth(number).click()
        page.keyboard.type(name)
        page.locator(f".du-bois-light-select-item-option[title='{name}']").click()
        page.keyboard.press("Escape")
    drawn = "document.querySelector('.js-plotly-plot')?.data?.[0]?.dimensions"
    page.wait_for_function(f"{drawn}?.length === 3")
    by_label = {dimension["label"]: dimension for dimension in page.evaluate(drawn)}
    assert by_label.keys() == {"size", "alpha", MAP}
    assert sorted(by_label["alpha"]["values"]) == list(ALPHAS)
    assert sorted(by_label[MAP]["values"]) == pytest.approx([0.2, 0.25, 0.3])
    shown = page.locator(".js-plotly-plot .axis-title").all_text_contents()
    assert set(shown) == {"size", "alpha", MAP}
