"""Mining for a block of questions: a task, in whatever process has room.

A search gives scores whose last bits hang on how its products were cut. So its lists are scored anew, each
product alone and in one order, and sorted by that; and of a list only the part counts that no
passage outside it can reach, whatever those bits. Questions whose window is not within that part
are searched again, deeper. What comes out depends on nothing but the vectors (with an index, also on
what it finds).

Shapes: Q questions of the block, B of them looked at at once, N passages, D embedding, K depth, E entries
of lists, M mined negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import faiss
import numpy as np

from xling.batching.counter_hash import counter_hash
from xling.config.evaluation import IndexConfig
from xling.evaluate.encode import Embeddings
from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores
from xling.evaluate.search.memory_plan import MemoryPlan
from xling.evaluate.search.place import Here
from xling.evaluate.search.searcher import Corpus, Searcher
from xling.evaluate.search.shards import ShardStore
from xling.evaluate.search.topk import places_of
from xling.mine.choose import Counts, Flags, Lists, Rule, choose, ranks

DRAW_STREAM = 101  # of the counter hash; the plan's streams are small
_NOISE = 2.0**-22  # a dimension: four times what rounding may do to a product of unit vectors


class Questions(NamedTuple):
    """The questions of a block, and what their items are."""

    vectors_QD: Embeddings
    items_Q: Indices
    places_Q: Indices  # of their items' passages, among those searched
    groups_Q: Indices
    articles_Q: Indices  # -1 for none


@dataclass(frozen=True, slots=True)
class Where:
    """What is searched, and how deep: from ``depth`` on, to ``deepest`` where a window asks for it."""

    store: ShardStore
    corpus: Corpus
    index: IndexConfig | None
    depth: int
    deepest: int
    block_bytes: int
    queries: int  # looked at at once


class Mined(NamedTuple):
    """Negatives by question, ascending, nearest first."""

    rows_M: Indices  # questions of the block
    places_M: Indices
    scores_M: Scores
    positive_Q: Scores  # of each question with its own passage
    counts: Counts


def mine_block(
    threads: int, where: Where, rule: Rule, word: int, questions: Questions, groups_N: Indices, articles_N: Indices
) -> Mined:
    """The task.

    Args:
        word: enters the random choice, so that pairs of languages draw differently.
        groups_N, articles_N: of the passages, as in :class:`xling.mine.candidates.OfLanguage`.
    """
    positive_Q = _products(where, questions.vectors_QD, questions.places_Q[:, None])[:, 0]
    found: list[tuple[Indices, Indices, Scores]] = []
    counts = Counts()
    waiting, depth = np.arange(len(positive_Q)), where.depth
    while len(waiting):
        again = []
        size = max(1, where.queries * where.depth // depth)
        for start in range(0, len(waiting), size):
            rows_B = waiting[start : start + size]
            places_BK, scores_BK, is_whole_B = _nearest(threads, where, questions.vectors_QD[rows_B], depth)
            lists = Lists(
                scores_BK,
                groups_N[places_BK] == questions.groups_Q[rows_B, None],
                (articles_N[places_BK] == questions.articles_Q[rows_B, None]) & (articles_N[places_BK] >= 0),
                counter_hash(rule.seed, DRAW_STREAM, word, questions.items_Q[rows_B, None], places_BK),
            )
            done_B = is_whole_B | (depth >= where.deepest) | (ranks(rule, lists)[:, -1] >= rule.last)
            again.append(rows_B[~done_B])
            chosen_BK, of_these = choose(rule, lists.of(done_B), positive_Q[rows_B[done_B]])
            counts += of_these
            rows, columns = np.nonzero(chosen_BK)
            found.append((rows_B[done_B][rows], places_BK[done_B][rows, columns], scores_BK[done_B][rows, columns]))
        waiting, depth = np.concatenate(again), min(4 * depth, where.deepest)
    rows_M, places_M, scores_M = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order_M = np.argsort(rows_M, kind="stable")
    return Mined(rows_M[order_M], places_M[order_M], scores_M[order_M], positive_Q, counts)


def _nearest(threads: int, where: Where, queries_BD: Embeddings, depth: int) -> tuple[Indices, Scores, Flags]:
    """The best passages' places and scores, BK, and whether they are all that can be found, B.

    A score is -inf where a passage outside the list may be as good.
    """
    find = _find_exactly if where.index is None or where.index.kind == "flat" else _find_by_index
    found_BK = find(threads, where, queries_BD, depth)
    missing_BK = found_BK < 0
    places_BK = np.where(missing_BK, 0, found_BK)
    scores_BK = np.where(missing_BK, np.float32(-np.inf), _products(where, queries_BD, places_BK))
    order_BK = np.lexsort((places_BK, -scores_BK), axis=1)
    places_BK, scores_BK = (np.take_along_axis(of, order_BK, axis=1) for of in (places_BK, scores_BK))
    is_whole_B: Flags = missing_BK.any(axis=1) | (places_BK.shape[1] == where.corpus.passages)
    floor_B = np.where(is_whole_B, -np.inf, scores_BK[:, -1] + queries_BD.shape[1] * _NOISE)
    return places_BK, np.where(scores_BK > floor_B[:, None], scores_BK, np.float32(-np.inf)), is_whole_B


def _find_exactly(threads: int, where: Where, queries_BD: Embeddings, depth: int) -> Indices:
    """Places of the best passages, BK, in no order; a shard is in memory at a time.

    Neither the order nor ties at the end matter here, which is what FAISS is three times faster for than
    ``evaluate.search.topk``.
    """
    faiss.omp_set_num_threads(threads)
    depth = min(depth, where.corpus.passages)
    best_BK: Indices = np.zeros((len(queries_BD), 0), np.int64)
    scores_BK: Scores = np.zeros((len(queries_BD), 0), np.float32)
    for (shard,), first in where.corpus.parts([1] * len(where.corpus.shards)):
        vectors_ND = np.ascontiguousarray(where.store.vectors(shard))
        new_BK, rows_BK = faiss.knn(queries_BD, vectors_ND, min(depth, shard.texts), metric=faiss.METRIC_INNER_PRODUCT)
        best_BK = np.concatenate([best_BK, rows_BK + first], axis=1)
        scores_BK = np.concatenate([scores_BK, new_BK], axis=1)
        if best_BK.shape[1] > depth:
            kept_BK = np.argpartition(-scores_BK, depth - 1, axis=1)[:, :depth]
            best_BK = np.take_along_axis(best_BK, kept_BK, axis=1)
            scores_BK = np.take_along_axis(scores_BK, kept_BK, axis=1)
    return best_BK


def _find_by_index(threads: int, where: Where, queries_BD: Embeddings, depth: int) -> Indices:
    """The same by the index; -1 where it found no more."""
    plan = MemoryPlan(1, where.block_bytes, len(queries_BD))
    return places_of(Searcher(Here(threads), where.store, plan, depth, where.index).find(where.corpus, queries_BD))


def _products(where: Where, queries_BD: Embeddings, places_BK: Indices) -> Scores:
    """Inner products BK of queries with passages at some places, each summed alone and in one order."""
    products_BK = np.empty(places_BK.shape, np.float32)
    buffer_KD = np.empty((places_BK.shape[1], queries_BD.shape[1]), np.float32)
    for (shard,), first in where.corpus.parts([1] * len(where.corpus.shards)):
        row_E, column_E = np.nonzero((places_BK >= first) & (places_BK < first + shard.texts))
        if not len(row_E):
            continue
        vectors_ND = where.store.vectors(shard)
        edges = np.flatnonzero(np.diff(row_E, prepend=-1, append=len(places_BK)))
        for start, stop in pairwise(edges.tolist()):
            row, columns = row_E[start], column_E[start:stop]
            passages_ED = buffer_KD[: stop - start]
            np.take(vectors_ND, places_BK[row, columns] - first, axis=0, out=passages_ED, mode="clip")
            np.multiply(passages_ED, queries_BD[row], out=passages_ED)
            products_BK[row, columns] = np.add.reduce(passages_ED, axis=1)
    return products_BK
