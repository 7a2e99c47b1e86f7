"""Curves in small multiples."""

import pytest

from xling.report.multiples import Curve, as_grid, by_rank, loss_plot, mean_curves, own_share_plot, thinned
from xling.report.rows import Ratio


def curve(size="tiny", alpha=0.5, y=(3.0, 1.0), label=None):
    ratio = None if alpha is None else Ratio(alpha)
    return Curve(label or f"{size}/{alpha}", size, ratio, (1.0, 2.0), tuple(y))


def test_a_long_curve_becomes_means_of_neighbouring_steps():
    x, y = thinned(list(range(1000)), [float(step) for step in range(1000)], points=10)
    assert x == y == [49.5 + 100 * part for part in range(10)]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_short_curve_is_left_as_it_is(count):
    assert thinned(list(range(count)), [1.0] * count, points=10) == (list(range(count)), [1.0] * count)


def test_seeds_of_one_ratio_are_one_line():
    found = mean_curves([curve(y=(3, 1)), curve(y=(1, 1)), curve(alpha=None, y=(5, 5))])
    assert [(one.size, one.ratio, one.y) for one in found] == [("tiny", Ratio(0.5), (2, 1)), ("tiny", None, (5, 5))]
    assert by_rank(found)[1] == [["tiny", "0.5", "2.000", "1.000"], ["tiny", "start", "5.000", "5.000"]]


def test_a_panel_a_size_and_a_line_a_cell():
    curves = [curve(size, alpha) for size in ("a", "b", "c", "d") for alpha in (0, 0.5, 1)]
    figure = loss_plot(curves, "t")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d"]
    assert [len(axes.lines) for axes in figure.axes] == [6, 3, 3, 3]  # the first with the legend's, which are empty
    assert len(as_grid(curves, "step", "loss")[1]) == 24


def test_a_legend_names_a_few_of_many_ratios():
    figure = loss_plot([curve(alpha=number / 20) for number in range(21)], "t")
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(named) == 8
    assert (named[0], named[-1]) == ("0", "1")


def test_what_is_expected_is_a_line_of_its_own():
    figure = own_share_plot([curve(alpha=None)], 0.125, "t")
    assert 0.125 in {line.get_ydata()[0] for line in figure.axes[0].lines if len(line.get_ydata())}
