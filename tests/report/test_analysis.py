"""The analysis of a sweep: what its sections say follows from what their tables show."""

import re
from dataclasses import replace

import numpy as np
import pytest
from swept_cells import CR, MO, at, cell, grid_of, per_query, sweep

from xling.config.dev_measure import DevMeasure
from xling.report.analysis import analyse, in_short
from xling.report.blocks import Picture, Table
from xling.report.cell_values import CellValues
from xling.report.choice import choice
from xling.report.contrasts import family_of
from xling.report.estimates import Estimates
from xling.report.interaction import between_sizes, interaction
from xling.report.pareto import front_of, pareto
from xling.report.responses import responses, within_sizes
from xling.report.rows import ScoreRow, StoppedRow
from xling.report.scaling import scaling
from xling.report.significance import p_value

FOUR = ("Mo", "Cr", "Mul", "rank_distance")
RNG = np.random.default_rng(5)


def full(seeds=3, sizes=("large", "small", "base"), alphas=(0.0, 0.5, 1.0), noise=0.004, gain=0.0, **more):
    """A whole grid, its sizes not in the order of their parameters; hybrids gain with size by ``gain``."""
    rng = np.random.default_rng(3)
    cells = []
    for size in sizes:
        rank = ("small", "base", "large").index(size)
        cells.append(cell(size, None, Mo=0.2, Cr=0.1, Mul=0.05, rank_distance=900))
        for alpha in alphas:
            hybrid = 0 < alpha < 1
            means = [
                0.6 + rank / 20 + gain * rank * hybrid,
                0.5 - alpha / 5 + rank / 20,
                0.4 - alpha / 5,
                90 + 50 * alpha,
            ]
            for seed in range(seeds):
                values = [m * (1 + noise * rng.normal()) for m in means]
                figures = dict(zip(FOUR, values, strict=True))
                cells.append(cell(size, alpha, seed, dev=values[0] + alpha / 50, **figures, **more))
    return cells


def section_of(sections, name):
    return next(section for section in sections if section.name == name)


def table_of(section, name):
    return next(block for block in section.blocks if isinstance(block, Table) and block.name == name)


def column(grid, heading):
    headings, body = grid
    return [row[headings.index(heading)] for row in body]


def test_contrasts_are_of_the_largest_size_by_parameters_against_each_smaller():
    (first, *_), found = full(), between_sizes(sweep(full()))
    assert first.row.size == "large"
    assert list(dict.fromkeys(one.sizes for one in found)) == ["large - small", "large - base"]
    assert [one.ratios for one in found[:2]] == ["alpha 0.5 - alpha 1", "alpha 0.5 - alpha 0"]


def test_a_contrast_is_the_difference_of_differences():
    means = {("small", 0.5): 0.50, ("small", 1.0): 0.45, ("large", 0.5): 0.70, ("large", 1.0): 0.55}
    of = sweep(grid_of(means))
    (found,) = family_of(Estimates(of), MO, between_sizes(of))
    assert found.estimate.value == pytest.approx((0.70 - 0.55) - (0.50 - 0.45))


def test_an_interaction_is_found_and_named():
    of = sweep(full(seeds=4, gain=0.05))
    section = interaction(of, Estimates(of), [MO])
    (said,) = [says for says in section.says if says.startswith("Mo.")]
    assert "curves over alpha differ between sizes" in said
    assert "above 0: all 4" in said
    assert set(column(table_of(section, "interaction-mo").grid, "decided")) == {"higher"}


def test_where_there_is_none_the_data_do_not_decide():
    of = sweep(full(seeds=3))
    section = interaction(of, Estimates(of), [MO])
    (said,) = [says for says in section.says if says.startswith("Mo.")]
    assert "not decided: all 4" in said
    assert "the data do not decide" in said
    assert "does not show that there is none" in said


