"""From chunks of texts to gradients: all activations at once, or a chunk's at a time by gradient caching.

Shape suffixes: X texts, C texts of a chunk, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Encode = Callable[[int], Tensor]  # number of a chunk -> its embeddings CD; the same each time it is called
LossOf = Callable[[Tensor], Tensor]  # embeddings XD -> a scalar


def backward(encode: Encode, texts: Sequence[Tensor], loss_of: LossOf, *, cached: bool) -> Tensor:
    """Derive a loss over all texts for the encoder's parameters, whose gradients are added to.

    The loss needs all embeddings at once, its gradient for the parameters does not: it is the sum over
    chunks of (derivative of the loss for the chunk's embeddings) x (derivative of those for the parameters).
    With ``cached`` chunks are encoded twice, first without activations, then with them to derive them, so that
    memory is that of one chunk (Gao et al. 2021, arXiv 2101.06983); only the first chunk, the dearest where they go
    from long to short, keeps its activations for the loss. The gradient is the same but for rounding.

    Args:
        encode: embeds a chunk. Called twice for most of them when ``cached``, it must give the same, dropout included.
        texts: which of the X texts are in each chunk: int64 tensors C.
        loss_of: called once; may gather from other ranks.

    Returns:
        The loss, without its graph.
    """
    if not cached:
        loss = loss_of(_in_text_order([encode(chunk) for chunk in range(len(texts))], texts))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    with torch.no_grad():
        rest = [encode(chunk) for chunk in range(1, len(texts))]
    first_CD = encode(0)
    vectors_XD = _in_text_order([first_CD.detach(), *rest], texts).requires_grad_()
    loss = loss_of(vectors_XD)
    (grad_XD,) = torch.autograd.grad(loss, [vectors_XD])
    first_CD.backward(grad_XD[texts[0]])  # type: ignore[no-untyped-call]
    del first_CD  # and with it its activations
    for chunk in range(1, len(texts)):
        encode(chunk).backward(grad_XD[texts[chunk]])  # type: ignore[no-untyped-call]
    return loss.detach()


def _in_text_order(vectors: Sequence[Tensor], texts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(vectors))[torch.argsort(torch.cat(list(texts)))]
