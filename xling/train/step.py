"""One optimiser step of one rank.

Everything random in it is a function of (seed, step, rank): the batch by the plan, dropout by a
generator seeded anew for each step.

Shapes: B pairs a rank, T tokens, D embedding dimensions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from xling.batching.plan import Batch, Plan
from xling.batching.sampler import PairTokens, collate, rank_slice
from xling.config.schema import TrainConfig
from xling.errors import NonFiniteError
from xling.model.encoder import DualEncoder
from xling.model.loss import info_nce
from xling.train.optim import learning_rate

StepRecord = dict[str, Any]  # step, time_ms, loss, lr, grad_norm, kind, pairs_per_s, tokens_per_s


@dataclass(frozen=True)
class Task:
    """What is trained, and on what."""

    encoder: DualEncoder
    optimizer: torch.optim.Optimizer
    plan: Plan
    tokens: PairTokens
    config: TrainConfig
    total_steps: int
    seed: int
    pad_id: int
    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    milestones: frozenset[int] = frozenset()  # steps after which early stopping decides


def step(task: Task, batch: Batch, should_stop: Callable[[], bool]) -> tuple[StepRecord, bool]:
    """One optimiser step on this rank's slice; returns its record and whether any rank wants to stop."""
    started = time.perf_counter()
    lr = learning_rate(batch.step, task.total_steps, task.config)
    for group in task.optimizer.param_groups:
        group["lr"] = lr
    torch.manual_seed(_dropout_seed(task.seed, batch.step, task.rank))
    local = collate(task.tokens, rank_slice(batch, task.rank, task.world_size), task.pad_id)

    task.optimizer.zero_grad(set_to_none=True)
    with _autocast(task):
        queries_BD = task.encoder(_on(task, local.query_ids_BT), _on(task, local.query_mask_BT))
        passages_BD = task.encoder(_on(task, local.passage_ids_BT), _on(task, local.passage_mask_BT))
    loss = info_nce(
        queries_BD,
        passages_BD,
        _on(task, local.passage_keys_B),
        temperature=task.config.temperature,
        directions=task.config.directions,
        mask_false_negatives=task.config.mask_false_negatives,
        gather=task.world_size > 1,
    )
    loss.backward()  # type: ignore[no-untyped-call]
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


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    """A 63-bit seed that differs for every (seed, step, rank)."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    value ^= value >> 31
    return (value * 0xD6E8FEB86659FD93 & (2**64 - 1)) >> 1


def _autocast(task: Task) -> torch.autocast:
    return torch.autocast(task.device.type, dtype=torch.bfloat16, enabled=uses_bf16(task.config, task.device))


def uses_bf16(config: TrainConfig, device: torch.device) -> bool:
    """Whether this run computes in bfloat16: as told, or where the accelerator has it."""
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return config.precision == "bf16"


def _on(task: Task, array: Any) -> torch.Tensor:
    return torch.from_numpy(array).to(task.device, non_blocking=True)


def _non_finite_message(task: Task, batch: Batch, loss: float, grad_norm: float) -> str:
    ids = [task.plan.item_ids[item] for item in batch.items_B]
    shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {grad_norm}"
    return (
        f"step {batch.step} ({batch.source}): {what}, must be finite; nothing of it was applied. "
        f"Its items: {shown}. Lower train.lr, set train.clip, or look at these items"
    )
