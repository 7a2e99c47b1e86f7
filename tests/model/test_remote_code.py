"""Folders that bring modelling code of their own."""

import json
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from small_models import TEXTS, embed, tokenizer_in
from transformers import AutoModel

from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model.source import load_folder, load_start, save_folder, weights_digest

CODE = '''
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class BagConfig(PretrainedConfig):
    model_type = "bag"

    def __init__(self, vocab_size=100, hidden_size=16, num_hidden_layers=2, **others):
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        super().__init__(**others)


class Bag(PreTrainedModel):
    """Each token's vector through a few layers, by itself."""

    config_class = BagConfig
    base_model_prefix = "bag"

    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        layers = [torch.nn.Linear(config.hidden_size, config.hidden_size) for _ in range(config.num_hidden_layers)]
        self.layers = torch.nn.ModuleList(layers)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask=None):
        hidden = self.words(input_ids)
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        return BaseModelOutput(last_hidden_state=hidden)
'''
LIMITS = {"max_query_tokens": 32, "max_passage_tokens": 64}


@pytest.fixture(autouse=True)
def modules_cache(tmp_path, monkeypatch):
    """Where transformers puts the code it runs."""
    from transformers import dynamic_module_utils
    from transformers.utils import hub

    for module in (dynamic_module_utils, hub):
        monkeypatch.setattr(module, "HF_MODULES_CACHE", str(tmp_path / "modules"), raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tokenizer_in(tmp_path / "bag")
    rows = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    (folder / "modeling_bag.py").write_text(CODE)
    auto_map = {"AutoConfig": "modeling_bag.BagConfig", "AutoModel": "modeling_bag.Bag"}
    shape = {"model_type": "bag", "vocab_size": rows, "hidden_size": 16, "num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps({**shape, "auto_map": auto_map}))
    torch.manual_seed(0)
    model = AutoModel.from_config(_config(folder), trust_remote_code=True)
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    return folder


def _config(folder):
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, trust_remote_code=True)


def test_untrusted_code_is_refused_and_named(folder):
    for load in (
        lambda: load_folder(folder),
        lambda: load_start(ModelConfig(path=str(folder), **LIMITS), 0),
        lambda: load_start(ModelConfig(path=str(folder), init="random", **LIMITS), 0, folder),
    ):
        with pytest.raises(CheckpointError, match=r"modeling_bag\.py.*`model\.trust_remote_code: true`"):
            load()


def test_trusted_code_runs_and_is_saved_with_the_weights(folder, tmp_path):
    model = ModelConfig(path=str(folder), trust_remote_code=True, **LIMITS)
    loaded = load_start(model, 0, digest=weights_digest(model))
    found = embed(loaded, list(TEXTS))
    assert torch.pdist(found).min() > 1e-3
    words = loaded.encoder.backbone.words.weight
    ids = loaded.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"][0]
    hidden = words[ids]
    for layer in loaded.encoder.backbone.layers:
        hidden = torch.tanh(layer(hidden))
    torch.testing.assert_close(found[0], torch.nn.functional.normalize(hidden.mean(0), dim=0), rtol=0, atol=1e-6)

    save_folder(tmp_path / "saved", loaded)
    again = load_folder(tmp_path / "saved", trust_remote_code=True)
    assert torch.equal(embed(again, list(TEXTS)), found)
    with pytest.raises(CheckpointError, match="trust_remote_code"):
        load_folder(tmp_path / "saved")


def test_trusted_code_can_start_from_fresh_weights_and_be_cut(folder):
    model = ModelConfig(path=str(folder), init="random", layers=1, trust_remote_code=True, **LIMITS)
    first, again, other = (load_start(model, seed, folder) for seed in (0, 0, 1))
    assert torch.equal(embed(first, list(TEXTS)), embed(again, list(TEXTS)))
    assert not torch.equal(embed(first, list(TEXTS)), embed(other, list(TEXTS)))
    assert len(first.encoder.backbone.layers) == 1


def test_the_digest_covers_the_code(folder):
    model = ModelConfig(path=str(folder), trust_remote_code=True)
    digest = weights_digest(model)
    assert digest == weights_digest(model.model_copy(update={"trust_remote_code": False}))
    (folder / "modeling_bag.py").write_text(CODE.replace("tanh", "sin"))
    assert weights_digest(model) != digest
    assert weights_digest(ModelConfig(path=str(folder), init="random")) != digest


def test_code_of_another_repository_is_refused_even_when_trusted(folder):
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "someone/else--modeling_bag.Bag"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"another repository \(someone/else--modeling_bag\.Bag\)"):
        load_folder(folder, trust_remote_code=True)


def test_a_hub_models_code_is_fetched_when_trusted(folder, monkeypatch):
    asked = []

    def snapshot(hub_id, *, revision, allow_patterns, **others):
        asked.append("*.py" in allow_patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    trusted = ModelConfig(hub="org/bag", revision="0" * 40, trust_remote_code=True, **LIMITS)
    assert torch.equal(
        embed(load_start(trusted, 0), list(TEXTS)), embed(load_folder(folder, trust_remote_code=True), list(TEXTS))
    )
    with pytest.raises(CheckpointError, match="trust_remote_code"):
        load_start(trusted.model_copy(update={"trust_remote_code": False}), 0)
    assert asked == [True, False]
