"""The pictures: drawn without pyplot, with every value readable in them."""

import io
import subprocess
import sys

import numpy as np
import pytest

from xling.report.critical_batch import TargetRun, critical_batch, curves_of
from xling.report.plots import pair_heatmap, size_by_alpha_plot, steps_to_target_plot
from xling.report.rows import ScoreRow


def png(figure):
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def luminance(colour):
    """Relative luminance of sRGB, WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_each_pair_shows_its_value_and_a_missing_one_none():
    values = np.array([[0.984, 0.2], [np.nan, 0.75]])
    figure = pair_heatmap(values, ["ar", "zh_cn"], "a title")
    axes = figure.axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "0.98",
        (1, 0): "0.20",
        (1, 1): "0.75",
    }
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ar", "zh_cn"]
    assert axes.get_ylabel() == "query"
    assert axes.get_title() == "a title"
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error::UserWarning")  # that the axes collapsed
def test_long_names_of_languages_leave_the_squares_their_room():
    short, long = (pair_heatmap(np.ones((2, 2)), [name, name], "t") for name in ("ar", "a language with a long name"))
    assert png(short).startswith(b"\x89PNG")
    assert png(long).startswith(b"\x89PNG")
    sizes = [figure.axes[0].get_window_extent().width for figure in (short, long)]
    assert sizes[1] > 0.8 * sizes[0]


@pytest.mark.parametrize("value", np.linspace(0, 1, 21))
def test_a_value_can_be_read_on_its_colour(value):
    figure = pair_heatmap(np.array([[value]]), ["ar"], "")
    axes = figure.axes[0]
    ground = luminance(axes.images[0].to_rgba(np.array([[value]]))[0, 0])
    text = {"white": 1.0, "black": 0.0}[axes.texts[0].get_color()]
    high, low = max(ground, text) + 0.05, min(ground, text) + 0.05
    assert high / low >= 3.0


def test_every_size_is_a_line_over_alpha_with_its_start_dotted():
    names = ("mAP/Mo", "mAP/Cr", "mAP/Mul", "rank_distance")
    rows = [
        ScoreRow("x", size, alpha, seed, "geo", dict.fromkeys(names, 0.5 + 0.1 * seed))
        for size in ("tiny", "mid")
        for alpha in (None, 0.0, 0.5, 1.0)
        for seed in (0, 1)
    ]
    figure = size_by_alpha_plot(rows, "demo on geo")
    assert [axes.get_title() for axes in figure.axes] == ["Mo. (mAP)", "Cr. (mAP)", "Mul. (mAP)", "rank distance"]
    first = figure.axes[0]
    assert [list(bars.lines[0].get_xdata()) for bars in first.containers] == [[0.0, 0.5, 1.0]] * 2
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["tiny", "mid"]
    dotted = [line for line in first.lines if line.get_linestyle() == ":"]
    assert [round(line.get_ydata()[0], 6) for line in dotted] == [0.55, 0.55]
    assert png(figure).startswith(b"\x89PNG")


def test_a_schedule_stands_at_its_mean_beside_the_line():
    rows = [ScoreRow("x", "tiny", alpha, 0, "geo", {"mAP/Mo": alpha}) for alpha in (0.0, 0.5, 1.0)]
    rows += [ScoreRow("x", "tiny", 0.5, 0, "geo", {"mAP/Mo": 0.9}, schedule=name) for name in ("0to1", "1to0cos")]
    axes = size_by_alpha_plot(rows, "demo on geo").figure.axes[0]
    lines = [list(bars.lines[0].get_xdata()) for bars in axes.containers]
    assert lines == [[0.0, 0.5, 1.0], [0.5], [0.5]]
    assert [text.get_text() for text in axes.texts] == ["0to1", "1to0cos"]


def test_a_study_with_gaps_can_be_drawn():
    rows = [ScoreRow("x", "tiny", 1.0, 0, "miracl", {"mAP/Mo": 0.4}), ScoreRow("y", "mid", None, 0, "miracl", {})]
    assert png(size_by_alpha_plot(rows, "gaps")).startswith(b"\x89PNG")


def test_drawing_leaves_no_global_state():
    script = (
        "import sys, numpy as np; from xling.report.plots import pair_heatmap; "
        "pair_heatmap(np.eye(2), ['ar', 'de'], 't'); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_steps_fall_with_the_batch_beside_linear_scaling_and_misses_are_crosses():
    steps = {8: 600, 16: 224, 64: 76, 256: 54}
    runs = [
        TargetRun("x", size, alpha, batch, seed, 1.0, "dev loss", 2, count + seed, count + seed)
        for size in ("tiny", "mini")
        for alpha in (0.0, 1.0)
        for batch, count in steps.items()
        for seed in (0, 1)
    ]
    missed = [TargetRun("y", "tiny", 0.0, 512, 0, 1.0, "dev loss", 2, None, 40)]
    found = [(curve, critical_batch(curve)) for curve in curves_of([*runs, *missed])]
    figure = steps_to_target_plot(found, "a title")
    assert [axes.get_title() for axes in figure.axes] == ["alpha 0", "alpha 1"]
    first = figure.axes[0]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["tiny to 1", "mini to 1"]
    (cross,) = [line for line in first.lines if line.get_marker() == "x"]
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([512], [40])
    dashed = next(line for line in first.lines if line.get_linestyle() == "--")
    products = {round(x * y) for x, y in zip(dashed.get_xdata(), dashed.get_ydata(), strict=True)}
    assert len(products) == 1, "linear scaling: as many examples at every batch size"
    assert png(figure).startswith(b"\x89PNG")


def test_a_curve_without_any_estimate_can_be_drawn():
    runs = [TargetRun("x", "tiny", 0.5, batch, 0, 1.0, "dev", 2, None, 40) for batch in (8, 16)]
    found = [(curve, critical_batch(curve)) for curve in curves_of(runs)]
    assert png(steps_to_target_plot(found, "nothing reached")).startswith(b"\x89PNG")
