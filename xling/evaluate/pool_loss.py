"""The contrastive loss of a retrieval set over a fixed pool of candidates.

InfoNCE on a batch depends on the batch: with more negatives it is larger. Over candidates that are
always the same it is a measure that runs with different batch sizes can be compared by.

A query of language a has, for each of its relevant passages in language b, the loss

    -log( exp(s+) / (exp(s+) + sum over the negatives n of exp(s_n)) ),  s = cosine / temperature,

the negatives being the passages of b's pool that are not relevant to it. It is averaged over a query's
passages, then over the queries of a pair (a, b), then over the monolingual and over the cross-lingual
pairs, as mAP is.

Shapes: X texts, N candidates of all languages, P pool, Q queries of a language, B queries of a block,
R relevant entries, D embedding.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from xling.batching.counter_hash import counter_hash, hash_texts
from xling.evaluate.encode import Embeddings
from xling.evaluate.layout import Indices, JudgedQueries, Layout
from xling.evaluate.measures import Values
from xling.evaluate.ranks import block_edges

POOL_SEED = "xling dev pool 1"  # another seed is another pool: never change it, losses are compared across cells


class PoolLoss:
    """The loss of one set over its pool: up to ``size`` candidates in each language, drawn by a hash of their ids.

    Which they are depends on the ids alone: never on the training's seed, the model or the batch.
    """

    def __init__(self, layout: Layout, size: int) -> None:
        self._layout = layout
        languages = range(len(layout.languages))
        drawn = [_draw(layout, language, size) for language in languages]
        self._columns_P = np.concatenate(drawn)
        self._edges = np.concatenate([[0], np.cumsum([len(columns) for columns in drawn])])
        self._place_N = np.full(len(layout.passage_ids), -1, np.int64)  # of a candidate in the pool; -1 when not drawn
        self._place_N[self._columns_P] = np.arange(len(self._columns_P))

    @property
    def candidates(self) -> dict[str, int]:
        """How many there are in each language."""
        return dict(zip(self._layout.languages, np.diff(self._edges).tolist(), strict=True))

    def value(self, vectors_XD: Embeddings, temperature: float) -> float:
        """The mean of the monolingual and of the cross-lingual pairs' loss, or the one of them that exists.

        Args:
            vectors_XD: unit vectors in the layout's numbering.
        """
        monolingual: list[float] = []
        cross_lingual: list[float] = []
        for query in range(len(self._layout.languages)):
            for passage, loss in self._of_language(query, vectors_XD, temperature).items():
                (monolingual if passage == query else cross_lingual).append(loss)
        return fmean(fmean(losses) for losses in (monolingual, cross_lingual) if losses)

    def _of_language(self, language: int, vectors_XD: Embeddings, temperature: float) -> dict[int, float]:
        """The loss of each pair that a language's queries have relevant passages in, by the passages' language."""
        judged = self._layout.queries[language]
        queries_QD = vectors_XD[self._layout.query_texts(language)].astype(np.float64) / temperature
        passages_ND = vectors_XD[self._layout.query_count :]
        pool_PD = passages_ND[self._columns_P].astype(np.float64)
        positives_RD = passages_ND[judged.columns_R].astype(np.float64)
        positives_R = np.einsum("rd,rd->r", queries_QD[judged.rows_R], positives_RD)
        negatives_QL = np.full((len(queries_QD), len(self._layout.languages)), -np.inf)
        edges = block_edges(len(queries_QD), len(pool_PD))
        with threadpool_limits(1, "blas"):  # the last bits, which choose between checkpoints, depend on the threads
            for start, stop in pairwise(edges):
                scores_BP = queries_QD[start:stop] @ pool_PD.T
                scores_BP[self._relevant(judged, start, stop)] = -np.inf
                negatives_QL[start:stop] = self._log_sums(scores_BP)
        losses_R = np.logaddexp(0.0, negatives_QL[judged.rows_R, judged.targets_R] - positives_R)
        targets = np.unique(judged.targets_R).tolist()
        return {target: _mean_over_queries(judged, losses_R, judged.targets_R == target) for target in targets}

    def _relevant(self, judged: JudgedQueries, start: int, stop: int) -> tuple[Indices, Indices]:
        """Rows and places in the pool of the relevant passages of a block of queries."""
        places_R = self._place_N[judged.columns_R]
        chosen_R = (judged.rows_R >= start) & (judged.rows_R < stop) & (places_R >= 0)
        return judged.rows_R[chosen_R] - start, places_R[chosen_R]

    def _log_sums(self, scores_BP: Values) -> Values:
        """log sum exp of each language's pool; -inf where it is empty, or holds relevant passages alone."""
        sums = [np.full(len(scores_BP), -np.inf)] * (len(self._edges) - 1)
        for language, (start, stop) in enumerate(pairwise(self._edges.tolist())):
            if stop > start:
                largest_B = scores_BP[:, start:stop].max(axis=1)
                shift_B = np.where(np.isneginf(largest_B), 0.0, largest_B)
                sums_B = np.exp(scores_BP[:, start:stop] - shift_B[:, None]).sum(axis=1)
                with np.errstate(divide="ignore"):  # no negative at all: log 0 is -inf, a loss of 0
                    sums[language] = shift_B + np.log(sums_B)
        return np.stack(sums, axis=1)


def _draw(layout: Layout, language: int, size: int) -> Indices:
    """The columns of a language's pool, ascending."""
    columns = layout.columns(language)
    count = columns.stop - columns.start
    if count <= size:
        return np.arange(columns.start, columns.stop)
    seed = int(hash_texts([POOL_SEED])[0])
    hashes = counter_hash(seed, hash_texts(layout.passage_ids[columns]))
    return np.sort(columns.start + np.argsort(hashes, kind="stable")[:size])


def _mean_over_queries(judged: JudgedQueries, losses_R: Values, chosen_R: NDArray[np.bool_]) -> float:
    """The mean over a query's passages, then over queries."""
    rows_R = judged.rows_R[chosen_R]
    counts_Q, sums_Q = np.bincount(rows_R), np.bincount(rows_R, losses_R[chosen_R])
    has_some_Q = counts_Q > 0
    return float((sums_Q[has_some_Q] / counts_Q[has_some_Q]).mean())