def scattered(seed, gain, noise, of_some):
    """Two sizes by five mixes; alpha 0.5 gains with size, it and alpha 1 scatter by another deviation than the rest."""
    rng = np.random.default_rng(seed)
    return [
        cell(
            size,
            alpha,
            number,
            Mo=0.5
            + gain * (size == "large" and alpha == 0.5)
            + (of_some if alpha in (0.5, 1.0) else noise) * rng.normal(),
        )
        for size in ("small", "large")
        for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)
        for number in range(3)
    ]


@pytest.mark.parametrize(
    ("cells", "differs", "decided", "conclusion"),
    [
        (scattered(0, 0.04, 0.01, 0.01), True, False, "So by the F test, of all mixes together, what a mix"),
        (scattered(0, 0.02, 0.05, 1e-4), False, True, "So by the contrasts what a mix brings depends on the size; the"),
        (scattered(1, 0.04, 0.01, 0.01), True, True, ""),
        (scattered(3, 0.04, 0.01, 0.01), False, False, "So the data do not decide whether"),
    ],
)
def test_what_is_concluded_agrees_with_the_f_test_and_the_contrasts(cells, differs, decided, conclusion):
    of = sweep(cells)
    section = interaction(of, Estimates(of), [MO])
    p = column(table_of(section, "anova-mo").grid, "p")[-1]
    assert (float(p.replace("<", "")) < 0.05) is differs
    assert ("higher" in column(table_of(section, "interaction-mo").grid, "decided")) is decided
    (said,) = [says for says in section.says if says.startswith("Mo.")]
    assert ("curves over alpha differ" in said) is differs
    assert (" So " in said) is bool(conclusion)
    assert conclusion in said


def test_sizes_of_each_variant_have_a_conclusion_of_their_own():
    found = [scattered(seed, 0.04, 0.01, 0.01) for seed in (0, 3)]
    cells = [
        cell(one.row.size, one.row.alpha, one.row.seed, variant=variant, Mo=one.row.headline["mAP/Mo"])
        for variant, of in zip(("b64", "b128"), found, strict=True)
        for one in of
    ]
    of = sweep(cells)
    (said,) = [says for says in interaction(of, Estimates(of), [MO]).says if says.startswith("Mo.")]
    assert "small b64, large b64: so by the F test, of all mixes together" in said
    assert "small b128, large b128: so the data do not decide" in said


def test_a_p_value_below_the_level_does_not_look_as_large_as_it():
    assert [p_value(p) for p in (0.0004, 0.0123, 0.0496, 0.05, 0.0504)] == ["<.001", ".012", "<.05", ".050", ".050"]
    assert p_value(float("nan")) == "–"


def test_a_figure_that_no_contrast_has_is_said():
    of = sweep([cell(size, alpha, Mo=0.5) for size in ("small", "large") for alpha in (0.5, 1.0)])
    assert "Cr.: Contrasts not known." in interaction(of, Estimates(of), [CR]).says


def notes_of(cells, figure=MO):
    """What stands below the tables of differences: between sizes' mixes, mixes, sizes."""
    of = sweep(cells)
    estimates = Estimates(of)
    sections = [
        interaction(of, estimates, [figure]),
        responses(of, estimates, [figure], "geo"),
        scaling(of, estimates, [figure]),
    ]
    names = (f"{kind}-{figure.slug}" for kind in ("interaction", "mixes", "gain"))
    return [table_of(section, name).note for section, name in zip(sections, names, strict=True)]


