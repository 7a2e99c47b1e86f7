"""Encoders with fresh weights: a function of the seed alone, from an architecture and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel, BertConfig

from xling.config.presets import Architecture, BuiltPreset, Pooling
from xling.errors import CheckpointError
from xling.model.encoder import DualEncoder
from xling.model.pretrained import LOAD_ERRORS, require_encoder
from xling.model.projection import DenseConfig, Projection

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def build_backbone(
    preset: BuiltPreset, *, vocab_size: int, positions: int, pad_id: int, dropout: float | None, seed: int
) -> PreTrainedModel:
    """A BERT of the preset's size with fresh weights, a function of ``seed`` alone.

    Attention is PyTorch's scaled dot product, which repeats bit by bit on a CPU with a fixed number of threads.
    """
    rate = 0.0 if dropout is None else dropout
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=preset.hidden,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        intermediate_size=4 * preset.hidden,
        max_position_embeddings=positions,
        pad_token_id=pad_id,
        hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
    )
    with _seeded(seed):
        return AutoModel.from_config(config, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=False)


def architecture_config(shape: Architecture) -> Any:
    """The transformers configuration of a preset's architecture."""
    return AutoConfig.for_model(**shape.config())


def dense_of(shape: Architecture) -> DenseConfig | None:
    """The Dense module behind the pooling, where the architecture has one."""
    return None if shape.dense is None else DenseConfig(shape.hidden, shape.dense)


def fresh_encoder(
    config: Any,
    tokenizer: PreTrainedTokenizerBase,
    pooling: Pooling,
    dense: DenseConfig | None,
    *,
    seed: int,
    trust_remote_code: bool = False,
) -> DualEncoder:
    """An encoder of a configuration, its token table cut to the tokenizer, in eval mode.

    Args:
        config: of transformers; its vocabulary and special ids become the tokenizer's.
        dense: of the Dense module behind the pooling.

    Raises:
        CheckpointError: no model can be made of the configuration.
    """
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    config.bos_token_id, config.eos_token_id = tokenizer.cls_token_id, tokenizer.sep_token_id
    try:
        with _seeded(seed):
            backbone = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=trust_remote_code)
            projection = None if dense is None else Projection(dense)
    except LOAD_ERRORS as error:
        raise CheckpointError(
            f"no model can be built from the configuration {config.name_or_path or config.model_type!r} "
            f"({type(error).__name__}: {error}); its config.json must be of an architecture transformers knows"
        ) from error
    if not trust_remote_code:
        require_encoder(backbone, config.name_or_path or config.model_type)
    return DualEncoder(backbone, pooling, projection).eval()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from a seed; the process's random state is neither used nor changed."""
    # devices=[] and the CPU's generator: seeding must not reach an accelerator's generators either.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield
