"""One optimiser step of one rank.

Everything random in it is a function of (seed, step, rank, chunk): the batch by the plan, dropout by a
generator seeded anew for each chunk. So a chunk that is encoded twice drops out the same.

Shapes: B pairs a rank, H hard negatives, X texts, C texts of a chunk, T tokens, D embedding dimensions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from xling.batching.counter_hash import counter_hash
from xling.batching.plan import Batch
from xling.batching.sampler import NO_NEGATIVE, TextBatch
from xling.errors import NonFiniteError
from xling.model.gradcache import backward
from xling.model.loss import info_nce
from xling.train.loader import Loader
from xling.train.optim import learning_rate
from xling.train.task import Task, uses_bf16

StepRecord = dict[str, Any]  # step, time_ms, loss, lr, grad_norm, kind, pairs_per_s, tokens_per_s


def step(task: Task, loader: Loader, should_stop: Callable[[], bool]) -> tuple[StepRecord, bool]:
    """One optimiser step on this rank's texts; returns its record and whether any rank wants to stop."""
    started = time.perf_counter()
    batch, local = loader.take()
    lr = learning_rate(batch.step, task.total_steps, task.config)
    for group in task.optimizer.param_groups:
        group["lr"] = lr
    task.optimizer.zero_grad(set_to_none=True)
    loss = _derive(task, batch.step, local)
    mean_loss, tokens, stop = _average(task, loss, local.tokens, should_stop())
    grad_norm = _grad_norm(task, apply=math.isfinite(mean_loss))
    if not (math.isfinite(mean_loss) and math.isfinite(grad_norm)):
        raise NonFiniteError(_non_finite_message(task, batch, mean_loss, grad_norm))
    task.optimizer.step()

    seconds = time.perf_counter() - started
    record = {
        "step": batch.step,
        "time_ms": time.time_ns() // 1_000_000,
        "loss": mean_loss,
        "lr": lr,
        "grad_norm": grad_norm,
        "kind": batch.kind,
        "source": batch.source,
        "pairs_per_s": len(batch.items_B) / seconds,
        "tokens_per_s": tokens / seconds,
    }
    return record, stop


def _derive(task: Task, step: int, local: TextBatch) -> torch.Tensor:
    """The loss of this rank's pairs, and its gradients in the parameters."""
    pairs = local.pairs
    positive_keys_B, negative_keys_H = _on(task, local.passage_keys_B), _on(task, local.negative_keys_H)

    def encode(number: int) -> torch.Tensor:
        chunk = local.chunks[number]
        torch.manual_seed(_dropout_seed(task.seed, step, task.rank, number))
        with _autocast(task):
            vectors_CD: torch.Tensor = task.encoder(_on(task, chunk.ids_CT), _on(task, chunk.mask_CT))
        return vectors_CD

    def loss_of(vectors_XD: torch.Tensor) -> torch.Tensor:
        negatives_HD = None
        if task.texts.negatives:  # also of a rank that happens to have none: all ranks gather
            negatives_HD = vectors_XD.new_zeros((len(negative_keys_H), vectors_XD.shape[1]))
            negatives_HD = negatives_HD.index_put((negative_keys_H != NO_NEGATIVE,), vectors_XD[2 * pairs :])
        return info_nce(
            vectors_XD[:pairs],
            vectors_XD[pairs : 2 * pairs],
            positive_keys_B,
            temperature=task.config.temperature,
            directions=task.config.directions,
            mask_false_negatives=task.config.mask_false_negatives,
            gather=task.world_size > 1,
            negatives_HD=negatives_HD,
            negative_keys_H=negative_keys_H if negatives_HD is not None else None,
        )

    texts = [_on(task, chunk.texts_C) for chunk in local.chunks]
    return backward(encode, texts, loss_of, cached=task.config.chunk_size is not None)


def _average(task: Task, loss: torch.Tensor, tokens: int, stop: bool) -> tuple[float, float, bool]:
    """Average gradients over the ranks, in one collective with the loss, tokens and stop flag.

    Our own flat sum instead of DistributedDataParallel: DDP regroups its buckets after the
    first step, so that a resumed run would sum in another order than an uninterrupted one.
    """
    extra = torch.stack([loss.detach().float(), loss.new_tensor(float(tokens)), loss.new_tensor(float(stop))])
    if task.world_size == 1:
        return float(extra[0]), float(extra[1]), stop
    grads = [p.grad for p in task.encoder.parameters() if p.grad is not None]
    flat = torch.cat([grad.reshape(-1).float() for grad in grads] + [extra])
    dist.all_reduce(flat)
    offset = 0
    for grad in grads:
        grad.copy_(flat[offset : offset + grad.numel()].view_as(grad).div_(task.world_size))
        offset += grad.numel()
    loss_sum, tokens_sum, stops = flat[offset:].tolist()
    return loss_sum / task.world_size, tokens_sum, stops > 0


def _grad_norm(task: Task, apply: bool) -> float:
    """The gradient's norm; clips in place where a limit is set."""
    limit = task.config.clip if task.config.clip is not None and apply else math.inf
    return float(torch.nn.utils.clip_grad_norm_(task.encoder.parameters(), limit))


def _dropout_seed(seed: int, step: int, rank: int, chunk: int) -> int:
    """A 63-bit seed of its own for every chunk of texts."""
    return int(counter_hash(seed, step, rank, chunk)) >> 1


def _autocast(task: Task) -> torch.autocast:
    return torch.autocast(task.device.type, dtype=torch.bfloat16, enabled=uses_bf16(task.config, task.device))


def _on(task: Task, array: Any) -> torch.Tensor:
    return torch.from_numpy(array).to(task.device, non_blocking=True)


def _non_finite_message(task: Task, batch: Batch, loss: float, grad_norm: float) -> str:
    ids = [task.texts.plan.item_ids[item] for item in batch.items_B]
    shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {grad_norm}"
    return (
        f"step {batch.step} ({batch.source}): {what}, must be finite; nothing of it was applied. "
        f"Its items: {shown}. Lower train.lr, set train.clip, or look at these items"
    )
