"""What stands beside the tables."""

from dataclasses import replace

import numpy as np
from toy_sets import score_vectors, tied_vectors, toy_set

from xling.evaluate.layout import build_layout
from xling.report.notes import search_note, used_note


def test_how_it_was_searched_is_told_of_all_results_at_once():
    assert search_note([{"mAP/Mo": 0.5}]) is None
    flat = {"mAP/Mo": 0.5, "search_depth": 1000}
    assert search_note([flat, flat]) == "Searched to a depth of 1,000: what is below counts as not found."
    text = search_note([flat | {"index_recall": recall} for recall in (0.993, 0.981, 0.99)])
    assert "The index found .981 to .993 of what exact search finds" in text
    assert "The index found 1.000 of" in search_note([flat | {"index_recall": 1.0}] * 2)


def test_queries_are_counted_where_pairs_have_uneven_numbers():
    retrieval = toy_set(3)
    result = score_vectors(retrieval, tied_vectors(build_layout(retrieval), 3))
    even = replace(result, pair_queries=np.array([[4, 0], [0, 4]]))
    assert used_note(even) is None
    uneven = replace(result, pair_queries=np.array([[1148, 161], [161, 500]]))
    assert used_note(uneven) == "Queries a pair: 161 to 1,148; those without a relevant passage are left out."
