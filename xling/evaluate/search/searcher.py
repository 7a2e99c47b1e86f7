"""The best passages of each query among shards on storage, exactly or by an index.

A task searches consecutive shards for all queries of the time, so that a list and not every
shard's share travels; the driver merges lists by the same comparison that made them.

Shapes: Q queries, N passages, D embedding, K depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from xling.config.evaluation import EvaluationConfig, IndexConfig
from xling.evaluate.encode import Embeddings
from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores
from xling.evaluate.search.faiss_index import index_bytes, search_index, segment_shards
from xling.evaluate.search.memory_plan import MemoryPlan, plan_memory
from xling.evaluate.search.place import Call, Place, set_threads
from xling.evaluate.search.shards import SHARD_TEXTS, Shard, ShardStore
from xling.evaluate.search.topk import BestPassages, Keys, in_order, largest, places_of, scores_of

RECALL_SAMPLE = 200  # queries a language that an index is compared with exact search for
RECALL_SEED = 0
RECALL_DEPTHS = (1, 10, 100)  # and the depth searched
# Parts a task slot: they even out, give progress, and are what a dead process costs.
_PARTS_A_SLOT = 3


@dataclass(frozen=True, slots=True)
class Corpus:
    """The passages of a language, as shards in the order of their places."""

    shards: tuple[Shard, ...]

    @property
    def passages(self) -> int:
        return sum(shard.texts for shard in self.shards)

    def parts(self, sizes: Sequence[int]) -> list[tuple[tuple[Shard, ...], int]]:
        """Cut into runs of so many shards; each with the place of its first passage."""
        starts = list(accumulate((shard.texts for shard in self.shards), initial=0))
        edges = list(accumulate(sizes, initial=0))
        return [(self.shards[a:b], starts[a]) for a, b in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Searcher:
    """How passages are searched: where, with what memory, by what index (None or flat: exactly)."""

    place: Place
    store: ShardStore
    plan: MemoryPlan
    depth: int
    index: IndexConfig | None

    @property
    def is_exact(self) -> bool:
        return self.index is None or self.index.kind == "flat"

    def find(self, corpus: Corpus, queries_QD: Embeddings, tell: Callable[[float], None] | None = None) -> Keys:
        """QK, best first; key 0 where a query has no further passage.

        Args:
            tell: told which share of the passages were looked at, after each part.
        """
        if self.index is None or self.index.kind == "flat":
            return self.find_exactly(corpus, queries_QD, tell)
        a_segment = segment_shards(self.index)
        sizes = _sizes(len(corpus.shards), -(-len(corpus.shards) // a_segment))
        return self._merge(corpus, search_index, sizes, queries_QD, self.index, tell)

    def find_exactly(self, corpus: Corpus, queries_QD: Embeddings, tell: Callable[[float], None] | None = None) -> Keys:
        """The same, by looking at every passage."""
        parts = min(len(corpus.shards), self.plan.tasks * _PARTS_A_SLOT)
        sizes = _sizes(len(corpus.shards), parts)
        return self._merge(corpus, search_shards, sizes, queries_QD, self.plan.block_bytes, tell)

    def _merge(
        self,
        corpus: Corpus,
        function: Callable[..., Keys],
        sizes: Sequence[int],
        queries_QD: Embeddings,
        how: Any,
        tell: Callable[[float], None] | None,
    ) -> Keys:
        depth = min(self.depth, corpus.passages)
        best_QK: Keys = np.zeros((len(queries_QD), 0), np.uint64)
        if not depth or not len(queries_QD):
            return np.zeros((len(queries_QD), depth), np.uint64)
        shared = self.place.share(queries_QD)
        parts = corpus.parts(sizes)

        def calls() -> Iterator[Call]:
            for shards, first in parts:
                # A part that begins when others are done need not look below what they found.
                full = best_QK.shape[1] == depth
                floor_Q = scores_of(best_QK.min(axis=1)) if full and function is search_shards else None
                yield self.place.threads, self.store, how, shards, first, shared, depth, floor_Q

        looked = 0
        for number, keys_QK in self.place.run(function, calls(), self.plan.tasks):
            best_QK = largest(np.concatenate([best_QK, keys_QK], axis=1), depth)
            looked += sum(shard.texts for shard in parts[number][0])
            if tell is not None:
                tell(looked / corpus.passages)
        return in_order(best_QK)


def plan_search(
    settings: EvaluationConfig, tasks: int, corpora: Sequence[Corpus], queries: int, dimension: int, *, pooled: bool
) -> MemoryPlan:
    """What to hold at once. Raises ResourceError: the budget is too small for one shard, or for one index."""
    passages = max(corpus.passages for corpus in corpora)
    unit_bytes, unit = _unit(settings, passages, dimension)
    return plan_memory(
        settings.memory_bytes,
        unit_bytes=unit_bytes,
        queries=queries,
        dimension=dimension,
        depth=min(settings.depth, passages),
        lists=len(corpora) if pooled else 1,
        tasks=tasks,
        unit=unit,
    )


def search_shards(
    threads: int,
    store: ShardStore,
    block_bytes: int,
    shards: Sequence[Shard],
    first: int,
    queries_QD: Embeddings,
    depth: int,
    floor_Q: Scores | None = None,
) -> Keys:
    """A task: the best passages among consecutive shards, exactly; a shard is in memory at a time.

    Args:
        floor_Q: passages with a score below a query's may be left out.
    """
    set_threads(threads)
    best = BestPassages(queries_QD, depth, block_bytes, floor_Q)
    for shard in shards:
        best.add(store.vectors(shard), first)
        first += shard.texts
    return best.keys()


def sample_queries(queries: int, language: int) -> Indices:
    """The queries that an index is compared with exact search for: a function of the arguments alone."""
    count = min(queries, RECALL_SAMPLE)
    chosen = np.random.default_rng([RECALL_SEED, language]).choice(queries, count, replace=False)
    return np.sort(chosen)


def recall(found_QK: Keys, exact_QK: Keys) -> dict[int, list[float]]:
    """Share of the exact best k that an index found among its own best k: for each query, by k."""
    depth = exact_QK.shape[1]
    values: dict[int, list[float]] = {}
    for k in sorted({*(k for k in RECALL_DEPTHS if k < depth), depth}):
        ours, theirs = places_of(found_QK[:, :k]).tolist(), places_of(exact_QK[:, :k]).tolist()
        values[k] = [len(set(a) & set(b)) / k for a, b in zip(ours, theirs, strict=True)]
    return values


def _unit(settings: EvaluationConfig, passages: int, dimension: int) -> tuple[int, str]:
    """Memory that what a task searches takes, and what that is."""
    index = settings.index
    shard = min(passages, SHARD_TEXTS) * dimension * (4 if settings.embedding_dtype == "float32" else 6)
    if index is None or index.kind == "flat":
        return shard, "one shard of embeddings"
    segment = min(passages, segment_shards(index) * SHARD_TEXTS)
    return max(shard, index_bytes(index, segment, dimension)), f"an index of {segment:,} passages while it is built"


def _sizes(shards: int, parts: int) -> list[int]:
    """So many parts of about equal length."""
    return [shards * (part + 1) // parts - shards * part // parts for part in range(parts)]
