import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.evaluate.measures import NormalisedGain, Recall, RelevantRanks, measures, register


def found(ranks: list[list[int]], grades: list[list[int]] | None = None) -> RelevantRanks:
    grades = grades or [[1] * len(of_query) for of_query in ranks]
    query = np.repeat(np.arange(len(ranks)), [len(of_query) for of_query in ranks])
    return RelevantRanks.of(query, np.concatenate(ranks), np.concatenate(grades), len(ranks))


def test_values_by_hand() -> None:
    of_two = found([[4, 1], [11]])
    values = {name: measure.values(of_two).tolist() for name, measure in measures().items()}
    assert values == {
        "mAP": [(1 / 1 + 2 / 4) / 2, 1 / 11],
        "MRR@10": [1.0, 0.0],
        "nDCG@10": [pytest.approx((1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3))), 0.0],
        "R@1": [0.5, 0.0],
        "R@10": [1.0, 0.0],
        "R@100": [1.0, 1.0],
    }


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.integers(1, 150), st.integers(1, 3), min_size=1, max_size=20), min_size=1, max_size=4)
)
def test_graded_judgements_measure_as_in_trec_eval(judged: list[dict[int, int]]) -> None:
    run = {f"q{row}": {f"d{rank}": float(-rank) for rank in range(1, 151)} for row in range(len(judged))}
    qrels = {f"q{row}": {f"d{rank}": grade for rank, grade in of.items()} for row, of in enumerate(judged)}
    names = {"map": "mAP", "ndcg_cut_10": "nDCG@10", "recall_1": "R@1", "recall_10": "R@10", "recall_100": "R@100"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"map", "ndcg_cut.10", "recall.1,10,100"}).evaluate(run)
    ranks = found([list(of) for of in judged], [list(of.values()) for of in judged])
    for their_name, name in names.items():
        ours = measures()[name].values(ranks)
        assert ours.tolist() == pytest.approx([theirs[f"q{row}"][their_name] for row in range(len(judged))])


def test_a_registered_name_cannot_be_taken_again() -> None:
    with pytest.raises(ValueError, match=r"'R@10' is registered already"):
        register(Recall(10))
    assert "nDCG@5" not in measures()
    assert NormalisedGain(5).name == "nDCG@5"
