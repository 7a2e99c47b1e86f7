"""Configurations as ``model.layers`` and ``model.dropout`` change them: what cannot be saved is refused first."""

import pytest
from small_models import tokenizer_in
from transformers import (
    MambaConfig,
    ModernBertConfig,
    ModernBertModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    ViTConfig,
    ViTModel,
)

from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model.pretrained import adapt_config, read_config
from xling.model.source import load_folder, load_start
from xling.model.tokenizer import load_tokenizer

SHAPE = {
    "vocab_size": 30,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
KINDS = {
    "modernbert": lambda: (ModernBertConfig(**SHAPE, **SPECIAL), ModernBertModel),
    "qwen3": lambda: (Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16), Qwen3Model),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_layers_are_cut_with_the_layers(tmp_path, kind):
    config, model = KINDS[kind]()
    assert len(config.layer_types) == 4
    whole = list(config.layer_types)
    adapt_config(config, dropout=None, layers=2, name="x")
    assert config.layer_types == whole[:2]
    model(config).save_pretrained(tmp_path)
    again = read_config(tmp_path, dropout=None, layers=1, trust_remote_code=False)
    assert (again.num_hidden_layers, again.layer_types) == (1, whole[:1])


def test_a_change_that_could_not_be_saved_is_refused():
    config, _ = KINDS["qwen3"]()
    config.layer_types = None
    config.validate = lambda: (_ for _ in ()).throw(ValueError("layers come in fours"))
    with pytest.raises(CheckpointError, match=r"gives x a configuration that cannot be saved \(layers come in fours\)"):
        adapt_config(config, dropout=None, layers=2, name="x")


@pytest.mark.parametrize("changes", ['"num_hidden_layers": "four"', '"hidden_size": null'])
def test_a_configuration_of_other_types_is_refused(tmp_path, changes):
    (tmp_path / "config.json").write_text(f'{{"model_type": "modernbert", {changes}}}')
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        read_config(tmp_path, dropout=None, layers=None, trust_remote_code=False)


def test_kinds_of_layers_that_follow_from_their_number_are_left_alone():
    config = MambaConfig(vocab_size=30, hidden_size=32, num_hidden_layers=4)
    adapt_config(config, dropout=None, layers=2, name="x")
    assert len(config.layer_types) == 2


T5 = T5Config(
    vocab_size=200, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, is_encoder_decoder=False, use_cache=False
)
VIT = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)


@pytest.mark.parametrize(
    ("saved", "loaded"), [(lambda: T5EncoderModel(T5), "T5Model"), (lambda: ViTModel(VIT), "ViTModel")]
)
@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_what_does_not_encode_texts_is_refused_before_training(tmp_path, saved, loaded, init):
    """transformers loads T5's encoder as the pair, which asks for a decoder's tokens in the first step."""
    tokenizer = tokenizer_in(tmp_path / "tokenizer")
    saved().save_pretrained(tmp_path / "model")
    load_tokenizer(tokenizer).save_pretrained(tmp_path / "model")
    model = ModelConfig(path=str(tmp_path / "model"), init=init, max_query_tokens=24, max_passage_tokens=24)
    with pytest.raises(CheckpointError, match=rf"model is loaded as a {loaded}, which does not encode texts \("):
        load_start(model, 0, tokenizer)


def test_a_learnt_tokenizer_that_could_not_be_read_back_is_refused_before_training(tmp_path):
    """Beside Qwen2 transformers builds the tokenizer by its class, whatever the folder of a trained model says."""
    tokenizer = tokenizer_in(tmp_path / "tokenizer")
    config = Qwen2Config(**{**SHAPE, "vocab_size": 300}, num_key_value_heads=2)
    Qwen2Model(config).save_pretrained(tmp_path / "model")
    load_tokenizer(tokenizer).save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="is loaded as a Qwen2Tokenizer"):
        load_folder(tmp_path / "model")
    model = ModelConfig(path=str(tmp_path / "model"), init="random", max_query_tokens=24, max_passage_tokens=24)
    with pytest.raises(CheckpointError, match=r"`model.init` is 'random', must be pretrained .* qwen2: .* read back"):
        load_start(model, 0, tokenizer)
