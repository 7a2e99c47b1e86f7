"""A local folder in the layout of each hub preset's checkpoint, and its commit in the hub's cache."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import sentence_transformers
import torch
from preset_folders import LAYOUTS, WIDTH
from small_models import TEXTS, embed
from transformers import AutoModel

from xling.config import presets
from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model.source import load_folder, load_start, save_folder, weights_digest

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
LIMITS = {"max_query_tokens": 32, "max_passage_tokens": 64}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: write(tmp_path_factory.mktemp(name) / "model") for name, write in LAYOUTS.items()}


def peer_embeddings(folder, texts=TEXTS):
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return torch.from_numpy(peer.encode(list(texts), prompt="", normalize_embeddings=True))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_local_folder_loads_encodes_and_comes_back(folders, tmp_path, name):
    loaded = load_folder(folders[name])
    found = embed(loaded, list(TEXTS))
    torch.testing.assert_close(found, peer_embeddings(folders[name]), rtol=0, atol=1e-6)
    assert torch.pdist(found).min() > 1e-2, "the texts are too alike to tell a wrong embedding"
    preset = presets.get(name)
    assert loaded.encoder.pooling == preset.pooling
    assert (loaded.encoder.projection is None) == (preset.shape.dense is None)
    assert (loaded.settings.query_prefix, loaded.settings.passage_prefix) == (
        preset.query_prefix,
        preset.passage_prefix,
    )
    assert loaded.encoder.backbone.config.model_type == preset.shape.kind

    save_folder(tmp_path / "again", loaded)
    again = load_folder(tmp_path / "again")
    assert again.settings == loaded.settings
    assert torch.equal(embed(again, list(TEXTS)), found)
    torch.testing.assert_close(peer_embeddings(tmp_path / "again"), found, rtol=0, atol=1e-6)


def test_an_export_does_not_hang_on_the_side_its_checkpoint_padded_on(tmp_path):
    folder = LAYOUTS["small"](tmp_path / "model")  # BERT's positions are absolute
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    loaded = load_folder(folder)
    save_folder(tmp_path / "export", loaded)
    one_by_one = torch.cat([embed(loaded, [text]) for text in TEXTS])  # without padding on either side
    torch.testing.assert_close(peer_embeddings(tmp_path / "export"), one_by_one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_first_layers_are_those_of_the_whole(folders, tmp_path, name):
    model = ModelConfig(path=str(folders[name]), layers=2, **LIMITS)
    cut = load_start(model, 0)
    whole = load_folder(folders[name])
    assert cut.encoder.backbone.config.num_hidden_layers == len(cut.encoder.backbone.encoder.layer) == 2
    expected = {key: value for key, value in whole.encoder.state_dict().items() if "layer.2." not in key}
    found = cut.encoder.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    save_folder(tmp_path / "cut", cut)
    assert torch.equal(embed(load_folder(tmp_path / "cut"), list(TEXTS)), embed(cut, list(TEXTS)))
    with pytest.raises(CheckpointError, match=r"`model.layers` is 4, must be within 1..3"):
        load_start(model.model_copy(update={"layers": 4}), 0)


# --- the same from the hub's cache


@pytest.fixture
def cache(folders, tmp_path, monkeypatch):
    """A hub cache that holds every preset's checkpoint, and a hub that cannot be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, folder in folders.items():
        repository = tmp_path / "hub" / f"models--{presets.get(name).hub.replace('/', '--')}"
        shutil.copytree(folder, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        for revision in ("main", "v1"):
            (repository / "refs" / revision).write_text(COMMIT)
    return tmp_path / "hub"


@pytest.fixture(params=["told to be offline", "no network"])
def no_hub(request, monkeypatch):
    if request.param == "told to be offline":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    else:
        # Port 9 of this machine: nobody listens.
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}")


@pytest.mark.usefixtures("cache", "no_hub")
@pytest.mark.parametrize(  # the hub's client tries for a while where there is no network: once is enough
    ("no_hub", "name"),
    [*(("told to be offline", name) for name in LAYOUTS), ("no network", "base")],
    indirect=["no_hub"],
)
def test_a_warm_cache_needs_no_hub(folders, name):
    model = ModelConfig(preset=name, **LIMITS)
    hub = presets.get(name).hub
    assert weights_digest(model) == f"hub:{hub}@{COMMIT}"
    loaded = load_start(model, 0)
    assert torch.equal(embed(loaded, list(TEXTS)), embed(load_folder(folders[name]), list(TEXTS)))
    assert (loaded.settings.query_prefix, loaded.settings.passage_prefix) == (model.query_prefix, model.passage_prefix)
    for revision in ("v1", COMMIT):
        assert weights_digest(ModelConfig(preset=name, revision=revision, **LIMITS)) == f"hub:{hub}@{COMMIT}"


@pytest.mark.usefixtures("cache", "no_hub")
@pytest.mark.parametrize("model", [{"preset": "large"}, {"preset": "base", "revision": "v2"}])
def test_without_either_the_message_says_what_to_do(model):
    with pytest.raises(CheckpointError) as caught:
        weights_digest(ModelConfig(**model))
    said = str(caught.value)
    assert presets.get(model["preset"]).hub in said
    assert repr(model.get("revision", "main")) in said
    assert all(word in said for word in ("config.json", "model.safetensors", "tokenizer.json", "`model.path`"))


# --- fresh weights


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folders_architecture_can_be_had_without_its_weights(folders, tmp_path, learnt_tokenizer, name):
    bare = tmp_path / "bare"
    shutil.copytree(folders[name], bare, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "token*", "vocab.txt"))
    model = ModelConfig(path=str(bare), init="random", **LIMITS)
    loaded = load_start(model, 3, learnt_tokenizer, digest=weights_digest(model))
    whole = ModelConfig(path=str(folders[name]), init="random", **LIMITS)
    assert weights_digest(whole) == weights_digest(model) != weights_digest(ModelConfig(path=str(folders[name])))
    assert torch.equal(embed(load_start(whole, 3, learnt_tokenizer), list(TEXTS)), embed(loaded, list(TEXTS)))
    assert loaded.encoder.pooling == presets.get(name).pooling
    assert loaded.encoder.dimension == WIDTH
    reference = AutoModel.from_pretrained(folders[name])
    shapes = {key: value.shape for key, value in reference.state_dict().items() if not key.startswith("pooler.")}
    found = {key: value.shape for key, value in loaded.encoder.backbone.state_dict().items()}
    assert found.pop("embeddings.word_embeddings.weight") == (len(loaded.tokenizer), WIDTH)
    shapes.pop("embeddings.word_embeddings.weight")
    assert found == shapes
    edited = json.loads((bare / "config.json").read_text()) | {"num_hidden_layers": 2}
    (bare / "config.json").write_text(json.dumps(edited))
    assert weights_digest(model) != weights_digest(whole)


@pytest.fixture
def learnt_tokenizer(tmp_path) -> Path:
    from small_models import tokenizer_in

    return tokenizer_in(tmp_path / "tokenizer")
