"""Published figures: that the file holds what the registries know, and beside which of our cells it is shown."""

import pytest
from scipy import stats

from xling.config.schema import MixConfig, ModelConfig
from xling.data import registry
from xling.report.analysis import analyse
from xling.report.cell_values import CellValues, SweepValues
from xling.report.published import as_published_records, beside, checkpoint_of, published_tables, shares_of
from xling.report.rows import ScoreRow

XLMR = "FacebookAI/xlm-roberta-base"


def row(dataset, size, checkpoint, alpha, seed=0, languages=11, part=False, **figures):
    headline = {"mAP/Mo": 0.7, "mAP/Cr": 0.6, "mAP/Mul": 0.5, "rank_distance": 300.0} | figures
    shares = None if alpha is None else shares_of(MixConfig(monolingual=alpha, cross_lingual=1 - alpha))
    return ScoreRow(
        f"{size}/a{alpha}/s{seed}",
        size,
        alpha,
        seed,
        dataset,
        headline,
        languages=languages,
        part=part,
        checkpoint=checkpoint,
        shares=shares,
    )


def test_every_table_is_of_a_set_that_is_scored_and_names_its_source_once():
    keys = []
    for table in published_tables():
        assert registry.get(table.dataset).splits
        assert table.source.startswith("arXiv ")
        keys += [(table.source, table.dataset, line.model, line.mix) for line in table.lines]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("dataset", "model", "alpha", "name", "value"),
    [
        ("xquad-r", XLMR, 0.5, "mAP/Mul", 0.593),
        ("xquad-r", XLMR, 1, "rank_distance", 410.2),
        ("mlqa-r", "sentence-transformers/LaBSE", 0, "mAP/Cr", 0.677),
        ("miracl", XLMR, 1, "nDCG@10/Mo", 0.4148),
    ],
)
def test_figures_are_those_of_the_hybrid_paper(dataset, model, alpha, name, value):
    (record,) = as_published_records([row(dataset, "x", model, alpha)])
    assert (record["figures"][name], record["source"]) == (value, "arXiv 2408.10536")
    assert record["beside"] == [{"size": "x", "alpha": alpha, "languages": 11, "part": False}]


def test_ours_and_theirs_stand_below_each_other_seeds_averaged():
    rows = [row("xquad-r", "base", XLMR, 0.5, seed, **{"mAP/Mo": mo}) for seed, mo in ((0, 0.7), (1, 0.8))]
    rows += [row("xquad-r", "base", XLMR, 0.25), row("xquad-r", "base", XLMR, None)]
    ((title, (headings, body)),) = beside(rows)
    assert "11 languages" in title
    assert headings == ["size", "alpha", "whose", "Mo.", "Cr.", "Mul.", "rank dist."]
    assert body == [
        ["base", "0.5", "ours", ".750±.071", ".600±.000", ".500±.000", "300±0"],
        ["", "", "arXiv 2408.10536", ".798", ".705", ".593", "287"],
    ]


def test_in_the_analysis_ours_have_intervals():
    found = {0: 0.7, 1: 0.8, 2: 0.72}
    rows = [row("xquad-r", "base", XLMR, 0.5, seed, **{"mAP/Mo": mo}) for seed, mo in found.items()]
    sections = analyse(SweepValues([CellValues(of) for of in rows]), "xquad-r")
    (section,) = [section for section in sections if section.name == "published"]
    ours, theirs = section.blocks[0].grid[1]
    low, high = stats.ttest_1samp(list(found.values()), 0).confidence_interval(0.95)
    assert ours[:4] == ["base", "0.5", "ours", f".740 [{low:.3f}, {high:.3f}]".replace("0.", ".")]
    assert theirs[2:4] == ["arXiv 2408.10536", ".798"]
    assert "t-intervals over 3 seeds" in section.says[1]


def test_ours_over_other_languages_say_so():
    ((_, (_, body)),) = beside([row("miracl", "base", XLMR, 1, languages=4, **{"nDCG@10/Mo": 0.5})])
    assert [line[2] for line in body] == ["ours (4 languages)", "arXiv 2408.10536"]


@pytest.mark.parametrize(
    ("languages", "whose"), [(11, "ours (part of the set)"), (4, "ours (part of the set, 4 languages)")]
)
def test_ours_on_a_part_of_the_set_say_so(languages, whose):
    part = row("xquad-r", "base", XLMR, 0.5, languages=languages, part=True)
    ((title, (_, body)),) = beside([part])
    assert "the whole set" in title
    assert [line[2] for line in body] == [whose, "arXiv 2408.10536"]
    assert as_published_records([part])[0]["beside"][0]["part"]


def test_nothing_is_shown_for_another_set_checkpoint_or_mix():
    others = [
        row("geo", "base", XLMR, 0.5),
        row("xquad-r-2", "base", XLMR, 0.5),
        row("xquad-r", "tiny", "", 0.5),
        row("xquad-r", "large", "FacebookAI/xlm-roberta-large", 0.5),
        row("xquad-r", "base", XLMR, 0.25),
        row("xquad-r", "base", XLMR, None),
    ]
    assert [found for other in others for found in (*beside([other]), *as_published_records([other]))] == []


def test_mixed_monolingual_batches_are_another_mix_than_monolingual_ones():
    mbert = "google-bert/bert-base-multilingual-cased"
    mixed = MixConfig(monolingual=0, cross_lingual=0, mixed_monolingual=1)
    ours = row("xquad-r", "mbert", mbert, 0)
    (record,) = as_published_records([ours])
    assert record["figures"] == {"mAP/Mul": 0.66}
    (record,) = as_published_records(
        [ScoreRow("x", "mbert", 0, 0, "xquad-r", ours.headline, checkpoint=mbert, shares=shares_of(mixed))]
    )
    assert record["figures"] == {"mAP/Mul": 0.23}


def test_what_was_made_in_another_way_stands_beside_any_model():
    ((_, (_, body)),) = beside([row("mr-tydi", "tiny", "", 0.5)])
    assert ["BM25", "", "arXiv 2108.08787", ".321", ".732"] in body
    assert {line[2] for line in body} == {"arXiv 2108.08787"}


def test_the_checkpoint_of_a_model_is_the_hubs_id_of_what_it_starts_from():
    assert checkpoint_of(ModelConfig(preset="base")) == checkpoint_of(ModelConfig(hub=XLMR)) == XLMR
    assert checkpoint_of(ModelConfig(preset="tiny")) == checkpoint_of(ModelConfig(path="/x")) == ""
