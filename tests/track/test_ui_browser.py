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
from xling.track.store import connect

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

ALPHAS = (0.0, 0.5, 1.0)
MAP = metric_name("geo", "mAP", "Mo")

# What `xling ui` runs, on a free port.
SERVE = textwrap.dedent("""
    import functools, sys
    from xling.track.server import serve_ui
    serve_ui(sys.argv[1], experiment="demo", port=None, show=functools.partial(print, flush=True))
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
    for alpha in ALPHAS:
        with CellTracker(uri, "demo", "demo-sweep", f"cell-{alpha}", folder / f"cell-{alpha}") as tracker:
            tracker.log_params({"mix": {"monolingual": alpha}, "model": {"preset": "tiny"}})
            tracker.log_points([MetricPoint("train/loss", 3.0 / step, step, 10**12 + step) for step in (1, 2, 3)])
            tracker.log_points([MetricPoint(MAP, 0.2 + alpha / 10, 3, 10**12)])
        ids.append(tracker.run_id)
    assert sweep.finish()
    return uri, ids


@pytest.fixture(scope="module")
def address(store):
    process = subprocess.Popen([sys.executable, "-c", SERVE, store[0]], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    yield re.search(r"http://\S+", line).group()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


@pytest.fixture
def page(browser, address):
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
    page.get_by_text("model.preset").first.wait_for()
    page.get_by_text(MAP).first.wait_for()
    page.get_by_text("Parent run").first.wait_for()
    page.get_by_role("link", name="demo-sweep").first.wait_for()
    assert page.get_by_role("row").filter(has_text="mix.monolingual").filter(has_text="0.5").count() == 1


def test_cells_can_be_compared_in_parallel_coordinates(page, address, store):
    uri, ids = store
    experiment = connect(uri).get_experiment_by_name("demo").experiment_id
    quoted = ",".join(f"%22{run_id}%22" for run_id in ids)
    base = address.split("/#/")[0]
    page.goto(f"{base}/#/compare-runs?runs=%5B{quoted}%5D&experiments=%5B%22{experiment}%22%5D")
    page.get_by_text("Comparing 3 Runs from 1 Experiment").first.wait_for()
    page.wait_for_function("document.querySelector('.js-plotly-plot')?.data?.[0]?.type === 'parcoords'")
    dimensions = page.evaluate("document.querySelector('.js-plotly-plot').data[0].dimensions.map(d => d.label)")
    assert "mix.monolingual" in dimensions
    assert {"train/loss", MAP} & set(dimensions)
