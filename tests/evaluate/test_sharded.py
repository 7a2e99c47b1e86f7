"""Search by shards against the full ranking, in this process; on a cluster in test_sharded_on_ray.py."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import forked
from test_xor import answered_set
from tied_encoders import tied_model
from toy_encoders import toy_model
from toy_sets import toy_set, toy_tokens

from xling.config.schema import EvaluationConfig, IndexConfig
from xling.data.records import RetrievalSet
from xling.errors import NonFiniteError, ResourceError
from xling.evaluate import blocks, pairs
from xling.evaluate.layout import build_layout
from xling.evaluate.measures import UNRANKED
from xling.evaluate.pairs import Progress, evaluate_local
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import score_language
from xling.evaluate.search.searcher import sample_queries
from xling.evaluate.search.shards import ShardStore
from xling.storage import Storage

FLAT = IndexConfig(kind="flat")
SHARD = 7  # texts, in place of 32,768: a toy language has two or three shards


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(blocks, "SHARD_TEXTS", SHARD)


def store_in(folder: Path) -> ShardStore:
    return ShardStore.of(Storage(str(folder)), "weights", {"batch_size": 64})


def ranked_whole(retrieval: RetrievalSet, vectors_XD: np.ndarray, depth: int) -> EvaluationResult:
    """The full ranking with every rank below the depth taken away."""
    layout = build_layout(retrieval)
    scores = []
    for language in range(len(layout.languages)):
        full = score_language(layout, language, vectors_XD, None)
        cut = [np.where(ranks <= depth, ranks, UNRANKED) for ranks in (full.pair_ranks_R, full.pool_ranks_R)]
        scores.append(replace(full, pair_ranks_R=cut[0], pool_ranks_R=cut[1]))
    return build_result(retrieval, layout, scores)


def vectors_of(loaded, retrieval: RetrievalSet, tokens) -> np.ndarray:
    flat = pairs.FlatTokens.of_retrieval(build_layout(retrieval), tokens)
    return pairs.encode(loaded.encoder, flat, batch_size=64, batch_tokens=4096, pad_id=0)


def same(ours: EvaluationResult, theirs: EvaluationResult) -> None:
    """All but what says how it was searched."""
    left_out = {"search_depth", "index_recall"}
    assert {name: value for name, value in ours.headline.items() if name not in left_out} == theirs.headline
    mine, other = ours.to_json(), theirs.to_json()
    assert {n: v for n, v in mine.items() if n not in ("search", "headline")} == {
        n: v for n, v in other.items() if n != "headline"
    }
    assert ours.per_query.to_pydict() == theirs.per_query.to_pydict()


@pytest.mark.parametrize("cross_lingual", [True, False])
@pytest.mark.parametrize("depth", [1, 12, 1000])
def test_flat_search_gives_the_full_ranking_to_its_depth_ties_included(
    tmp_path: Path, cross_lingual: bool, depth: int
) -> None:
    for seed in range(4):
        retrieval = toy_set(seed, cross_lingual=cross_lingual)
        tokens, loaded = toy_tokens(retrieval, seed), tied_model(seed)
        settings = EvaluationConfig(index=FLAT, depth=depth)
        found = evaluate_local(loaded, retrieval, tokens, settings, store=store_in(tmp_path / str(seed)))
        expected = ranked_whole(retrieval, vectors_of(loaded, retrieval, tokens), depth)
        if depth < 10 and cross_lingual:  # the share among the ten nearest needs ten
            assert found.pair_values["R@1"].tolist() == expected.pair_values["R@1"].tolist()
            assert found.pool.values["MRR@10"].tolist() == expected.pool.values["MRR@10"].tolist()
        else:
            same(found, expected)
        assert (found.search.kind, found.search.depth, found.search.recall) == ("flat", depth, None)


def test_a_real_encoders_ranks_are_those_of_the_full_ranking(tmp_path: Path) -> None:
    retrieval = toy_set(5, queries=20, passages=60)
    tokens, loaded = toy_tokens(retrieval, 5), toy_model()
    settings = EvaluationConfig(index=FLAT)
    found = evaluate_local(loaded, retrieval, tokens, settings, store=store_in(tmp_path))
    expected = evaluate_local(loaded, retrieval, tokens, EvaluationConfig())
    assert expected.search is None
    for name, values in expected.pair_values.items():
        np.testing.assert_allclose(found.pair_values[name], values, atol=1e-6, err_msg=name)


def test_run_files_are_those_of_the_full_ranking(tmp_path: Path) -> None:
    retrieval = toy_set(1)
    tokens, loaded = toy_tokens(retrieval, 1), tied_model(1)
    for name, index in (("whole", None), ("shards", FLAT)):
        settings = EvaluationConfig(index=index, run_files=True, run_depth=9, depth=20)
        evaluate_local(loaded, retrieval, tokens, settings, run_folder=Storage(str(tmp_path / name)))
    files = sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert len(files) == 24
    for name in files:
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("index", [None, FLAT])
def test_a_set_that_is_judged_by_answers_has_runs_against_its_passages_and_no_judgements(
    tmp_path: Path, index: IndexConfig | None
) -> None:
    retrieval = answered_set()
    settings = EvaluationConfig(index=index, run_files=True, depth=20)
    evaluate_local(tied_model(1), retrieval, toy_tokens(retrieval, 1), settings, run_folder=Storage(str(tmp_path)))
    names = {path.name for path in tmp_path.iterdir()} - {"en-en.run.gz"}
    assert names == {"ar-en.run.gz", "te-en.run.gz", "predictions.json"}


def test_a_set_that_is_judged_by_answers_is_searched_too() -> None:
    retrieval = answered_set()
    for seed in range(4):
        tokens, loaded = toy_tokens(retrieval, seed), tied_model(seed)
        whole = evaluate_local(loaded, retrieval, tokens, EvaluationConfig())
        found = evaluate_local(loaded, retrieval, tokens, EvaluationConfig(index=FLAT, depth=1))
        same(found, whole)
        assert found.search.depth == 200  # what is read for answers, though only one was asked for


def test_a_set_within_half_of_the_budget_is_ranked_whole_and_a_larger_one_is_not() -> None:
    retrieval = toy_set(0)
    texts = sum(len(retrieval.queries[code]) + len(retrieval.passages[code]) for code in retrieval.languages)
    edge = texts * 32 * 4 * 2
    for budget, by_shards in ((edge, False), (edge - 1024, True)):
        settings = EvaluationConfig(memory_budget=f"{budget / 1024}KiB")
        assert pairs.is_searched_by_shards(retrieval, settings, 32) is by_shards


def test_a_budget_below_one_shard_is_refused_with_what_is_needed() -> None:
    retrieval = toy_set(0, passages=40)
    settings = EvaluationConfig(memory_budget="30KiB")
    with pytest.raises(ResourceError) as caught:
        evaluate_local(toy_model(), retrieval, toy_tokens(retrieval, 0), settings)
    assert "`evaluation.memory_budget` is 30 KiB, must be at least" in str(caught.value)
    assert "for one shard of embeddings" in str(caught.value)


def test_few_queries_at_a_time_give_the_same(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("xling.evaluate.search.memory_plan._LEAST_QUERIES", 1)
    retrieval = toy_set(2, queries=9)
    tokens, loaded = toy_tokens(retrieval, 2), tied_model(2)
    settings = EvaluationConfig(index=FLAT, depth=14)
    whole = evaluate_local(loaded, retrieval, tokens, settings, store=store_in(tmp_path))
    from xling.evaluate import sharded

    planned = []
    plan = sharded.plan_search

    def small(*arguments, **options):
        planned.append(replace(plan(*arguments, **options), queries=4))
        return planned[-1]

    monkeypatch.setattr(sharded, "plan_search", small)
    for cross_lingual in (True, False):
        retrieval = toy_set(2, queries=9, cross_lingual=cross_lingual)
        whole = ranked_whole(retrieval, vectors_of(loaded, retrieval, tokens), 14)
        same(evaluate_local(loaded, retrieval, tokens, settings, store=store_in(tmp_path)), whole)
    assert len(planned) == 2


def test_the_second_evaluation_encodes_nothing_and_a_shared_corpus_is_found(tmp_path: Path) -> None:
    retrieval = toy_set(0)
    tokens, loaded, settings = toy_tokens(retrieval, 0), tied_model(), EvaluationConfig(index=FLAT)
    seen: list[Progress] = []
    first = evaluate_local(loaded, retrieval, tokens, settings, store=store_in(tmp_path), progress=seen.append)
    texts = 18 + 45
    assert loaded.encoder.encoded == texts
    assert [progress.stage for progress in seen][-1] == "score"
    assert (seen[-1].done, seen[-1].left) == (seen[-1].total, 0.0)
    assert any(progress.stage == "encode" and progress.left for progress in seen)

    again = evaluate_local(loaded, retrieval, tokens, replace_depth(settings, 5), store=store_in(tmp_path))
    assert loaded.encoder.encoded == texts
    assert again.search.depth == 5
    # Another split: other queries on the same passages, so only the queries are new.
    other = replace(tokens, queries=toy_tokens(retrieval, 9).queries)
    evaluate_local(loaded, retrieval, other, settings, store=store_in(tmp_path))
    assert loaded.encoder.encoded == texts + 18
    # Another model, or other batches, share nothing.
    other_store = ShardStore.of(Storage(str(tmp_path)), "other weights", {"batch_size": 64})
    evaluate_local(loaded, retrieval, tokens, settings, store=other_store)
    assert loaded.encoder.encoded == 2 * texts + 18
    assert first.headline["search_depth"] == 1000


def replace_depth(settings: EvaluationConfig, depth: int) -> EvaluationConfig:
    return settings.model_copy(update={"depth": depth})


@pytest.mark.parametrize("harm", ["cut", "flipped", "missing", "no manifest", "manifest of nothing"])
def test_a_damaged_shard_is_encoded_again_and_no_other(tmp_path: Path, harm: str) -> None:
    retrieval = toy_set(0)
    tokens, loaded, settings = toy_tokens(retrieval, 0), tied_model(), EvaluationConfig(index=FLAT)
    store = store_in(tmp_path)
    first = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    shards = sorted(Path(store.url).glob("*.npy"))
    victim, others = shards[2], {file: file.stat().st_mtime_ns for file in shards if file != shards[2]}
    content = victim.read_bytes()
    about = victim.with_suffix(".json")
    if harm == "cut":
        victim.write_bytes(content[:-5])
    elif harm == "flipped":
        victim.write_bytes(content[:-3] + bytes([content[-3] ^ 64]) + content[-2:])
    elif harm == "missing":
        victim.unlink()
    elif harm == "no manifest":
        about.unlink()
    else:
        about.write_text("{}")
    before = loaded.encoder.encoded
    again = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    assert 1 <= loaded.encoder.encoded - before <= SHARD
    assert victim.read_bytes() == content
    assert {file: file.stat().st_mtime_ns for file in others} == others
    assert again.to_json() == first.to_json()
    assert again.per_query.equals(first.per_query)


def test_half_precision_halves_the_files_and_hardly_moves_the_scores(tmp_path: Path) -> None:
    retrieval = toy_set(4, queries=20, passages=60)
    tokens, loaded = toy_tokens(retrieval, 4), toy_model()
    sizes, results = [], []
    for dtype in ("float32", "float16"):
        store = ShardStore.of(Storage(str(tmp_path)), "weights", {}, dtype)
        settings = EvaluationConfig(index=FLAT, embedding_dtype=dtype)
        results.append(evaluate_local(loaded, retrieval, tokens, settings, store=store))
        sizes.append(sum(file.stat().st_size - 128 for file in Path(store.url).glob("*.npy")))
    assert sizes[1] * 2 == sizes[0]
    assert abs(results[0].headline["mAP/Mo"] - results[1].headline["mAP/Mo"]) < 0.02


def test_a_model_that_has_diverged_is_refused_naming_the_text(tmp_path: Path) -> None:
    retrieval = toy_set(0)
    loaded, tokens = tied_model(), toy_tokens(retrieval, 0)
    with torch.no_grad():
        loaded.encoder.table[tokens.passages["en"][12][0]] = float("nan")
    settings = EvaluationConfig(index=FLAT)
    tokens = replace(tokens, queries={code: [np.array([2, 3], np.int32)] * 6 for code in tokens.queries})
    broken = [
        passage.id
        for code in retrieval.languages
        for passage, text in zip(retrieval.passages[code], tokens.passages[code], strict=True)
        if text[0] == tokens.passages["en"][12][0]
    ]
    with pytest.raises(NonFiniteError, match=rf"embedding of passage '{broken[0]}' holds NaN"):
        evaluate_local(loaded, retrieval, tokens, settings, store=store_in(tmp_path))


@pytest.mark.parametrize(
    ("index", "built"),
    [
        ({"kind": "ivf", "nlist": 4, "nprobe": 1, "segment": 90}, ["nlist", "nprobe", "segment"]),
        ({"kind": "ivf"}, ["nlist", "nprobe", "segment"]),
        ({"kind": "hnsw", "M": 4, "efSearch": 10}, ["M", "efConstruction", "efSearch", "segment"]),
    ],
)
def test_an_index_is_built_once_and_its_recall_stands_in_the_result(
    tmp_path: Path, monkeypatch, index: dict, built: list[str]
) -> None:
    monkeypatch.setattr("xling.evaluate.search.faiss_index.SHARD_TEXTS", SHARD)
    retrieval = toy_set(6, queries=30, passages=400)
    tokens, loaded = toy_tokens(retrieval, 6), toy_model()
    settings = EvaluationConfig(index=IndexConfig(**index), depth=150)
    store = store_in(tmp_path)
    result = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    assert (result.search.kind, list(result.search.parameters)) == (index["kind"], built)
    assert sorted(result.search.recall) == [1, 10, 100, 150]
    assert result.search.recall_queries == 3 * 90  # each language's passages, all queries being fewer than 200
    assert 0.05 < result.search.recall[10] <= 1.0
    assert result.headline["index_recall"] == result.search.recall[150]
    kept = {file: file.stat().st_mtime_ns for file in Path(store.url).glob("index-*")}
    segments = 3 * (5 if "segment" in index and index["kind"] == "ivf" else 1)
    assert len(kept) == 2 * segments
    again = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    assert {file: file.stat().st_mtime_ns for file in Path(store.url).glob("index-*")} == kept
    assert again.to_json() == result.to_json()
    result.save(Storage(str(tmp_path / "result")))
    assert EvaluationResult.load(Storage(str(tmp_path / "result"))).search == result.search

    # An index that looks at everything finds what exact search finds.
    if "nlist" in index:
        every = EvaluationConfig(index=IndexConfig(kind="ivf", nlist=4, nprobe=4, segment=90), depth=150)
        found = evaluate_local(loaded, retrieval, tokens, every, store=store)
        assert {file: file.stat().st_mtime_ns for file in Path(store.url).glob("index-*")} == kept
        assert found.search.recall[150] > 0.999 > result.search.recall[150]


def test_a_damaged_index_is_built_again(tmp_path: Path) -> None:
    retrieval = toy_set(6, passages=100)
    tokens, loaded = toy_tokens(retrieval, 6), toy_model()
    settings = EvaluationConfig(index=IndexConfig(kind="ivf", nlist=2), depth=20)
    store = store_in(tmp_path)
    first = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    victim = sorted(Path(store.url).glob("index-*.faiss"))[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    again = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    assert victim.read_bytes() == content
    assert again.to_json() == first.to_json()


def test_the_sample_for_recall_is_a_function_of_its_arguments() -> None:
    sample = sample_queries(5000, 3)
    assert (len(sample), len(set(sample.tolist()))) == (200, 200)
    assert sample.tolist() == sample_queries(5000, 3).tolist() != sample_queries(5000, 4).tolist()
    assert sample_queries(7, 0).tolist() == list(range(7))


def _encode_slowly(folder: str) -> None:
    blocks.SHARD_TEXTS = SHARD
    retrieval, settings = toy_set(0), EvaluationConfig(index=FLAT)
    tokens, store = toy_tokens(retrieval, 0), store_in(Path(folder))
    evaluate_local(tied_model(0, 0.03), retrieval, tokens, settings, store=store)


def test_killed_while_encoding_it_goes_on_from_the_shards_that_are_there(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    process = forked(_encode_slowly, str(tmp_path))
    deadline = time.monotonic() + 120
    while len(list(Path(store.url).glob("*.json"))) < 3:
        assert process.is_alive(), "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.join()
    there = {file: file.stat().st_mtime_ns for file in Path(store.url).glob("*.json")}
    assert 3 <= len(there) < 12
    retrieval, loaded = toy_set(0), tied_model(0)
    tokens, settings = toy_tokens(retrieval, 0), EvaluationConfig(index=FLAT)
    result = evaluate_local(loaded, retrieval, tokens, settings, store=store)
    assert {file: file.stat().st_mtime_ns for file in there} == there
    assert 0 < loaded.encoder.encoded < 18 + 45
    same(result, ranked_whole(retrieval, vectors_of(tied_model(0), retrieval, tokens), 1000))
