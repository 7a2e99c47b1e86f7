"""Ranks, all measures and language bias at XQuAD-R's full shape, beside the bare matrix product of that shape.

13,090 queries x 13,014 candidates x 384 dimensions from seeded random embeddings, 11 languages with
XQuAD-R's candidate counts, one relevant passage a query and language. The bar is for the product as one would
write it, ``queries @ passages.T``, by NumPy or by torch, whichever is faster. Beside it stands the product in blocks
that overwrite one another: the least that has to be computed, without the memory a matrix of that shape takes. All
run on the same number of threads, one after another, several times over; medians are compared. Needs Linux (it
reads /proc for memory).

    python benchmarks/ranks.py [--threads N] [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytrec_eval
import torch
from threadpoolctl import threadpool_limits

from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.evaluate.layout import Layout, build_layout
from xling.evaluate.ranks import block_edges
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import score_languages

CANDIDATES = {
    "ar": 1222, "de": 1276, "el": 1234, "en": 1180, "es": 1215, "hi": 1244,
    "ru": 1219, "th": 852, "tr": 1167, "vi": 1209, "zh": 1196,
}  # fmt: skip
QUESTIONS, DIMENSION, SEED = 1190, 384, 0
MOST_TIMES, MOST_BYTES = 2.0, 2**30
SAMPLE = 5  # queries a language whose full rankings are given to pytrec_eval and ranx
IN_TREC_EVAL = {
    "mAP": "map", "nDCG@10": "ndcg_cut_10", "R@1": "recall_1", "R@10": "recall_10", "R@100": "recall_100",
}  # fmt: skip
IN_RANX = {
    "mAP": "map", "MRR@10": "mrr@10", "nDCG@10": "ndcg@10",
    "R@1": "recall@1", "R@10": "recall@10", "R@100": "recall@100",
}  # fmt: skip

Vectors = np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    retrieval = questions()
    layout = build_layout(retrieval)
    vectors = embeddings(layout)
    peak = peak_bytes(lambda: evaluate(retrieval, layout, vectors, options.threads))
    times = measure(retrieval, layout, vectors, options)
    compared = equal_to_others(retrieval, layout, tied(layout, vectors), options.threads)
    ours = times.pop("ranks, measures, bias")
    bare = min(of for name, of in times.items() if "whole" in name)
    least = min(times.values())
    print(f"{compared} values of full rankings with ties equal to pytrec_eval's and ranx's")
    print(f"ranks, measures, bias: {ours / bare:.2f} times the product  ratio={MOST_TIMES * bare / ours:.3f} bar=1")
    print(f"the same beside the product whose blocks overwrite one another: {ours / least:.2f}")
    print(f"memory above the embeddings: {peak / 2**20:.0f} MiB  ratio={MOST_BYTES / peak:.2f} bar=1")
    return 0 if ours <= MOST_TIMES * bare and peak <= MOST_BYTES else 1


def questions() -> RetrievalSet:
    """XQuAD-R's numbers of everything, its relevance (one sentence a language), no texts."""
    rng = np.random.default_rng(SEED)
    languages = tuple(CANDIDATES)
    queries = {code: [Query(f"{code}/{q}", code, "") for q in range(QUESTIONS)] for code in languages}
    passages = {
        code: sorted_passages([Passage(f"{code}/{p}", code, "") for p in range(count)])
        for code, count in CANDIDATES.items()
    }
    relevant = [{f"{code}/{rng.integers(count)}": 1 for code, count in CANDIDATES.items()} for _ in range(QUESTIONS)]
    qrels = {f"{code}/{q}": relevant[q] for code in languages for q in range(QUESTIONS)}
    return RetrievalSet("random", languages, queries, passages, qrels, "random")


