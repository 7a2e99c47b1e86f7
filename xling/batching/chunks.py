"""Cutting a batch's texts into chunks of like length: what is encoded together, so that little is padded.

Shape suffixes: X texts, U distinct lengths, longest first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


def cut_by_length(lengths_X: Int64Array, *, overhead: int, most: int | None = None) -> list[Int64Array]:
    """Cut texts into chunks, longest first, at the least cost: padded tokens, and ``overhead`` a chunk.

    Texts of one length stay together, but for ``most``. The cut depends on nothing but the arguments.

    Args:
        lengths_X: tokens of each text.
        overhead: what a chunk costs beside its tokens, in tokens: a pass has parts that take as long
            for one text as for many.
        most: texts a chunk at most; a longer one is cut evenly.

    Returns:
        Positions of the texts, chunk by chunk; within a chunk by length, then by position.
    """
    order_X = np.argsort(-lengths_X, kind="stable")
    longest_U, counts_U = np.unique(-lengths_X, return_counts=True)
    longest_U, ends_U = -longest_U, np.concatenate(([0], np.cumsum(counts_U)))
    limit = len(lengths_X) if most is None else most
    cost = np.zeros(len(ends_U))
    begins = np.zeros(len(ends_U), np.int64)
    for end in range(1, len(ends_U)):
        texts_U = ends_U[end] - ends_U[:end]  # of a chunk that begins at each of the lengths before
        costs_U = cost[:end] + longest_U[:end] * texts_U + overhead * -(-texts_U // limit)
        begins[end] = int(np.argmin(costs_U))
        cost[end] = costs_U[begins[end]]
    chunks: list[Int64Array] = []
    end = len(ends_U) - 1
    while end > 0:
        begin = int(begins[end])
        texts_C = order_X[ends_U[begin] : ends_U[end]]
        chunks += reversed(np.array_split(texts_C, -(-len(texts_C) // limit)))
        end = begin
    return chunks[::-1]
