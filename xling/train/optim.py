"""AdamW and a learning rate that is a pure function of the step, so that it needs no state."""

from __future__ import annotations

import math

import torch

from xling.config.schema import TrainConfig
from xling.errors import ConfigError


def build_optimizer(encoder: torch.nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW in one fused kernel, without weight decay on biases and norms (every parameter of one dimension)."""
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def learning_rate(step: int, total_steps: int, config: TrainConfig) -> float:
    """The rate of step ``step`` (0-based): a linear warm-up, then the configured decay to 0."""
    warmup_steps = math.ceil(config.warmup * total_steps)
    if step < warmup_steps:
        return config.lr * (step + 1) / warmup_steps
    if config.decay == "constant":
        return config.lr
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if config.decay == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr * (1 - progress)


def steps_of_budget(config: TrainConfig, *, parameters: int, tokens_per_pair: float) -> int:
    """Optimiser steps that a budget buys.

    Args:
        parameters: the encoder's parameters outside its embeddings.
        tokens_per_pair: mean tokens of a query, its passage and the hard negatives it brings.

    FLOPs are counted as 6 x parameters x tokens (forward 2, backward 4; Kaplan et al. 2020,
    arXiv 2001.08361, section 2.1), rounded down to whole steps.

    Raises:
        ConfigError: it does not buy one step. No training is asked for by ``steps: 0`` alone.
    """
    budget = config.budget
    if budget.steps is not None:
        return budget.steps
    if budget.examples is not None:
        name, given, step = "examples", float(budget.examples), float(config.batch_size)
    else:
        assert budget.flops is not None  # the schema holds that one of the three is given
        name, given, step = "flops", budget.flops, 6 * parameters * tokens_per_pair * config.batch_size
    if given < step:
        raise ConfigError(
            f"`train.budget.{name}` is {given:g}, must be at least {step:.3g}, what one step of {config.batch_size} "
            "pairs takes with this model; raise it or lower `train.batch_size`"
        )
    return int(given // step)