def test_p_values_are_corrected_for_what_is_tested():
    whole = full(seeds=3)
    assert [note.split(".")[0] for note in notes_of(whole)] == [
        "p-values are corrected (Holm) for these 4 contrasts",
        "p-values are corrected (Holm) for these 6 differences",
        "p-values are corrected (Holm) for these 3 differences",
    ]
    one_less = [one for one in whole if (one.row.size, one.row.alpha, one.row.seed) != ("small", 0.0, 2)]
    assert [note.split(".")[0] for note in notes_of(one_less)] == [
        "p-values are corrected (Holm) for the 3 contrasts that are tested",
        "p-values are corrected (Holm) for the 5 differences that are tested",
        "p-values are corrected (Holm) for the 2 differences that are tested",
    ]
    two_alphas = [one for one in whole if one.row.alpha in (None, 0.5, 1.0) and one.row.size != "base"]
    assert notes_of(two_alphas)[0] == "One is tested: its p-value needs no correction. Intervals are not corrected."
    assert notes_of(full(seeds=1))[1] == ""


def test_one_seed_has_no_test_and_speaks_of_questions_alone():
    values = {key: RNG.random((30, 2, 3)) for key in [(s, a) for s in ("small", "large") for a in (0.5, 1.0)]}
    cells = [
        cell(size, alpha, per_query=per_query(of, ["de", "en"]), Mo=np.mean([of[:, 0, 0].mean(), of[:, 1, 1].mean()]))
        for (size, alpha), of in values.items()
    ]
    of = sweep(cells)
    section = interaction(of, Estimates(of, resamples=200), [MO])
    assert not any(block.name.startswith("anova") for block in section.blocks)
    assert not any("F(" in says for says in section.says)
    assert "over questions, for these trained models" in section.says[1]
    assert "No F test of the interaction" in section.says[2]
    assert column(table_of(section, "interaction-mo").grid, "interval over") == ["questions (1 seed)"]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (full(sizes=("small",)), "No two sizes to compare"),
        (full(alphas=(0.5,)), "No two mixes to compare"),
        (full(alphas=(0.25, 0.5)), "No two mixes to compare"),
        ([cell("small", 0.5, Mo=0.1), cell("large", 0.5, Mo=0.2), cell("large", 1.0, Mo=0.2)], "two mixes in common"),
    ],
)
def test_what_cannot_be_compared_is_said(cells, why):
    of = sweep(cells)
    section = interaction(of, Estimates(of), [MO])
    assert why in section.says[0]
    assert not [block for block in section.blocks if block.name.startswith("interaction")]


def test_without_hybrids_the_ends_are_held_against_each_other():
    of = sweep(full(alphas=(0.0, 1.0)))
    assert [one.ratios for one in between_sizes(of)] == ["alpha 0 - alpha 1"] * 2
    assert "No hybrid is done" in interaction(of, Estimates(of), [MO]).says[0]


def test_a_schedule_is_a_hybrid_of_its_own():
    cells = [
        cell(size, alpha, seed, schedule=schedule, Mo=RNG.random())
        for size in ("small", "large")
        for alpha, schedule in ((0.5, ""), (0.5, "1to0"), (1.0, ""))
        for seed in range(3)
    ]
    of = sweep(cells)
    assert [one.ratios for one in between_sizes(of)] == ["alpha 0.5 - alpha 1", "alpha 1to0 - alpha 1"]
    section = responses(of, Estimates(of), [MO], "geo")
    assert column(table_of(section, "response-mo").grid, "alpha")[:3] == ["0.5", "1to0", "1"]
    assert "no curve" in " ".join(section_of(analyse(of, "geo"), "cells").says)


def test_variants_are_never_held_against_each_other():
    cells = [
        cell(size, alpha, seed, variant=variant, Mo=RNG.random())
        for variant in ("b64", "b128")
        for size in ("small", "large")
        for alpha in (0.5, 1.0)
        for seed in range(3)
    ]
    of = sweep(cells)
    assert of.ladders == [["small b64", "large b64"], ["small b128", "large b128"]]
    assert [one.sizes for one in between_sizes(of)] == ["large b64 - small b64", "large b128 - small b128"]


