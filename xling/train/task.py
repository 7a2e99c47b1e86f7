"""What a rank trains, and on what: built once from the configuration, then stepped through."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field

import torch

from xling.batching.negatives import NegativeDraw, require_negatives
from xling.config.schema import CellConfig, TrainConfig
from xling.errors import ConfigError, ResourceError
from xling.model.encoder import DualEncoder
from xling.model.source import LoadedModel
from xling.train.inputs import Inputs
from xling.train.loader import Texts
from xling.train.optim import build_optimizer


@dataclass(frozen=True)
class Task:
    """What is trained, and on what."""

    encoder: DualEncoder
    optimizer: torch.optim.Optimizer
    texts: Texts
    config: TrainConfig
    total_steps: int
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    milestones: frozenset[int] = frozenset()  # steps after which early stopping decides

    @property
    def rank(self) -> int:
        return self.texts.rank

    @property
    def world_size(self) -> int:
        return self.texts.world_size


def build_task(
    config: CellConfig,
    start: LoadedModel,
    inputs: Inputs,
    *,
    total_steps: int,
    rank: int,
    world_size: int,
    device: torch.device,
    milestones: frozenset[int] = frozenset(),
) -> Task:
    """Args: start: its encoder is trained in place, and must be on ``device`` already.

    Raises:
        ConfigError: activations are to be computed again, and the model cannot do it.
        DataError: hard negatives are asked for, and the data have none.
        ResourceError: compiling is asked for, and cannot be done here.
    """
    require_negatives(config.train.hard_negatives, len(inputs.negative_keys_N))
    backbone = start.encoder.backbone
    if config.train.gradient_checkpointing:
        if not backbone.supports_gradient_checkpointing:
            raise ConfigError(
                f"`train.gradient_checkpointing` is true, must be false for {type(backbone).__name__}, which "
                "transformers cannot do it for; `train.chunk_size` saves memory too"
            )
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    if config.train.compile:
        if device.type == "cpu" and (problem := why_no_compiler(torch.__file__)):
            raise ResourceError(f"`train.compile` is true, {problem}; or set it to false")
        backbone.compile(dynamic=True)
    texts = Texts(
        inputs.plan,
        inputs.tokens,
        start.tokenizer.pad_token_id,
        rank,
        world_size,
        config.train.hard_negatives,
        NegativeDraw(config.seed, inputs.plan.item_ids, inputs.negative_keys_N),
        start.encoder.max_tokens,
    )
    return Task(
        encoder=start.encoder,
        optimizer=build_optimizer(start.encoder, config.train),
        texts=texts,
        config=config.train,
        total_steps=total_steps,
        seed=config.seed,
        device=device,
        milestones=milestones,
    )


def why_no_compiler(torch_file: str) -> str:
    """What keeps torch from compiling for the CPU here, and what to do; empty where nothing does."""
    if " " in torch_file:  # it hands its folders to the compiler without quotes
        return f"must be false in an environment whose path has a space ({torch_file}); install into another folder"
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        return "needs a C++ compiler, found none; install g++, or name one by CXX"
    return ""


def uses_bf16(config: TrainConfig, device: torch.device) -> bool:
    """Whether this run computes in bfloat16: as told, or where the accelerator has it."""
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return config.precision == "bf16"
