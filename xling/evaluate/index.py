"""Nearest candidates by FAISS, in the order of the exact ranks.

Shapes: B queries, N candidates, D embedding, K depth asked for, S depth searched.

FAISS finds who is near; the scores that decide the order are read from the same block the ranks
are read from. FAISS rounds differently in the last bits, so a query whose list could change
within that rounding, ties at the cut included, is settled from its whole row of scores.
"""

from __future__ import annotations

import faiss
import numpy as np

from xling.evaluate.layout import Indices
from xling.evaluate.ranks import Scores

_ROUNDING = 2.0**-24  # unit round-off of float32


class PassageIndex:
    """Exact inner-product search over one set of candidates."""

    def __init__(self, passages_ND: Scores, tie_order_N: Indices) -> None:
        """Args: tie_order_N: of two candidates with one score the one with the smaller value comes first."""
        count, dimension = passages_ND.shape
        self._index = faiss.IndexFlatIP(dimension)
        if count:
            self._index.add(np.ascontiguousarray(passages_ND))
        self._tie_order_N = tie_order_N
        self._largest_norm = float(np.linalg.norm(passages_ND, axis=1).max(initial=0.0))

    def top(self, queries_BD: Scores, scores_BN: Scores, depth: int) -> Indices:
        """The best candidates of each query, best first: trec_eval's order of ``scores_BN``.

        Args:
            scores_BN: scores of these queries with all candidates of the index.
            depth: K, how many; all candidates when there are fewer.

        Returns:
            Candidate columns, B x K.
        """
        count = self._index.ntotal
        depth = min(depth, count)
        if not len(queries_BD) or not depth:
            return np.empty((len(queries_BD), depth), np.int64)
        searched = min(count, depth + max(16, depth // 8))
        found_BS, columns_BS = self._index.search(np.ascontiguousarray(queries_BD), searched)
        top_BK = self._ordered(scores_BN, columns_BS)[:, :depth]
        if searched < count:
            last_B = np.take_along_axis(scores_BN, top_BK[:, -1:], axis=1)[:, 0]
            unsettled_B = ~(last_B > found_BS[:, -1] + self._slack(queries_BD))
            for row in np.flatnonzero(unsettled_B):
                top_BK[row] = self._from_scores(scores_BN[row], depth)
        return top_BK

    def _slack(self, queries_BD: Scores) -> float:
        """Bound on the difference between two float32 inner products summed in different orders."""
        norm = float(np.linalg.norm(queries_BD, axis=1).max())
        return 2.0 * int(queries_BD.shape[1]) * _ROUNDING * norm * self._largest_norm

    def _ordered(self, scores_BN: Scores, columns_BS: Indices) -> Indices:
        scores_BS = np.take_along_axis(scores_BN, columns_BS, axis=1)
        order_BS = np.lexsort((self._tie_order_N[columns_BS], -scores_BS), axis=-1)
        ordered: Indices = np.take_along_axis(columns_BS, order_BS, axis=1)
        return ordered

    def _from_scores(self, scores_N: Scores, depth: int) -> Indices:
        threshold = np.partition(scores_N, len(scores_N) - depth)[len(scores_N) - depth]
        columns = np.flatnonzero(scores_N >= threshold)
        return self._ordered(scores_N[None], columns[None])[0, :depth]
