"""Search among a million passages by shards on Ray: speed beside FAISS, memory, and what an index costs and gives.

Vectors are clustered: 4,096 centres, unit Gaussian directions; a passage is the centre of a random cluster (sizes
fall as 1 / rank^0.5) plus Gaussian noise of expected length 0.9, normalised; a query is made alike with noise of
length 1.1. Everything is drawn from seeds by shard, so any machine makes the same.

1. Exact: the sharded path (queries sent, 2 tasks of 1 thread, lists returned and merged) beside one `faiss.knn`
   call over all vectors in memory, in a process of its own with as many threads; in turns, medians.
2. Memory: what all processes of the sharded path grow by while they search, beside the budget they were given,
   which is smaller than the vectors.
3. IVF on all vectors, HNSW on 196,608: time (opening the index included) and recall against exact search, for rising
   nprobe and efSearch; the figure is exact search's time over that of the fastest setting with recall@10 of 0.95.

    python benchmarks/million.py
    python benchmarks/million.py --passages 200000 --queries 500     the same in short
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ClassVar

import numpy as np
import ray
from chaos_processes import below

from xling.config.evaluation import EvaluationConfig, IndexConfig
from xling.evaluate.search.place import Cluster
from xling.evaluate.search.searcher import Corpus, Searcher, plan_search, recall
from xling.evaluate.search.shards import SHARD_TEXTS, Shard, ShardStore
from xling.evaluate.search.topk import Keys, places_of
from xling.storage import Storage

DIMENSION, CENTRES = 384, 4096
DEPTH, CURVE_DEPTH = 1000, 100
TASKS = 2
BUDGET, INDEX_BUDGET = "1GiB", "4GiB"
RECALL_AT, RECALL_WANTED = 10, 0.95
BARS = {"exact": 0.8, "memory": 1.0, "ivf": 2.0, "hnsw": 2.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--exact", action="store_true", help="only exact search, no indexes")
    given = parser.parse_args()
    # Inherited by Ray's workers as by the process that calls FAISS; each side is then given its threads.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="xling-million-") as scratch:
        store = ShardStore.of(Storage(scratch), "generated", {})
        corpus = Corpus(tuple(write_shards(store, given.passages)))
        queries_QD = draw(given.queries, seed=(1, 0), noise=1.1)
        ray.init(num_cpus=TASKS, include_dashboard=False, log_to_driver=False, object_store_memory=500_000_000)
        try:
            ratios |= exact(store, corpus, queries_QD, given.rounds)
            grid: dict[str, tuple[Corpus, list[dict[str, int]]]] = {
                "ivf": (corpus, [{"nprobe": n} for n in (1, 4, 16, 64, 256)]),
                "hnsw": (
                    Corpus(corpus.shards[: -(-200_000 // SHARD_TEXTS)]),
                    [{"efSearch": n} for n in (100, 200, 400)],
                ),
            }
            for kind, (passages, settings) in ({} if given.exact else grid).items():
                ratios[kind] = curve(store, passages, queries_QD, kind, settings, given.rounds)
        finally:
            ray.shutdown()
    for name, ratio in ratios.items():
        print(f"{name} ratio={ratio:.3f} bar={BARS[name]:g}")
    return 0 if all(ratio >= BARS[name] for name, ratio in ratios.items()) else 1


def draw(count: int, seed: tuple[int, int], noise: float) -> np.ndarray:
    """Unit vectors around the centres, [count, 384]."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    size = 1 / np.sqrt(np.arange(1, CENTRES + 1))
    chosen = rng.choice(CENTRES, count, p=size / size.sum())
    vectors = centres[chosen] + rng.standard_normal((count, DIMENSION), dtype=np.float32) * (noise / DIMENSION**0.5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def write_shards(store: ShardStore, passages: int) -> list[Shard]:
    return [
        store.write(f"{start:09}", draw(min(SHARD_TEXTS, passages - start), seed=(2, start), noise=0.9), {})
        for start in range(0, passages, SHARD_TEXTS)
    ]


def searcher(store: ShardStore, corpus: Corpus, queries: int, settings: EvaluationConfig) -> Searcher:
    plan = plan_search(settings, TASKS, [corpus], queries, DIMENSION, pooled=False)
    assert plan.queries == queries, "the budget has no room for all queries at once: give fewer"
    print(f"plan within {settings.memory_budget}: {plan.tasks} tasks, score blocks of {plan.block_bytes >> 20} MiB")
    return Searcher(Cluster(threads=1), store, plan, settings.depth, settings.index)


def exact(store: ShardStore, corpus: Corpus, queries_QD: np.ndarray, rounds: int) -> dict[str, float]:
    """FAISS's time over ours, and the budget over what our processes grew by."""
    settings = EvaluationConfig(depth=DEPTH, memory_budget=BUDGET)
    ours = searcher(store, corpus, len(queries_QD), settings)
    ours.find(Corpus(corpus.shards[:TASKS]), queries_QD[:10])  # workers start and import
    before = resident()
    times: dict[str, list[float]] = {"shards": [], "faiss": []}
    with Peak() as peak, Faiss(store, corpus, queries_QD) as theirs:
        for _ in range(rounds):
            times["faiss"].append(theirs.seconds())
            seconds, keys_QK = timed(lambda: ours.find(corpus, queries_QD))
            times["shards"].append(seconds)
        agree = overlap(places_of(keys_QK), theirs.places())
    medians = {name: statistics.median(values) for name, values in times.items()}
    grown = peak.bytes - before
    vectors = sum(shard.float_bytes for shard in corpus.shards)
    print(f"{corpus.passages:,} passages x {DIMENSION}, {len(queries_QD):,} queries, depth {DEPTH}: {medians} s")
    print(f"places in both lists: {agree:.6f}")
    print(
        f"memory: {before / 2**20:.0f} MiB idle, {peak.bytes / 2**20:.0f} MiB at most,"
        f" grown by {grown / 2**20:.0f} MiB of {settings.memory_bytes / 2**20:.0f}; vectors {vectors / 2**20:.0f} MiB"
    )
    return {"exact": medians["faiss"] / medians["shards"], "memory": settings.memory_bytes / max(grown, 1)}


def curve(
    store: ShardStore, corpus: Corpus, queries_QD: np.ndarray, kind: str, grid: list[dict[str, int]], rounds: int
) -> float:
    """Print the curve; exact search's time over that of the fastest setting with enough recall (0: there is none)."""
    plain = EvaluationConfig(depth=CURVE_DEPTH, memory_budget=INDEX_BUDGET)
    flat = searcher(store, corpus, len(queries_QD), plain)
    best = 0.0
    for number, parameters in enumerate(grid):
        index = IndexConfig.model_validate({"kind": kind, **parameters})
        ours = searcher(store, corpus, len(queries_QD), plain.model_copy(update={"index": index}))
        first, _ = timed(lambda ours=ours: ours.find(corpus, queries_QD))
        times: dict[str, list[float]] = {kind: [], "flat": []}
        for _ in range(rounds):
            seconds, found_QK = timed(lambda ours=ours: ours.find(corpus, queries_QD))
            times[kind].append(seconds)
            seconds, exact_QK = timed(lambda: flat.find(corpus, queries_QD))
            times["flat"].append(seconds)
        values = {k: float(np.mean(of_k)) for k, of_k in recall(found_QK, exact_QK).items()}
        speed = statistics.median(times["flat"]) / statistics.median(times[kind])
        built = f", built and searched in {first:.1f} s" if number == 0 else ""
        print(
            f"{kind} {corpus.passages:,} {parameters}: {statistics.median(times[kind]):.2f} s,"
            f" {speed:.1f} times exact search, recall "
            + ", ".join(f"@{k} {value:.4f}" for k, value in values.items())
            + built,
            flush=True,
        )
        if values[RECALL_AT] >= RECALL_WANTED:
            best = max(best, speed)
    return best


def timed(call: Callable[[], Keys]) -> tuple[float, Keys]:
    began = time.perf_counter()
    value = call()
    return time.perf_counter() - began, value


def overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]))


