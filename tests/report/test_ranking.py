"""Rankings: what comes first, by which figure, and where the cell chosen on dev stands."""

from dataclasses import replace

import pytest

from xling.config.dev_measure import DevMeasure
from xling.errors import ConfigError
from xling.report.ranking import criterion, place_of_chosen, ranked, ranking_grid, ranking_note, ranking_records
from xling.report.rows import ScoreRow


def row(size, alpha, mul, *, seed=0, dev=None, distance=100.0, **more):
    figures = {"mAP/Mo": 0.9, "mAP/Mul": mul, "rank_distance": distance, "own_language_share": 0.2, "search_depth": 50}
    return ScoreRow(f"{size}/a{alpha}/s{seed}", size, alpha, seed, "geo", figures, dev=dev, **more)


@pytest.fixture
def rows():
    """The mean of mid at .5 is the best, the best single cell and the best on dev are others."""
    return [
        row("mid", None, 0.1, distance=900.0),
        row("tiny", 0.0, 0.40, seed=0, dev=0.5, distance=50.0),
        row("tiny", 0.0, 0.62, seed=1, dev=0.6, distance=60.0),
        row("mid", 0.5, 0.60, seed=0, dev=0.9),
        row("mid", 0.5, 0.58, seed=1, dev=0.7),
    ]


def test_means_over_seeds_the_best_first_baselines_among_them(rows):
    of = criterion("mul", rows)
    places = ranked(rows, of)
    assert [(one.place, one.rows[0].size, one.rows[0].alpha, len(one.rows)) for one in places] == [
        (1, "mid", 0.5, 2),
        (2, "tiny", 0.0, 2),
        (3, "mid", None, 1),
    ]
    assert places[0].value.value == pytest.approx(0.59)
    assert places[0].value.spread == pytest.approx(0.0141, abs=1e-4)
    headings, body = ranking_grid(places, of)
    assert headings == ["place", "size", "alpha", "Mul.", "seeds", "Mo.", "rank dist.", "own lang."]
    assert body[0] == ["1", "mid", "0.5", ".590±.014", "2", ".900±.000", "100±0", ".200±.000"]
    assert body[2][:5] == ["3", "mid", "start", ".100", "1"]


def test_single_cells_and_the_one_chosen_on_dev(rows):
    of = criterion("mAP/Mul", rows)
    places = ranked(rows, of, single_cells=True)
    assert [one.rows[0].label for one in places[:2]] == ["tiny/a0.0/s1", "mid/a0.5/s0"]
    chosen = place_of_chosen(places, rows)
    assert (chosen[0].label, chosen[1]) == ("mid/a0.5/s0", 2)
    records = ranking_records(places, of, chosen[0])
    assert [record["best_on_dev"] for record in records[:3]] == [False, True, False]
    assert records[1]["mAP/Mul"] == records[1]["value"] == 0.60
    note = ranking_note(of, "geo", chosen)
    assert note == (
        "Ranked by Mul. on geo, which describes and must not choose. "
        "Chosen on dev: mid/a0.5/s0 (dev 0.900), which is at place 2 here."
    )


@pytest.mark.parametrize(("by", "first"), [("rank_distance", "tiny"), ("MUL", "mid"), ("dev", "mid")])
def test_less_is_better_where_it_is(rows, by, first):
    of = criterion(by, rows)
    places = ranked(rows, of)
    assert places[0].rows[0].size == first
    assert ("less is better" in ranking_note(of, "geo", None)) == (by == "rank_distance")


def test_a_loss_on_dev_is_better_when_it_is_less(rows):
    loss = [replace(one, measure=DevMeasure("loss", 0.05, 100)) for one in rows if one.alpha is not None]
    places = ranked(loss, criterion("dev", loss))
    assert [one.rows[0].size for one in places] == ["tiny", "mid"]
    with pytest.raises(ConfigError, match="--by is 'dev', but the cells were measured on dev in several ways"):
        criterion("dev", [*loss, *rows])
    with pytest.raises(ConfigError, match="--by is 'dev', but no cell was measured on dev"):
        criterion("dev", [replace(one, dev=None) for one in rows])


def test_dev_sets_that_differ_cannot_be_ranked_by(rows):
    several = [replace(one, dev_set=one.size) for one in rows]
    with pytest.raises(ConfigError, match="--by is 'dev', but the cells were measured on 2 dev sets, of different tra"):
        criterion("dev", several)
    of = criterion("mul", several)
    assert place_of_chosen(ranked(several, of), several) is None


def test_without_a_measure_on_dev_nothing_is_chosen(rows):
    plain = [replace(one, dev=None) for one in rows]
    of = criterion("mo", plain)
    assert place_of_chosen(ranked(plain, of), plain) is None
    assert "No cell can be chosen" in ranking_note(of, "geo", None)


def test_a_short_name_is_of_the_published_measure_where_there_is_no_map():
    found = [ScoreRow("a", "tiny", 0.5, 0, "xor", {"R@2kt/Mo": 0.3}, published=("R@2kt",))]
    assert criterion("mo", found).name == "R@2kt/Mo"
    with pytest.raises(ConfigError, match=r"--by is 'mul', must be one of mo, dev, R@2kt/Mo"):
        criterion("mul", found)


@pytest.mark.parametrize("by", ["search_depth", "mAP/Mull", "mAP"])
def test_what_is_no_figure_of_a_model_is_refused_with_what_there_is(rows, by):
    with pytest.raises(ConfigError, match=rf"--by is '{by}', must be one of mo, mul, dev, mAP/Mo, mAP/Mul, ") as told:
        criterion(by, rows)
    assert ("did you mean 'mAP/Mul'?" in str(told.value)) == (by == "mAP/Mull")
