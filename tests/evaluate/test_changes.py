"""What one system does better and worse than another, query by query."""

import pyarrow as pa
import pytest

from xling.evaluate.changes import changed_pairs
from xling.languages import LangPair


def table(values, n_rel=1):
    """Per-query values by (query, query language, passage language)."""
    keys = [pa.array(column).dictionary_encode() for column in zip(*values, strict=True)]
    names = ("query", "query_language", "passage_language")
    return pa.table(
        {
            **dict(zip(names, keys, strict=True)),
            "n_rel": pa.array([n_rel] * len(values), pa.int32()),
            "mAP": pa.array(list(values.values()), pa.float64()),
        }
    )


BEFORE = {
    ("de/1", "de", "en"): 0.1, ("de/2", "de", "en"): 0.5, ("de/3", "de", "en"): 1.0,
    ("de/1", "de", "de"): 1.0, ("de/2", "de", "de"): 1.0, ("de/3", "de", "de"): 0.25,
    ("de/1", "de", "*"): 0.3,
}  # fmt: skip
AFTER = BEFORE | {
    ("de/1", "de", "en"): 1.0, ("de/2", "de", "en"): 1.0, ("de/3", "de", "en"): 0.5,
    ("de/2", "de", "de"): 0.2, ("de/1", "de", "*"): 1.0,
}  # fmt: skip


def test_the_pair_that_gains_most_and_the_one_that_gains_least():
    shuffled = dict(reversed(AFTER.items()))
    most, least = changed_pairs(table(BEFORE), table(shuffled), "mAP", 2)
    assert (most.pair, least.pair) == (LangPair("de", "en"), LangPair("de", "de"))
    assert most.mean == pytest.approx((0.9 + 0.5 - 0.5) / 3)
    assert [change.query for change in most.mended] == ["de/1", "de/2"]
    assert [change.query for change in most.broken] == ["de/3"]
    assert least.mended == ()  # what stays as it is was not mended
    assert [(change.query, change.before, change.after) for change in least.broken] == [("de/2", 1.0, 0.2)]


def test_average_precision_tells_the_rank_of_an_only_relevant_passage():
    (most, _) = changed_pairs(table(BEFORE), table(AFTER), "mAP", 1)
    assert (most.mended[0].rank_before, most.mended[0].rank_after) == (10, 1)
    (several, _) = changed_pairs(table(BEFORE, n_rel=2), table(AFTER, n_rel=2), "mAP", 1)
    assert several.mended[0].rank_before is None


def test_systems_without_a_common_query_have_nothing_to_show():
    assert changed_pairs(table(BEFORE), table({("de/9", "de", "en"): 1.0}), "mAP", 3) == []
