"""InfoNCE over in-batch and hard negatives, gathered from all ranks with their gradients.

Shape suffixes: B pairs of this rank, N = B x world size pairs of all ranks, H hard negatives of this rank,
M = N + H x world size candidates, D dimensions.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor

Directions = Literal["one-way", "two-way"]


class _GatherRows(torch.autograd.Function):
    """Rows of all ranks in rank order; a rank's gradient is the sum of what all ranks derive for its rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows_BD: Tensor) -> Tensor:
        return _gather(rows_BD)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad_ND: Tensor) -> Tensor:
        # all_reduce and a slice: unlike reduce_scatter, every backend has it.
        grad_ND = grad_ND.clone(memory_format=torch.contiguous_format)  # not ours to write into
        dist.all_reduce(grad_ND, op=dist.ReduceOp.SUM)
        return grad_ND.chunk(dist.get_world_size())[dist.get_rank()]


def _gather(rows: Tensor) -> Tensor:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def _direction_loss(
    anchors_BD: Tensor,
    candidates_MD: Tensor,
    positives_B: Tensor,
    left_out_BM: Tensor,
    temperature: float,
) -> Tensor:
    scores_BM = anchors_BD @ candidates_MD.T / temperature
    return torch.nn.functional.cross_entropy(scores_BM.masked_fill(left_out_BM, float("-inf")), positives_B)


def info_nce(
    queries_BD: Tensor,
    passages_BD: Tensor,
    passage_keys_B: Tensor,
    *,
    temperature: float,
    directions: Directions,
    mask_false_negatives: bool,
    gather: bool,
    negatives_HD: Tensor | None = None,
    negative_keys_H: Tensor | None = None,
) -> Tensor:
    """Contrastive loss of B pairs against all passages of the batch (van den Oord et al. 2018, eq. 4).

    With ``gather`` and more than one rank, the negatives are those of all ranks. Each rank returns
    the mean over its own rows, so that the gradients averaged over ranks equal the gradient of
    the mean over the global batch. Scores are float32 (float64 for float64 input), also under autocast.

    Args:
        queries_BD: query embeddings of length 1; row i belongs to row i of the passages.
        passages_BD: passage embeddings of length 1.
        passage_keys_B: int64, equal for equal passages in the whole data; of all ranks' passages,
            those with the positive's key are no negatives when ``mask_false_negatives`` is set.
        temperature: scores are cosines divided by it.
        directions: query to passage, or its mean with passage to query.
        mask_false_negatives: leave them out of the denominator; the positive itself always stays.
        gather: whether to use other ranks' texts; every rank must hold the same number of pairs and of hard negatives.
        negatives_HD: hard negatives, candidates of every query (Karpukhin et al. 2020, section 3.2), not of
            passage to query; rows with a negative key are places without one, and left out.
        negative_keys_H: their keys, as those of the passages.

    Returns:
        Scalar, with gradients into the embeddings of every rank.
    """
    assert queries_BD.shape == passages_BD.shape, (queries_BD.shape, passages_BD.shape)
    assert passage_keys_B.shape == queries_BD.shape[:1], passage_keys_B.shape
    assert directions in ("one-way", "two-way"), directions
    assert (negatives_HD is None) == (negative_keys_H is None), "hard negatives have keys"
    gather = gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    with torch.autocast(queries_BD.device.type, enabled=False):
        dtype = torch.promote_types(queries_BD.dtype, torch.float32)
        queries_BD, passages_BD = queries_BD.to(dtype), passages_BD.to(dtype)
        candidates_MD = _all_rows(passages_BD) if gather else passages_BD
        keys_M = keys_N = _gather(passage_keys_B) if gather else passage_keys_B
        if negatives_HD is not None and negative_keys_H is not None and len(negatives_HD):
            negatives_HD = negatives_HD.to(dtype)
            candidates_MD = torch.cat([candidates_MD, _all_rows(negatives_HD) if gather else negatives_HD])
            keys_M = torch.cat([keys_N, _gather(negative_keys_H) if gather else negative_keys_H])
        first = dist.get_rank() * len(queries_BD) if gather else 0
        positives_B = torch.arange(first, first + len(queries_BD), device=queries_BD.device)
        left_out_BM = (keys_M < 0).expand(len(queries_BD), -1)
        if mask_false_negatives:
            left_out_BM = left_out_BM | (passage_keys_B[:, None] == keys_M[None, :])
        left_out_BM = left_out_BM.scatter(1, positives_B[:, None], False)
        loss = _direction_loss(queries_BD, candidates_MD, positives_B, left_out_BM, temperature)
        if directions == "two-way":
            queries_ND = _all_rows(queries_BD) if gather else queries_BD
            back = _direction_loss(passages_BD, queries_ND, positives_B, left_out_BM[:, : len(queries_ND)], temperature)
            loss = (loss + back) / 2
    return loss


def _all_rows(rows_BD: Tensor) -> Tensor:
    return cast(Tensor, _GatherRows.apply(rows_BD))  # type: ignore[no-untyped-call]
