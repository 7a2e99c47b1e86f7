"""Configurations as ``model.layers`` and ``model.dropout`` change them: what cannot be saved is refused first."""

import pytest
from transformers import ModernBertConfig, ModernBertModel, Qwen3Config, Qwen3Model

from xling.errors import CheckpointError
from xling.model.pretrained import adapt_config, read_config

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