def test_a_missing_cell_costs_its_contrasts_and_is_named():
    cells = [one for one in full() if (one.row.size, one.row.alpha) != ("base", 1.0)]
    of = sweep(cells, expected=[at("base", 1.0), at("base", 0.5)])
    assert [one.sizes for one in between_sizes(of)] == ["large - small", "large - small", "large - base"]
    sections = analyse(of, "geo")
    assert "1 of 4 contrasts lacks a cell and is left out." in section_of(sections, "interaction").says[0]
    assert "Not done, and left out: base at alpha 1." in section_of(sections, "cells").says


def test_stopped_cells_are_named_and_not_called_missing():
    cells = [one for one in full() if (one.row.size, one.row.alpha) != ("base", 1.0)]
    stopped = [StoppedRow("base/a1/s0", "base", 1.0, "it was slow")]
    says = " ".join(section_of(analyse(sweep(cells, stopped=stopped), "geo"), "cells").says)
    assert "Stopped early, and in no figure: base/a1/s0." in says
    assert "Not done" not in says


def test_one_cell_is_no_plural():
    of = sweep([cell("small", 0.5, Mo=0.1)], expected=[at("small", 1.0)])
    sections = analyse(of, "geo")
    assert section_of(sections, "cells").says[0] == "1 cell is done: 1 size, 1 mix, 1 seed each."
    assert section_of(sections, "interaction").says[0].startswith("No two sizes to compare (done: small):")


def test_unequal_seeds_are_said_and_differences_keep_to_those_in_common():
    cells = [*full(seeds=3), cell("small", 0.5, 7, Mo=50.0)]
    sections = analyse(sweep(cells), "geo")
    assert "Seeds are unequal" in section_of(sections, "cells").says[0]
    grid = table_of(section_of(sections, "responses"), "mixes-mo").grid
    assert max(abs(float(text)) for text in column(grid, "difference")) < 1


def test_mixes_are_compared_at_each_size_and_the_direction_is_told():
    of = sweep(full(seeds=3))
    assert len(within_sizes(of)) == 6
    says = responses(of, Estimates(of), [CR], "geo").says
    assert "Cr. against alpha 1: higher:" in says[1]
    assert "Cr. against alpha 0: lower:" in says[1]


def test_the_mix_is_chosen_on_dev_whatever_test_says():
    cells = [
        cell("small", alpha, seed, dev=dev + seed / 1000, Mo=test)
        for alpha, dev, test in ((0.0, 0.9, 0.1), (1.0, 0.5, 0.8))
        for seed in range(3)
    ]
    of = sweep(cells)
    section = choice(of, Estimates(of), [MO])
    assert column(table_of(section, "best-on-dev").grid, "alpha") == ["0"]
    assert column(table_of(section, "best-on-dev").grid, "Mo.") == [".100"]
    assert section.says[0] == "At small alpha 0 has the best dev, and dev tells it from every other mix there."


def test_a_dev_loss_is_best_where_it_is_least():
    loss = DevMeasure("loss", temperature=0.05, pool=256)
    cells = [
        cell("small", a, s, dev=d + s / 1e3, Mo=0.5, measure=loss)
        for a, d in ((0.0, 0.9), (1.0, 0.5))
        for s in (0, 1, 2)
    ]
    of = sweep(cells)
    section = choice(of, Estimates(of), [MO])
    assert column(table_of(section, "best-on-dev").grid, "alpha") == ["1"]
    assert column(table_of(section, "best-on-dev").grid, "dev loss") == [".5010"]


def test_what_dev_does_not_decide_is_said():
    scattered = {0.0: (0.50, 0.56, 0.51), 0.5: (0.54, 0.51, 0.55), 1.0: (0.10, 0.12, 0.11)}
    cells = [cell("small", a, seed, dev=d, Mo=0.5) for a, of in scattered.items() for seed, d in enumerate(of)]
    of = sweep(cells)
    assert "dev does not decide between it and alpha 0." in choice(of, Estimates(of), [MO]).says[0]
    one_seed = sweep([one for one in cells if one.row.seed == 0])
    assert "not known how sure" in choice(one_seed, Estimates(one_seed), [MO]).says[0]


