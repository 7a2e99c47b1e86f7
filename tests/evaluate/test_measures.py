"""Measures by hand, and against two other implementations: pytrec_eval (trec_eval itself) and ranx."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.errors import ConfigError
from xling.evaluate.measures import UNRANKED, Recall, RelevantRanks, measure, measures, register

CUTOFFS = (1, 3, 10, 100)
# Our name, theirs. trec_eval's map_cut divides by all relevant candidates: see test below.
IN_TREC_EVAL = {"mAP": "map", "MRR": "recip_rank", "nDCG": "ndcg"} | {
    f"{ours}@{k}": f"{theirs}_{k}"
    for ours, theirs in (("nDCG", "ndcg_cut"), ("R", "recall"), ("success", "success"))
    for k in CUTOFFS
}
IN_RANX = {"mAP": "map", "MRR": "mrr", "nDCG": "ndcg"} | {
    f"{ours}@{k}": f"{theirs}@{k}"
    for ours, theirs in (("MRR", "mrr"), ("nDCG", "ndcg"), ("R", "recall"), ("success", "hit_rate"))
    for k in CUTOFFS
}
IN_PYTREC_EVAL = {"map", "recip_rank", "ndcg"} | {
    f"{name}.{','.join(map(str, CUTOFFS))}" for name in ("ndcg_cut", "recall", "success", "map_cut")
}


def found(ranks: list[list[int]], grades: list[list[int]] | None = None) -> RelevantRanks:
    grades = grades or [[1] * len(of_query) for of_query in ranks]
    query = np.repeat(np.arange(len(ranks)), [len(of_query) for of_query in ranks])
    return RelevantRanks.of(query, np.concatenate(ranks), np.concatenate(grades), len(ranks))


def drawn(seed: int, queries: int = 40, candidates: int = 300) -> tuple[RelevantRanks, dict, dict]:
    """Graded judgements and tied scores: our ranks of them, qrels and run for the others.

    A few queries are judged on candidates that the run does not hold.
    """
    rng = np.random.default_rng(seed)
    ids = sorted((f"d{number}" for number in range(candidates)), key=str.encode, reverse=True)
    run, qrels, ranks, grades = {}, {}, [], []
    for number in range(queries):
        scores = rng.integers(0, 60, candidates).astype(np.float32)
        order = np.lexsort((np.arange(candidates), -scores))  # trec_eval's: score, then id, both descending
        rank_of = dict(zip([ids[place] for place in order], range(1, candidates + 1), strict=True))
        judged = rng.choice(candidates, int(rng.integers(1, 15)), replace=False)
        of_query = {ids[place]: int(rng.integers(0, 4)) for place in judged} | {ids[int(judged[0])]: 1}
        if number % 5 == 0:
            of_query |= {"not in the run": 2}
        name = f"q{number:03}"
        run[name] = dict(zip(ids, scores.tolist(), strict=True))
        qrels[name] = of_query
        relevant = {one: grade for one, grade in of_query.items() if grade > 0}
        ranks.append([rank_of.get(one, UNRANKED) for one in relevant])
        grades.append(list(relevant.values()))
    return found(ranks, grades), qrels, run


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


@pytest.mark.parametrize("seed", range(3))
def test_ties_grades_and_gaps_measure_as_in_trec_eval(seed: int) -> None:
    ranks, qrels, run = drawn(seed)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, IN_PYTREC_EVAL).evaluate(run)
    for name, their_name in IN_TREC_EVAL.items():
        expected = [theirs[query][their_name] for query in qrels]
        np.testing.assert_allclose(measure(name).values(ranks), expected, atol=1e-12, err_msg=name)
    for k in CUTOFFS:
        share = ranks.count_Q / np.minimum(ranks.count_Q, k)  # ours divides by what could stand above the cut-off
        expected = [theirs[query][f"map_cut_{k}"] for query in qrels] * share
        np.testing.assert_allclose(measure(f"mAP@{k}").values(ranks), expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unsafe cast")
@pytest.mark.parametrize("seed", range(3))
def test_ties_grades_and_gaps_measure_as_in_ranx(seed: int) -> None:
    """ranx leaves ties in no stated order: it is given minus the rank in trec_eval's order as the score.

    Slow: numba compiles ranx's measures, most of a minute the first time.
    """
    import ranx

    ranks, qrels, run = drawn(seed)
    untied = {}
    for query, scores in run.items():
        order = sorted(scores, key=lambda one: (scores[one], one.encode()), reverse=True)
        untied[query] = {one: float(-rank) for rank, one in enumerate(order, start=1)}
    theirs = ranx.evaluate(
        ranx.Qrels(qrels), ranx.Run(untied), list(IN_RANX.values()), return_mean=False, make_comparable=False
    )
    for name, their_name in IN_RANX.items():
        np.testing.assert_allclose(measure(name).values(ranks), theirs[their_name], atol=1e-12, err_msg=name)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.integers(1, 150), st.integers(1, 3), min_size=1, max_size=20), min_size=1, max_size=4)
)
def test_graded_judgements_measure_as_in_trec_eval(judged: list[dict[int, int]]) -> None:
    run = {f"q{row}": {f"d{rank}": float(-rank) for rank in range(1, 151)} for row in range(len(judged))}
    qrels = {f"q{row}": {f"d{rank}": grade for rank, grade in of.items()} for row, of in enumerate(judged)}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, IN_PYTREC_EVAL).evaluate(run)
    ranks = found([list(of) for of in judged], [list(of.values()) for of in judged])
    for name, their_name in IN_TREC_EVAL.items():
        ours = measure(name).values(ranks)
        assert ours.tolist() == pytest.approx([theirs[f"q{row}"][their_name] for row in range(len(judged))])


@pytest.mark.parametrize("name", ["mAP", "mAP@3", "MRR", "MRR@100", "nDCG", "nDCG@10", "R@100", "success@5"])
def test_what_no_list_holds_adds_nothing(name: str) -> None:
    of_two = found([[UNRANKED, UNRANKED], [1, UNRANKED]])
    alone, beside = measure(name).values(of_two)
    assert alone == 0.0
    # The unranked one counts among the relevant: it is missed, not forgotten.
    whole = measure(name).values(found([[1, 2]]))[0]
    assert 0 < beside <= whole == 1.0


@pytest.mark.parametrize("name", ["mAP", "mAP@10", "MRR@100", "nDCG", "nDCG@20", "R@7", "success@5"])
def test_a_measure_has_the_name_it_is_read_from(name: str) -> None:
    assert measure(name).name == name


def test_a_perfect_ranking_has_average_precision_1_at_every_cut_off() -> None:
    perfect = found([[1, 2, 3, 4, 5]])
    assert [measure(f"mAP@{k}").values(perfect)[0] for k in (1, 3, 5, 10)] == [1.0] * 4


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ndcg@10", "'nDCG@10'"),
        ("MAP", "'mAP'"),
        ("recall@100", "'R@100'"),
        ("R", "'R@10'"),
        ("sucess@5", "'success@5'"),
        ("MRR@0", "'MRR'"),
        ("nDCG@-5", "'nDCG@5'"),
        ("RR@10", "'MRR@10'"),
    ],
)
def test_an_unknown_measure_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        measure(name)
    assert str(caught.value).startswith(f"measure {name!r} is unknown, must be one of mAP, MRR, nDCG, mAP@k, ")
    assert str(caught.value).endswith(f"; did you mean {nearest}?")


def test_a_name_like_nothing_known_gets_no_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"success@k$"):
        measure("bpref")


def test_published_measures_stand_first_and_none_twice() -> None:
    assert list(measures(("R@100", "MRR@100"))) == ["R@100", "MRR@100", "mAP", "MRR@10", "nDCG@10", "R@1", "R@10"]


def test_a_registered_name_cannot_be_taken_again() -> None:
    with pytest.raises(ValueError, match=r"'R@10' is registered already"):
        register(Recall(10))
    assert "nDCG@5" not in measures()
