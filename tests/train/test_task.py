"""What cannot be trained as asked is told before a step."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_jobs import config
from transformers import AlbertConfig, AlbertModel

from xling.errors import ConfigError
from xling.model.encoder import DualEncoder
from xling.train.task import build_task


def test_checkpointing_a_model_that_cannot_be_is_refused():
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    encoder = DualEncoder(AlbertModel(AlbertConfig(vocab_size=9, embedding_size=4, **shape)), "mean")
    start, inputs = SimpleNamespace(encoder=encoder), SimpleNamespace(negative_keys_N=np.zeros(0, np.int64))
    cell = config(gradient_checkpointing=True)
    with pytest.raises(ConfigError, match=r"`train.gradient_checkpointing` is true, must be false for AlbertModel"):
        build_task(cell, start, inputs, total_steps=1, rank=0, world_size=1, device=torch.device("cpu"))
