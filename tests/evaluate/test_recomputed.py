"""Stored results beside what their per-query values give."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from toy_sets import score_vectors, tied_vectors, toy_set

from xling.evaluate.layout import build_layout
from xling.evaluate.recomputed import compare_stored, recompute


def result_of(**options):
    retrieval = toy_set(0, **options)
    return score_vectors(retrieval, tied_vectors(build_layout(retrieval), 0))


def differing(result, per_query=None):
    return [one for one in compare_stored(result, *recompute(per_query or result.per_query)) if not one.agrees]


@pytest.mark.parametrize("options", [{}, {"cross_lingual": False}, {"strata": False}, {"languages": ("de",)}])
def test_every_stored_number_follows_from_its_queries(options):
    result = result_of(**options)
    found = list(compare_stored(result, *recompute(result.per_query)))
    assert [one for one in found if not one.agrees] == []
    names = {one.name for one in found}
    assert {f"{measure}/Mo" for measure in result.measures} <= names
    assert any(name.startswith("entity=seen: ") for name in names) is (options.get("strata", True))
    assert sum(one.stored is not None for one in found) > 20


def with_value(table, row, measure, value):
    values = table[measure].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(measure), measure, pa.array(values, pa.float64()))


def test_a_changed_query_shows_in_its_pair_its_means_and_its_stratum():
    result = result_of()
    table = result.per_query
    row = next(
        n for n, one in enumerate(table.to_pylist()) if (one["query_language"], one["passage_language"]) == ("de", "en")
    )
    changed = with_value(table, row, "mAP", table["mAP"][row].as_py() + 0.25)
    names = {one.name for one in differing(result, changed)}
    script = "mAP/Cr_same_script"
    assert {"mAP of de-en", "mAP/Cr", script} <= names
    assert any(name.startswith("entity=") and name.endswith(": mAP/Cr") for name in names)
    assert not {name for name in names if "mAP" not in name}
    assert "mAP of de-de" not in names


def test_a_missing_query_shows_in_the_counts():
    result = result_of()
    assert any(one.name.startswith("queries of ") for one in differing(result, result.per_query.slice(1)))


def test_a_changed_summary_is_named_with_both_numbers():
    result = result_of()
    headline = {**result.headline, "mAP/Mul": 0.123}
    (found,) = differing(replace(result, headline=headline))
    assert str(found) == f"mAP/Mul is 0.123, its queries give {result.headline['mAP/Mul']:.6g}"


def test_a_rank_distance_that_is_not_known_leaves_the_mean_unknown():
    result = result_of()
    pool = next(n for n, one in enumerate(result.per_query.to_pylist()) if one["passage_language"] == "*")
    overall, _ = recompute(with_value(result.per_query, pool, "rank_distance", None))
    assert "rank_distance" not in overall.headline
    assert np.isnan(overall.pool("rank_distance", result.languages)).sum() == 1
    assert "own_language_share" in overall.headline
