"""InfoNCE over in-batch negatives, gathered from all ranks with their gradients.

Shape suffixes: B pairs of this rank, N = B x world size pairs of all ranks, D dimensions.
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
    candidates_ND: Tensor,
    positives_B: Tensor,
    false_negatives_BN: Tensor | None,
    temperature: float,
) -> Tensor:
    scores_BN = anchors_BD @ candidates_ND.T / temperature
    if false_negatives_BN is not None:
        scores_BN = scores_BN.masked_fill(false_negatives_BN, float("-inf"))
    return torch.nn.functional.cross_entropy(scores_BN, positives_B)


def info_nce(
    queries_BD: Tensor,
    passages_BD: Tensor,
    passage_keys_B: Tensor,
    *,
    temperature: float,
    directions: Directions,
    mask_false_negatives: bool,
    gather: bool,
) -> Tensor:
    """Contrastive loss of B pairs against all passages of the batch (van den Oord et al. 2018, eq. 4).

    With ``gather`` and more than one rank, the negatives are those of all ranks. Each rank returns
    the mean over its own rows, so that the gradients DDP averages over ranks equal the gradient of
    the mean over the global batch. Scores are float32 (float64 for float64 input), also under autocast.

    Args:
        queries_BD: query embeddings of length 1; row i belongs to row i of the passages.
        passages_BD: passage embeddings of length 1.
        passage_keys_B: int64, equal for equal passages in the whole data; of all ranks' passages,
            those with the positive's key are no negatives when ``mask_false_negatives`` is set.
        temperature: scores are cosines divided by it.
        directions: query to passage, or its mean with passage to query.
        mask_false_negatives: leave them out of the denominator; the positive itself always stays.
        gather: whether to use other ranks' texts; every rank must hold the same number of pairs.

    Returns:
        Scalar, with gradients into the embeddings of every rank.
    """
    assert queries_BD.shape == passages_BD.shape, (queries_BD.shape, passages_BD.shape)
    assert passage_keys_B.shape == queries_BD.shape[:1], passage_keys_B.shape
    assert directions in ("one-way", "two-way"), directions
    gather = gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    two_way = directions == "two-way"
    with torch.autocast(queries_BD.device.type, enabled=False):
        dtype = torch.promote_types(queries_BD.dtype, torch.float32)
        queries_BD, passages_BD = queries_BD.to(dtype), passages_BD.to(dtype)
        passages_ND = _all_rows(passages_BD) if gather else passages_BD
        keys_N = _gather(passage_keys_B) if gather else passage_keys_B
        first = dist.get_rank() * len(queries_BD) if gather else 0
        positives_B = torch.arange(first, first + len(queries_BD), device=queries_BD.device)
        false_negatives_BN = None
        if mask_false_negatives:
            false_negatives_BN = passage_keys_B[:, None] == keys_N[None, :]
            false_negatives_BN = false_negatives_BN.scatter(1, positives_B[:, None], False)
        loss = _direction_loss(queries_BD, passages_ND, positives_B, false_negatives_BN, temperature)
        if two_way:
            queries_ND = _all_rows(queries_BD) if gather else queries_BD
            back = _direction_loss(passages_BD, queries_ND, positives_B, false_negatives_BN, temperature)
            loss = (loss + back) / 2
    return loss


def _all_rows(rows_BD: Tensor) -> Tensor:
    return cast(Tensor, _GatherRows.apply(rows_BD))  # type: ignore[no-untyped-call]