def embeddings(layout: Layout) -> Vectors:
    texts = layout.query_count + len(layout.passage_ids)
    vectors = np.random.default_rng(SEED).standard_normal((texts, DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def tied(layout: Layout, vectors: Vectors) -> Vectors:
    """Every third candidate takes the vector of the one before it, within languages and across."""
    vectors = vectors.copy()
    candidates = vectors[layout.query_count :]
    candidates[2::3] = candidates[1:-1:3]
    candidates[-300:] = candidates[:300]
    return vectors


def evaluate(retrieval: RetrievalSet, layout: Layout, vectors: Vectors, threads: int) -> EvaluationResult:
    languages = range(len(layout.languages))
    return build_result(retrieval, layout, list(score_languages(layout, languages, vectors, None, threads)))


def measure(retrieval: RetrievalSet, layout: Layout, vectors: Vectors, options: argparse.Namespace) -> dict[str, float]:
    """Median seconds by name; all in turn, so that what else the machine does meets all alike."""
    queries, passages = vectors[: layout.query_count], vectors[layout.query_count :]
    ways: dict[str, Callable[[], object]] = {
        "product, NumPy, whole": lambda: queries @ passages.T,
        "product, NumPy, blocks": lambda: numpy_blocks(queries, passages),
        "product, torch, whole": lambda: torch.from_numpy(queries) @ torch.from_numpy(passages).T,
        "product, torch, blocks": lambda: torch_blocks(torch.from_numpy(queries), torch.from_numpy(passages)),
        "ranks, measures, bias": lambda: evaluate(retrieval, layout, vectors, options.threads),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            with threadpool_limits(options.threads, "blas"):
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
    print(f"{options.threads} threads, medians of {options.repeats}:")
    for name, of in seconds.items():
        print(f"  {name}: {statistics.median(of):.3f} s ({min(of):.3f} to {max(of):.3f})")
    return {name: statistics.median(of) for name, of in seconds.items()}


def numpy_blocks(queries: Vectors, passages: Vectors, rows: int = 1024) -> None:
    scores = np.empty((rows, len(passages)), np.float32)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        np.matmul(block, passages.T, out=scores[: len(block)])


def torch_blocks(queries: torch.Tensor, passages: torch.Tensor, rows: int = 1024) -> None:
    scores = torch.empty((rows, len(passages)))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        torch.mm(block, passages.T, out=scores[: len(block)])


def peak_bytes(work: Callable[[], object]) -> int:
    """By how much the process's resident memory rises above where it stands."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def equal_to_others(retrieval: RetrievalSet, layout: Layout, vectors: Vectors, threads: int) -> int:
    """Hold every measure of some queries, in all pairs and the pool, against both; the number of values."""
    rows = {
        (row["query"], row["passage_language"]): row
        for row in evaluate(retrieval, layout, vectors, threads).per_query.to_pylist()
    }
    compared = 0
    for language, code in enumerate(layout.languages):
        sample = rankings(layout, language, vectors)
        for target in (*layout.languages, "*"):
            columns = layout.columns(layout.languages.index(target)) if target != "*" else slice(None)
            ours = {query: rows[query, target] for query in sample}
            compared += compare(retrieval, layout, columns, {q: scores[columns] for q, scores in sample.items()}, ours)
        for query, scores in sample.items():
            compare_bias(layout, language, retrieval.qrels[query], scores, rows[query, "*"])
            compared += 2
        print(f"  {code}: equal", flush=True)
    return compared


def rankings(layout: Layout, language: int, vectors: Vectors) -> dict[str, Vectors]:
    """Scores of some queries with all candidates, from the blocks that are scored."""
    queries, passages = vectors[layout.query_texts(language)], vectors[layout.query_count :]
    wanted = set(np.random.default_rng(language).choice(len(queries), SAMPLE, replace=False).tolist())
    with threadpool_limits(1, "blas"):
        return {
            layout.queries[language].ids[row]: scores
            for start, stop in pairwise(block_edges(len(queries), len(passages)))
            for row, scores in enumerate(queries[start:stop] @ passages.T, start)
            if row in wanted
        }


def trec_order(ids: list[str], scores: Vectors) -> list[int]:
    """Positions, best first: score descending, id descending."""
    return sorted(sorted(range(len(ids)), key=lambda at: ids[at].encode(), reverse=True), key=lambda at: -scores[at])


def compare(
    retrieval: RetrievalSet, layout: Layout, columns: slice, sample: dict[str, Vectors], ours: dict[str, dict]
) -> int:
    import ranx  # numba compiles it for a while: only where it is used

    ids = list(layout.passage_ids[columns])
    known = set(ids)
    qrels = {query: {p: grade for p, grade in retrieval.qrels[query].items() if p in known} for query in sample}
    run = {query: dict(zip(ids, scores.tolist(), strict=True)) for query, scores in sample.items()}
    assert all(len(set(of.values())) < len(of) for of in run.values()), "there are no ties to order"
    trec = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg_cut.10", "recall.1,10,100"}).evaluate(run)
    # ranx leaves ties in no stated order: it gets the place in trec_eval's.
    placed = {
        query: {ids[at]: float(-place) for place, at in enumerate(trec_order(ids, scores))}
        for query, scores in sample.items()
    }
    by_ranx = dict(ranked_by_ranx(ranx, qrels, placed))
    count = 0
    for query, row in ours.items():
        for name, theirs in IN_TREC_EVAL.items():
            assert abs(row[name] - trec[query][theirs]) < 1e-6, (query, columns, name, row[name], trec[query][theirs])
        first = trec[query]["recip_rank"]
        assert abs(row["MRR@10"] - (first if first > 0.0999 else 0.0)) < 1e-6, (query, columns, row["MRR@10"], first)
        for name in IN_RANX:
            assert abs(row[name] - by_ranx[query][name]) < 1e-6, (query, columns, name, row[name], by_ranx[query])
        count += 2 * len(IN_RANX)
    return count


def ranked_by_ranx(ranx: object, qrels: dict, run: dict) -> Iterator[tuple[str, dict[str, float]]]:
    of_run = ranx.Run(run)
    ranx.evaluate(ranx.Qrels(qrels), of_run, list(IN_RANX.values()), make_comparable=False)
    for query in run:
        yield query, {name: of_run.scores[theirs][query] for name, theirs in IN_RANX.items()}


def compare_bias(layout: Layout, language: int, relevant: dict, scores: Vectors, row: dict) -> None:
    """Rank distance and own share from the sorted list."""
    order = [layout.passage_ids[at] for at in trec_order(list(layout.passage_ids), scores)]
    ranks = [order.index(passage) for passage in relevant]
    assert row["rank_distance"] == max(ranks) - min(ranks), (row, ranks)
    own = sum(passage.startswith(f"{layout.languages[language]}/") for passage in order[:10]) / 10
    assert abs(row["own_language_share"] - own) < 1e-12, (row, own)


if __name__ == "__main__":
    sys.exit(main())
