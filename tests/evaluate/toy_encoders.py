"""An encoder of a few thousand weights, without a folder or a tokenizer."""

from types import SimpleNamespace

import torch
from transformers import BertConfig, BertModel

from xling.model.encoder import DualEncoder
from xling.model.source import LoadedModel, TextSettings

torch.set_num_threads(1)


def toy_encoder(*, seed: int = 0, dropout: float = 0.0) -> DualEncoder:
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DualEncoder(BertModel(config), "mean").eval()


def toy_model(**options) -> LoadedModel:
    return LoadedModel(toy_encoder(**options), SimpleNamespace(pad_token_id=0), TextSettings(pooling="mean"))
