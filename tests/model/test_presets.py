import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_models import TEXTS, embed, tokenizer_in
from torch import nn
from transformers import AutoModel

from xling.config import presets
from xling.config.schema import ModelConfig
from xling.errors import ConfigError
from xling.model.encoder import DualEncoder
from xling.model.fresh import architecture_config, build_backbone, dense_of
from xling.model.projection import Projection
from xling.model.source import load_folder, load_start, save_folder, weights_digest

BUILT = ["tiny", "mini", "mid"]
LANGUAGE_MODELS = ["small", "base", "large"]
RETRIEVERS = ["labse", "e5-small", "e5-base", "e5-large"]


def test_sizes_are_listed_smallest_first():
    assert presets.names() == [*BUILT, *LANGUAGE_MODELS, *RETRIEVERS]
    for group in (BUILT + LANGUAGE_MODELS, RETRIEVERS[1:]):
        sizes = [presets.get(name).parameters() for name in group]
        assert sizes == sorted(sizes)
    assert all(presets.get(name).summary.startswith(("built: ", "hub: ")) for name in presets.names())


@pytest.mark.parametrize("name", BUILT)
def test_built_presets_know_their_parameters(name):
    preset = presets.get(name)
    backbone = build_backbone(preset, vocab_size=300, positions=100, pad_id=0, dropout=None, seed=0)
    backbone.pooler = None
    assert sum(p.numel() for p in backbone.parameters()) == preset.parameters(vocab_size=300, positions=100)


# What the checkpoints hold, less the pooler: millions in all, and outside the tables.
PUBLISHED = {
    "small": (117.5, 21.3),
    "base": (277.5, 85.1),
    "large": (558.8, 302.3),
    "labse": (470.9, 85.6),
    "e5-small": (117.5, 21.3),
    "e5-base": (277.5, 85.1),
    "e5-large": (558.8, 302.3),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_hub_presets_know_their_parameters(name):
    preset = presets.get(name)
    with torch.device("meta"):
        backbone = AutoModel.from_config(architecture_config(preset.shape))
        dense = dense_of(preset.shape)
        encoder = DualEncoder(backbone, preset.pooling, None if dense is None else Projection(dense))
    assert encoder.parameters_total == preset.shape.parameters == preset.parameters()
    tables = sum(module.weight.numel() for module in encoder.modules() if isinstance(module, nn.Embedding))
    assert tables == preset.shape.embedding_parameters
    assert encoder.max_tokens == preset.shape.max_tokens
    found = (encoder.parameters_total / 1e6, encoder.parameters_non_embedding / 1e6)
    assert found == pytest.approx(PUBLISHED[name], abs=0.051)


def test_positions_follow_the_longest_text():
    assert presets.get("tiny").positions(40) == 96
    assert presets.get("tiny").positions(256) == 256


def test_a_name_is_given_once():
    tiny = presets.get("tiny")
    with pytest.raises(ValueError, match="'tiny' is registered already"):
        presets.register(presets.BuiltPreset("tiny", hidden=8, layers=1, heads=1, recommended=tiny.recommended))
    assert presets.get("tiny") is tiny


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"`model.preset` is 'tinny', must be one of .*did you mean 'tiny'\?"):
        presets.get("tinny")


def test_the_registry_needs_no_torch():
    """Configuration checks read it."""
    code = "import sys, xling.config.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]).returncode == 0


# --- init: random


@pytest.mark.parametrize("name", ["small", "labse"])
def test_fresh_weights_hang_on_the_seed_alone(tmp_path, name):
    model = ModelConfig(preset=name, init="random", layers=1)
    assert weights_digest(model) == f"random:{name}"
    folder = tokenizer_in(tmp_path / "tokenizer")
    torch.manual_seed(1)
    first = load_start(model, 0, folder, digest=weights_digest(model))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = load_start(model, 0, folder), load_start(model, 1, folder)
    assert torch.equal(state, torch.get_rng_state())
    states = [loaded.encoder.state_dict() for loaded in (first, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    weights = [key for key, value in states[0].items() if value.ndim > 1]
    assert not any(torch.equal(states[0][key], states[2][key]) for key in weights)
    assert not first.encoder.training
    shape = model.architecture
    rows = len(first.tokenizer)
    assert first.encoder.parameters_total == shape.parameters - (shape.vocab_size - rows) * shape.hidden
    save_folder(tmp_path / "saved", first)
    assert torch.equal(embed(load_folder(tmp_path / "saved"), list(TEXTS)), embed(first, list(TEXTS)))


def test_fresh_weights_take_the_configuration(tmp_path):
    model = ModelConfig(preset="e5-base", init="random", layers=1, pooling="cls", dropout=0.3)
    loaded = load_start(model, 0, tokenizer_in(tmp_path / "tokenizer"))
    config = loaded.encoder.backbone.config
    assert loaded.encoder.pooling == loaded.settings.pooling == "cls"
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.3)
    assert config.pad_token_id == loaded.tokenizer.pad_token_id
    assert (loaded.settings.query_prefix, loaded.settings.passage_prefix) == ("query: ", "passage: ")


def test_a_built_preset_can_be_cut(tmp_path):
    loaded = load_start(ModelConfig(preset="mid", layers=1), 0, tokenizer_in(tmp_path))
    assert loaded.encoder.backbone.config.num_hidden_layers == 1
