"""The analysis in a report, recomputed from the queries: all of it agrees, and one wrong number is found and named."""

import re
from dataclasses import replace

import pytest
from synthetic_sweep import finish_all, write_sweep

from xling.config.load import load_sweep
from xling.config.schema import MixConfig
from xling.report import published
from xling.report.blocks import Table
from xling.storage import Storage
from xling.sweep.outcome.analysis import analyse_sweep
from xling.sweep.outcome.gather import gather
from xling.sweep.reporting.plain_points import belongs
from xling.sweep.reporting.show import sections_of
from xling.sweep.reporting.verify import verify
from xling.sweep.study import build_study

# Where a block holds numbers that no query has a value of, the columns to change instead of the first and last.
COLUMNS = {"responses": (4, -1), "cost": (-4, -1), "scaling": (-3, -1), "best-on-dev": (4, -3)}


GRID = "grid=[{model.preset: [tiny, mid]}, {mix.monolingual: [0, 0.5, 1]}, {seed: %s}]"
TRAINED = "data.train.languages=[de, en]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished sweep that has groups of languages: its file."""
    loaded = write_sweep(tmp_path_factory.mktemp("made"), alphas=3, seeds=3, questions=7, languages=4, steps=12)
    loaded = load_sweep(loaded.source, [TRAINED, GRID % [0, 1, 2]])
    finish_all(loaded, build_study(loaded.cells))
    return loaded.source


@pytest.fixture(scope="module", params=[[0, 1], [0, 1, 2]], ids=["over-questions", "over-seeds"])
def found(request, made):
    """Some of its seeds, and the sections of their report, published figures among them."""
    loaded = load_sweep(made, [TRAINED, GRID % request.param])
    gathered = gather(Storage(loaded.config.storage), loaded, build_study(loaded.cells))
    mix = MixConfig(monolingual=0.5)
    line = published.PublishedLine(model="", mix=mix, figures={"mAP/Mo": 0.5, "rank_distance": 9.0})
    table = published.PublishedTable(source="x", dataset="parallel-jsonl", languages=4, about="made up", lines=(line,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "published_tables", lambda: (table,))
        yield gathered, sections_of(gathered, analysis=analyse_sweep(gathered))


def shown_by(block):
    return block.grid if isinstance(block, Table) else block.data


def analysed(sections):
    """The tables and pictures of the analysis, with numbers."""
    of = [s for s in sections if s.name in ("responses", "interaction", "best-on-dev", "pareto", "scaling", "groups")]
    more = [s for s in sections if s.name in ("cells", "published")]
    return [block for section in (*of, *more) for block in section.blocks]


def test_all_numbers_of_the_analysis_agree_and_none_is_left(found):
    gathered, sections = found
    blocks = analysed(sections)
    kinds = {re.sub(r"-(mo|cr|mul|rank-distance)$", "", block.name) for block in blocks}
    assert {"response", "mixes", "interaction", "gain", "cost", "languages", "script-gap", "published"} <= kinds
    verified = verify(gathered, sections)
    assert verified.differing == ()
    assert not {block.title for block in blocks} & set(verified.not_recomputed)


def test_equal_scores_are_no_differing_numbers(tmp_path):
    """Differences of few questions' scores are 0 again and again, but for rounding, which goes two ways."""
    loaded = write_sweep(tmp_path, alphas=5, seeds=2, questions=4, languages=5, steps=12)
    study = build_study(loaded.cells)
    finish_all(loaded, study)
    gathered = gather(Storage(loaded.config.storage), loaded, study)
    assert verify(gathered, sections_of(gathered, analysis=analyse_sweep(gathered))).differing == ()


def wrong(text):
    """With another digit in front."""
    return re.sub(r"\d", lambda digit: str((int(digit[0]) + 5) % 10), text, count=1)


def with_wrong_numbers(block):
    """The block with two numbers changed, in its first and in its last row with a number there; and what they are."""
    headings, body = shown_by(block)
    body = [list(row) for row in body]
    columns = COLUMNS.get(block.name, (1 if block.name == "cells" else 2, -2))
    changed = []
    for column, rows in zip(columns, (range(len(body)), range(len(body) - 1, -1, -1)), strict=True):
        for row in rows:
            if re.search(r"\d", body[row][column]) and (row, column % len(headings)) not in changed:
                body[row][column] = wrong(body[row][column])
                changed.append((row, column % len(headings)))
                break
    key = "grid" if isinstance(block, Table) else "data"
    return replace(block, **{key: (headings, body)}), [
        f"{block.title}: {body[row][0]} {headings[column]} {body[row][column]}" for row, column in changed
    ]


def test_one_wrong_number_in_any_table_is_found_and_nothing_else(found):
    gathered, sections = found
    wrong_ones = {id(block): with_wrong_numbers(block) for block in analysed(sections)}
    changed = [
        replace(section, blocks=tuple(wrong_ones.get(id(b), (b,))[0] for b in section.blocks)) for section in sections
    ]
    differing = verify(gathered, changed).differing
    expected = [text for _, texts in wrong_ones.values() for text in texts]
    assert len(expected) >= 40
    assert len(differing) == len(expected)
    for text in expected:
        title, _, rest = text.rpartition(": ")
        said = rest.rpartition(" ")[2]
        assert [one for one in differing if one.startswith(f"{title}: row ") and f" {said}" in one], text


@pytest.mark.parametrize("group", ["Cr", "zh-en", "Cr_mixed", "Cr_different_script"])
def test_a_pair_is_among_those_trained_on_however_their_codes_are_written(group):
    assert belongs(("zh", "en"), group, {"zh_cn"})
    assert not belongs(("zh", "en"), "Cr_unseen", {"zh_cn"})
    assert belongs(("zh", "en"), "Cr_seen", {"zh_cn", "eng"})
