import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from xling.errors import NonFiniteError
from xling.evaluate import ranks
from xling.evaluate.ranks import block_edges, products_stay_finite, rank_in_order, rank_relevant

scores_with_ties = npst.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 25)), elements=st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0])
)


def every_entry(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(scores.shape).reshape(2, -1)
    return rows.astype(np.int64), columns.astype(np.int64)


@given(scores_with_ties)
def test_ranks_are_those_of_a_stable_sort_by_score(scores: np.ndarray) -> None:
    rows, columns = every_entry(scores)
    ranks = rank_in_order(scores, rows, columns).reshape(scores.shape)
    for row in range(len(scores)):
        order = sorted(range(scores.shape[1]), key=lambda column: (-scores[row, column], column))
        assert [ranks[row, column] for column in order] == list(range(1, len(order) + 1))


@settings(deadline=None)
@given(scores_with_ties)
def test_ranks_equal_trec_evals_for_ids_that_sort_bytewise(scores: np.ndarray) -> None:
    ids = sorted((f"d{number}" for number in range(scores.shape[1])), key=str.encode, reverse=True)
    run = {f"q{row}": dict(zip(ids, map(float, scores[row]), strict=True)) for row in range(len(scores))}
    for column, name in enumerate(ids):
        evaluator = pytrec_eval.RelevanceEvaluator({query: {name: 1} for query in run}, {"recip_rank"})
        theirs = evaluator.evaluate(run)
        ours = rank_in_order(scores, np.arange(len(scores)), np.full(len(scores), column))
        for row, rank in enumerate(ours):
            assert theirs[f"q{row}"]["recip_rank"] == pytest.approx(1 / rank)


@given(scores_with_ties, st.randoms(use_true_random=False), st.data())
def test_rank_within_a_range_and_overall_order_read_off_one_block(scores: np.ndarray, random, data) -> None:
    count = scores.shape[1]
    cut = data.draw(st.integers(0, count))
    tie_order = list(range(count))
    random.shuffle(tie_order)
    for start, stop in ((0, cut), (cut, count)):  # within a range columns stand in tie order
        tie_order[start:stop] = sorted(tie_order[start:stop])
    rows, columns = every_entry(scores)
    starts, stops = np.where(columns < cut, 0, cut), np.where(columns < cut, cut, count)
    overall, within = rank_relevant(scores, np.array(tie_order), rows, columns, starts, stops)
    for row, column, start, stop, in_all, in_range in zip(rows, columns, starts, stops, overall, within, strict=True):
        ahead = [
            other
            for other in range(count)
            if (-scores[row, other], tie_order[other]) < (-scores[row, column], tie_order[column])
        ]
        assert in_all == 1 + len(ahead)
        assert in_range == 1 + sum(start <= other < stop for other in ahead)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused_wherever_it_stands(value: float) -> None:
    scores = np.zeros((3, 5), np.float32)
    scores[2, 4] = value
    with pytest.raises(NonFiniteError, match=r"score of query 2 with candidate 4"):
        rank_in_order(scores, np.array([0]), np.array([0]))


@pytest.mark.parametrize("mask_bytes", [1, 40_000, 2**19])  # one entry compared at once, four, many rows
@pytest.mark.parametrize("values", [2, 30, 10_000])
def test_many_columns_ranges_and_relevants_of_uneven_number(
    values: int, mask_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "_MASK_BYTES", mask_bytes)
    rng = np.random.default_rng(values)
    edges = np.array([0, 3, 1222, 1223, 5000, 9999, 10_001])
    scores = rng.integers(-values, values, (40, edges[-1])).astype(np.float32)
    rows = np.sort(rng.integers(0, 40, 300))[rng.permutation(300)]  # some rows have none, some many
    columns = rng.integers(0, edges[-1], 300)
    of = np.searchsorted(edges, columns, side="right") - 1
    tie_order = rng.permutation(edges[-1])
    overall, within = rank_relevant(scores, tie_order, rows, columns, edges[of], edges[of + 1])
    for row, column, start, stop, in_all, in_range in zip(
        rows, columns, edges[of], edges[of + 1], overall, within, strict=True
    ):
        ahead = scores[row] > scores[row, column]
        ahead |= (scores[row] == scores[row, column]) & (tie_order < tie_order[column])
        assert (in_all, in_range) == (1 + ahead.sum(), 1 + ahead[start:stop].sum())


@pytest.mark.parametrize("relevant", [[], [0, 0, 1, 1, 2, 2], [3, 9, 9, 9, 39]])
def test_each_row_is_passed_once_and_in_order_whether_it_has_a_relevant_candidate_or_not(relevant: list[int]) -> None:
    rows, passed = np.array(relevant, np.int64), []
    scores = np.random.default_rng(0).standard_normal((40, 20_000), np.float32)
    columns, starts = np.arange(len(rows)), np.zeros_like(rows)
    rank_relevant(scores, np.arange(20_000), rows, columns, starts, starts + 20_000, passed=passed.append)
    assert [row for part in passed for row in range(40)[part]] == list(range(40))


@pytest.mark.parametrize(
    ("largest", "stays"), [(1.0, True), (1e18, True), (1e19, False), (3e38, False), (np.nan, False), (-np.inf, False)]
)
def test_products_are_known_to_stay_finite_only_where_none_can_overflow(largest: float, stays: bool) -> None:
    vectors = np.zeros((3, 8), np.float32)
    vectors[1] = largest
    assert products_stay_finite(vectors) is stays
    with np.errstate(over="ignore", invalid="ignore"):
        assert not stays or np.isfinite(vectors @ vectors.T).all()


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 255 * 8, 255 * 8 + 1, 2 * 255 * 8])
def test_every_column_ahead_or_tied_is_counted_at_any_width(columns: int) -> None:
    scores = np.ones((2, columns), np.float32)
    scores[0, -1], scores[1, -1] = 0, 1
    ranks = rank_in_order(scores, np.array([0, 1]), np.array([columns - 1] * 2))
    assert ranks.tolist() == [columns, columns]


def test_blocks_are_about_equal_keep_to_their_bytes_and_cover_all_queries() -> None:
    assert block_edges(10, 7, block_bytes=3 * 7 * 4) == [0, 2, 5, 7, 10]
    assert block_edges(10, 7, block_bytes=1) == list(range(11))
    assert block_edges(10, 7) == [0, 10]
    assert block_edges(0, 7) == [0]