def test_without_dev_nothing_is_chosen():
    of = sweep([cell("small", 0.0, Mo=0.1), cell("small", 1.0, Mo=0.9)])
    section = choice(of, Estimates(of), [MO])
    assert "no mix can be chosen without looking at test" in section.says[0]
    assert not section.blocks
    mixed = sweep(
        [cell("small", 0.0, Mo=0.1, dev=0.4), cell("small", 1.0, Mo=0.9, dev=0.1, measure=DevMeasure("loss"))]
    )
    assert "different measures" in choice(mixed, Estimates(mixed), [MO]).says[0]


def test_the_mix_is_chosen_among_cells_of_one_dev_set():
    devs = ((0.0, 0.9), (1.0, 0.5))
    cells = [cell(size, alpha, dev=dev, dev_set=size, Mo=0.5) for size in ("small", "base") for alpha, dev in devs]
    of = sweep(cells)
    assert column(table_of(choice(of, Estimates(of), [MO]), "best-on-dev").grid, "alpha") == ["0", "0"]
    mixed = sweep([cell("small", alpha, dev=dev, dev_set=str(alpha), Mo=0.5) for alpha, dev in devs])
    section = choice(mixed, Estimates(mixed), [MO])
    assert "Cells of one size were measured on different dev sets: no mix can be chosen" in section.says[0]


def test_the_front_holds_what_nothing_beats_in_both():
    places = {at("s", 0.0): (0.5, 0.9), at("s", 0.5): (0.7, 0.7), at("s", 0.75): (0.6, 0.6), at("s", 1.0): (0.8, 0.1)}
    assert front_of(places) == [at("s", 0.0), at("s", 0.5), at("s", 1.0)]
    assert front_of({**places, at("m", 0.5): (0.7, 0.7)})[1:3] == [at("s", 0.5), at("m", 0.5)]


def test_what_is_behind_the_front_is_surely_beaten_only_with_intervals():
    cells = [
        cell(size, 0.5, seed, Mo=mono + seed / 1e3, Cr=cross + seed * wobble)
        for size, mono, cross, wobble in (("large", 0.8, 0.8, 0), ("base", 0.7, 0.7, 0), ("small", 0.75, 0.79, 0.01))
        for seed in range(3)
    ]
    of = sweep(cells)
    section = pareto(of, Estimates(of), [MO, CR])
    grid = table_of(section, "pareto").grid
    assert column(grid, "on the front") == ["yes", "no", "no"]
    assert column(grid, "surely beaten by") == ["", "large at alpha 0.5", "–"]
    assert "ahead of them in both: small at alpha 0.5" in section.says[1]
    assert pareto(of, Estimates(of), [MO]) is None


def test_means_of_the_same_values_in_another_order_are_one_place_on_the_front():
    values = {"small": (0.1, 0.2, 0.3), "large": (0.3, 0.2, 0.1)}  # sums that differ in the last bit
    cells = [cell(size, 0.5, seed, Mo=value, Cr=value) for size, of in values.items() for seed, value in enumerate(of)]
    of = sweep(cells)
    assert column(table_of(pareto(of, Estimates(of), [MO, CR]), "pareto").grid, "on the front") == ["yes", "yes"]


def test_gains_are_given_per_doubling_of_parameters():
    of = sweep(full(sizes=("small", "large")))
    section = scaling(of, Estimates(of), [CR])
    grid = table_of(section, "gain-cr").grid
    for total, each in zip(column(grid, "difference"), column(grid, "per doubling of parameters"), strict=True):
        assert float(each) == pytest.approx(float(total) / 3, abs=6e-4)  # a million to eight: three doublings
    assert "Not known of all cells: examples, FLOPs and seconds in steps." in section.says[0]


