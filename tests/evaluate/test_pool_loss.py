"""The dev loss: a brute-force reference, what is in the pool, and on what it does not depend."""

import math

import numpy as np
import pytest

from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.evaluate.layout import build_layout
from xling.evaluate.pool_loss import PoolLoss

LANGUAGES = ("de", "en", "zh")
TEMPERATURE = 0.07


def retrieval(items: int = 12, *, languages=LANGUAGES, more_relevant: bool = True) -> RetrievalSet:
    """Each item's passages are relevant to its query in every language; some queries have two in a language."""
    queries = {code: [Query(f"{code}/q{i}", code, "?") for i in range(items)] for code in languages}
    passages = {code: sorted_passages([Passage(f"{code}/p{i}", code, ".") for i in range(items)]) for code in languages}
    qrels = {f"{a}/q{i}": {f"{b}/p{i}": 1 for b in languages} for a in languages for i in range(items)}
    if more_relevant:
        for code in languages:
            qrels[f"{code}/q0"] |= {f"{code}/p1": 2, f"{code}/p2": 0}  # graded 0: judged, and not relevant
    qrels.pop(f"{languages[0]}/q3", None)  # not judged: in no mean
    return RetrievalSet("made", languages, queries, passages, qrels, "f")


def unit_vectors(layout, seed=0, dimension=5):
    vectors = np.random.default_rng(seed).normal(size=(layout.query_count + len(layout.passage_ids), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute_force(data: RetrievalSet, layout, vectors, pool: dict[str, set[str]]) -> float:
    """The definition, a query at a time, in float64 and plain Python."""
    texts = [query.id for code in data.languages for query in data.queries[code]] + list(layout.passage_ids)
    vector = {name: vectors[number].astype(np.float64) for number, name in enumerate(texts)}
    pairs: dict[bool, list[float]] = {}
    for a in data.languages:
        for b in data.languages:
            of_queries = []
            for query in data.queries[a]:
                relevant = {name for name, grade in data.qrels.get(query.id, {}).items() if grade >= 1}
                positives = [name for name in relevant if name.startswith(f"{b}/")]
                losses = []
                for positive in positives:
                    names = [positive, *(name for name in pool[b] if name not in relevant)]
                    scores = [float(vector[query.id] @ vector[name]) / TEMPERATURE for name in names]
                    losses.append(-math.log(math.exp(scores[0]) / math.fsum(map(math.exp, scores))))
                if losses:
                    of_queries.append(sum(losses) / len(losses))
            if of_queries:
                pairs.setdefault(a == b, []).append(sum(of_queries) / len(of_queries))
    means = [sum(values) / len(values) for values in pairs.values()]
    return sum(means) / len(means)


def pool_of(loss: PoolLoss, layout) -> dict[str, set[str]]:
    names = [layout.passage_ids[int(column)] for column in loss._columns_P]
    return {code: {name for name in names if name.startswith(f"{code}/")} for code in layout.languages}


@pytest.mark.parametrize("size", [1, 4, 12, 1024])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_definition(size, seed):
    data = retrieval()
    layout = build_layout(data)
    loss, vectors = PoolLoss(layout, size), unit_vectors(layout, seed)
    expected = brute_force(data, layout, vectors, pool_of(loss, layout))
    assert loss.value(vectors, TEMPERATURE) == pytest.approx(expected, rel=1e-12)


def test_one_language_has_monolingual_pairs_alone():
    data = retrieval(languages=("de",))
    layout = build_layout(data)
    loss, vectors = PoolLoss(layout, 5), unit_vectors(layout)
    expected = brute_force(data, layout, vectors, pool_of(loss, layout))
    assert loss.value(vectors, TEMPERATURE) == pytest.approx(expected, rel=1e-12)


def test_blocks_of_queries_change_nothing(monkeypatch):
    data = retrieval()
    layout = build_layout(data)
    vectors = unit_vectors(layout)
    whole = PoolLoss(layout, 7).value(vectors, TEMPERATURE)
    monkeypatch.setattr("xling.evaluate.pool_loss.block_edges", lambda queries, candidates: [0, 1, 5, queries])
    assert PoolLoss(layout, 7).value(vectors, TEMPERATURE) == pytest.approx(whole, rel=1e-14)


def test_other_relevant_passages_are_no_negatives_and_the_positive_counts_without_being_drawn():
    data = retrieval(2, languages=("de",), more_relevant=False)
    data.qrels["de/q0"] = {"de/p0": 1, "de/p1": 1}
    del data.qrels["de/q1"]
    layout = build_layout(data)
    loss, vectors = PoolLoss(layout, 1), unit_vectors(layout)
    assert loss.value(vectors, TEMPERATURE) == 0.0  # both are relevant: there is no negative


def test_perfect_embeddings_have_next_to_no_loss_and_equal_ones_that_of_chance():
    data = retrieval(more_relevant=False)
    layout = build_layout(data)
    one_hot = np.zeros((layout.query_count + len(layout.passage_ids), 12), np.float32)
    names = [query.id for code in LANGUAGES for query in data.queries[code]] + list(layout.passage_ids)
    for number, name in enumerate(names):
        one_hot[number, int(name[4:])] = 1
    loss = PoolLoss(layout, 1024)
    assert loss.value(one_hot, 0.05) < 1e-6
    assert loss.value(np.full_like(one_hot, 12**-0.5), 0.05) == pytest.approx(math.log(12))


def test_the_pool_depends_on_the_ids_alone():
    data = retrieval(40)
    layout = build_layout(data)
    again = build_layout(retrieval(40))
    drawn = pool_of(PoolLoss(layout, 10), layout)
    assert drawn == pool_of(PoolLoss(again, 10), again)
    assert {code: len(names) for code, names in drawn.items()} == PoolLoss(layout, 10).candidates
    assert set(PoolLoss(layout, 10).candidates.values()) == {10}
    smaller = pool_of(PoolLoss(layout, 4), layout)
    assert all(smaller[code] < drawn[code] for code in LANGUAGES), "a smaller pool is part of a larger one"
    shared = {name[3:] for name in drawn["de"]} & {name[3:] for name in drawn["en"]}
    assert len(shared) < 10, "languages draw each for themselves"


def test_what_was_drawn_is_what_always_was():
    """Another pool is another measure: losses of older runs could not be compared with newer ones."""
    layout = build_layout(retrieval(40))
    assert sorted(pool_of(PoolLoss(layout, 3), layout)["de"]) == GOLDEN


GOLDEN = ["de/p1", "de/p23", "de/p33"]


def test_a_set_smaller_than_the_pool_is_used_whole_and_says_so():
    layout = build_layout(retrieval(12))
    assert PoolLoss(layout, 1024).candidates == dict.fromkeys(LANGUAGES, 12)