class Faiss:
    """One ``faiss.knn`` call over all vectors, in a process that holds them and waits."""

    def __init__(self, store: ShardStore, corpus: Corpus, queries_QD: np.ndarray) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, store, corpus, queries_QD), daemon=True)

    def __enter__(self) -> Faiss:
        self._process.start()
        assert self._pipe.recv() == "ready"
        Peak.left_out.add(self._process.pid or 0)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pipe.send("end")
        self._process.join(30)

    def seconds(self) -> float:
        self._pipe.send("search")
        return float(self._pipe.recv())

    def places(self) -> np.ndarray:
        self._pipe.send("places")
        return np.asarray(self._pipe.recv())


def serve(pipe: Connection, store: ShardStore, corpus: Corpus, queries_QD: np.ndarray) -> None:
    import faiss

    faiss.omp_set_num_threads(TASKS)
    vectors_ND = np.empty((corpus.passages, DIMENSION), np.float32)
    start = 0
    for shard in corpus.shards:
        vectors_ND[start : start + shard.texts] = store.vectors(shard)
        start += shard.texts
    faiss.knn(queries_QD[:100], vectors_ND[:10_000], 10, metric=faiss.METRIC_INNER_PRODUCT)
    pipe.send("ready")
    places_QK = np.empty((len(queries_QD), 0), np.int64)
    while (asked := pipe.recv()) != "end":
        if asked == "places":
            pipe.send(places_QK)
            continue
        began = time.perf_counter()
        _, places_QK = faiss.knn(queries_QD, vectors_ND, DEPTH, metric=faiss.METRIC_INNER_PRODUCT)
        pipe.send(time.perf_counter() - began)


class Peak:
    """The most memory that the processes below this one, and it itself, hold at once, looked at every 50 ms."""

    left_out: ClassVar[set[int]] = set()  # process ids

    def __enter__(self) -> Peak:
        self.bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            if self.left_out:  # from when FAISS's process is known, which is not counted
                self.bytes = max(self.bytes, resident())


def resident() -> int:
    """Resident memory of this process and all below it, pages that several share counted in each."""
    total = 0
    for pid in {os.getpid(), *below(os.getpid())} - Peak.left_out:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