@pytest.mark.filterwarnings("error")
def test_a_cost_of_nothing_is_on_no_logarithmic_axis():
    of = sweep([replace(one, wall_seconds=0.0, flops=1e9) for one in full()])
    (picture,) = [block for block in scaling(of, Estimates(of), [MO]).blocks if isinstance(block, Picture)]
    assert [axes.get_xlabel() for axes in picture.figure.axes] == ["parameters outside embedding tables", "FLOPs"]
    picture.figure.draw_without_rendering()


def test_pictures_have_texts_numbers_and_a_marker_for_each_size():
    pictures = [b for s in analyse(sweep(full()), "geo") for b in s.blocks if isinstance(b, Picture)]
    assert [picture.name for picture in pictures] == ["responses", "pareto", "scaling"]
    for picture in pictures:
        assert len(picture.alt) > 40
        assert picture.data is not None
        assert len({len(row) for row in (picture.data[0], *picture.data[1])}) == 1
    lines = [line for line in pictures[0].figure.axes[0].lines if line.get_label() in ("small", "base", "large")]
    assert len({line.get_marker() for line in lines}) == len({line.get_color() for line in lines}) == 3
    x, y = lines[0].get_data()
    rows = [row for row in pictures[0].data[1] if row[:2] == ["mAP/Mo", "large"]]
    assert list(zip(x, y, strict=True)) == [(float(row[3]), float(row[4])) for row in rows]


NUMBER = re.compile(r"(?<![\w.<])[<+-]?\d*\.\d+(?![\w.])")


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_every_number_that_is_said_stands_in_a_table(seeds, gain):
    sections = analyse(sweep(full(seeds=seeds, gain=gain)), "geo")
    said = 0
    for section in sections:
        shown = {text for b in section.blocks if isinstance(b, Table) for row in b.grid[1] for text in row}
        for number in (
            found for says in section.says for found in NUMBER.findall(says) if "alpha " + found not in says
        ):
            assert number in shown, f"{number} is said in {section.name} and shown nowhere"
            said += 1
    assert said > 10


@pytest.mark.parametrize("cells", [full(seeds=1), full(seeds=3), full(sizes=("small",)), full(alphas=(1.0,))])
def test_names_are_unique_and_tables_whole(cells):
    sections = analyse(sweep(cells), "geo")
    blocks = [block for section in sections for block in section.blocks]
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len({block.name for block in tables}) == len(tables)
    assert len({section.name for section in sections}) == len(sections)
    for table in tables:
        assert {len(row) for row in table.grid[1]} == {len(table.grid[0])}
    assert all(says == says.strip() and says for section in sections for says in section.says)


def test_nothing_done_says_so():
    for cells in ([], [cell("small", None, Mo=0.1)]):
        (section,) = analyse(sweep(cells, stopped=[StoppedRow("x/a0/s0", "x", 0.0, "slow")]), "geo")
        assert "No cell is done yet" in section.says[0]
        assert "x/a0/s0" in section.says[1]


def test_a_terminal_gets_the_run_the_interaction_and_the_choice():
    sections = analyse(sweep(full()), "geo")
    lines = in_short(sections)
    assert lines[0].startswith("27 cells are done: 3 sizes, 3 mixes, 3 seeds each.")
    assert sum(line.startswith(("Mo.:", "Cr.:", "Mul.:", "Rank distance:")) for line in lines) == 4
    assert any("has the best dev" in line for line in lines)
    assert len(set(lines)) == len(lines)


def test_a_set_without_map_is_analysed_by_what_it_is_published_with():
    cells = [
        CellValues(
            ScoreRow(f"s/a{a}/s{n}", "s", a, n, "xor", {"R@2kt/Cr": a / 2 + n / 50}, published=("R@2kt", "R@5kt"))
        )
        for a in (0.0, 0.5)
        for n in range(3)
    ]
    responses_of = section_of(analyse(sweep(cells), "xor"), "responses")
    assert column(table_of(responses_of, "response-cr").grid, "Cr.") == [".020", ".270"]
