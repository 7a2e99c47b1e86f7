"""Folders with a Dense module after pooling; sentence-transformers itself writes them and says what is right."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import sentence_transformers
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from small_models import TEXTS, embed, tiny_model
from torch import nn

from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model.encoder import DualEncoder
from xling.model.loss import info_nce
from xling.model.projection import DenseConfig, Projection
from xling.model.source import load_folder, load_start, save_folder, weights_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def their_folder(folder, *, pooling="cls", normalize=True, dense=None):
    """What sentence-transformers saves for a 32-wide BERT, pooling, Dense (LaBSE's kind) and Normalize."""
    from sentence_transformers import SentenceTransformer, models

    start = tiny_model(folder, pooling=pooling)
    with torch.no_grad():  # fresh weights are small: every text's first vector would be much the same
        for weights in (parameter for parameter in start.encoder.parameters() if parameter.ndim > 1):
            weights.mul_(10)
    save_folder(folder / "ours", start)
    torch.manual_seed(5)
    modules = [
        models.Transformer(str(folder / "ours")),
        models.Pooling(32, pooling_mode=pooling),
        dense or models.Dense(32, 32),
    ]
    peer = SentenceTransformer(modules=[*modules, *([models.Normalize()] if normalize else [])], device="cpu")
    peer.save(str(folder / "theirs"))
    return folder / "theirs"


def peer_embeddings(folder):
    peer = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return torch.from_numpy(peer.encode(list(TEXTS), normalize_embeddings=True))


@pytest.fixture(scope="module")
def labse(tmp_path_factory):
    return their_folder(tmp_path_factory.mktemp("labse"))


@pytest.fixture
def folder(labse, tmp_path):
    return Path(shutil.copytree(labse, tmp_path / "copy"))


def edit_dense(folder, **changes):
    file = folder / "2_Dense" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_modules(folder, change):
    file = folder / "modules.json"
    modules = json.loads(file.read_text())
    change(modules)
    file.write_text(json.dumps(modules))


def edit_weights(folder, change):
    file = folder / "2_Dense" / "model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)


# --- the same embeddings as sentence-transformers, there and back

KINDS = {
    "as LaBSE": lambda models: {},
    "narrower": lambda models: {"dense": models.Dense(32, 12, bias=False, activation_function=nn.Identity())},
    "wider": lambda models: {"pooling": "mean", "dense": models.Dense(32, 48, activation_function=nn.ReLU())},
    "smooth": lambda models: {"normalize": False, "dense": models.Dense(32, 32, activation_function=nn.GELU())},
    "SiLU": lambda models: {"dense": models.Dense(32, 8, activation_function=nn.SiLU())},
    "Sigmoid": lambda models: {"dense": models.Dense(32, 8, activation_function=nn.Sigmoid())},
}


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_equal_sentence_transformers_there_and_back(tmp_path, kind):
    from sentence_transformers import models

    options = KINDS[kind](models)
    theirs = their_folder(tmp_path, **options)
    expected = peer_embeddings(theirs)
    loaded = load_folder(theirs)
    assert loaded.encoder.dimension == expected.shape[1]
    assert loaded.encoder.pooling == options.get("pooling", "cls")
    found = embed(loaded, list(TEXTS))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert torch.pdist(found).min() > 1e-2, "the texts are too alike to tell a wrong embedding"

    save_folder(tmp_path / "again", loaded)
    torch.testing.assert_close(peer_embeddings(tmp_path / "again"), found, rtol=0, atol=1e-6)
    again = load_folder(tmp_path / "again")
    before, after = loaded.encoder.state_dict(), again.encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(embed(again, list(TEXTS)), found)
    assert again.settings == loaded.settings


def test_torch_weights_are_read_too(folder, labse):
    state = load_file(folder / "2_Dense" / "model.safetensors")
    (folder / "2_Dense" / "model.safetensors").unlink()
    torch.save(state, folder / "2_Dense" / "pytorch_model.bin")
    assert torch.equal(embed(load_folder(folder), list(TEXTS)), embed(load_folder(labse), list(TEXTS)))


def test_the_shape_labse_published_is_read(folder, labse):
    """Its config.json names four fields and the oldest module types."""
    config = {
        "in_features": 32,
        "out_features": 32,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))

    def rename(modules):
        for module, kind in zip(modules, ("Transformer", "Pooling", "Dense", "Normalize"), strict=True):
            module["type"] = f"sentence_transformers.models.{kind}"

    edit_modules(folder, rename)
    assert torch.equal(embed(load_folder(folder), list(TEXTS)), embed(load_folder(labse), list(TEXTS)))


def test_loading_leaves_the_random_state(labse):
    state = torch.get_rng_state()
    load_folder(labse)
    assert torch.equal(state, torch.get_rng_state())


# --- trained like everything else


def test_training_changes_the_projection_and_a_checkpoint_brings_it_back(labse):
    loaded = load_folder(labse)
    encoder = loaded.encoder.train()
    before = encoder.projection.linear.weight.detach().clone()
    batch = loaded.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    ids_BT, mask_BT = batch["input_ids"], batch["attention_mask"]
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    loss = info_nce(
        encoder(ids_BT, mask_BT),
        encoder(ids_BT.roll(1, 0), mask_BT.roll(1, 0)),
        torch.arange(len(TEXTS)),
        temperature=0.1,
        directions="two-way",
        mask_false_negatives=False,
        gather=False,
    )
    loss.backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    optimizer.step()
    assert not torch.equal(encoder.projection.linear.weight, before)

    checkpoint = encoder.state_dict()
    assert {name for name in checkpoint if not name.startswith("backbone.")} == {
        "projection.linear.weight",
        "projection.linear.bias",
    }
    fresh = load_folder(labse)
    fresh.encoder.load_state_dict(checkpoint)
    encoder.eval()
    assert torch.equal(embed(fresh, list(TEXTS)), embed(loaded, list(TEXTS)))


def test_without_a_projection_the_state_is_the_transformers_alone(tmp_path):
    assert all(name.startswith("backbone.") for name in tiny_model(tmp_path).encoder.state_dict())


def test_the_projection_stays_float32_under_autocast(labse):
    encoder = load_folder(labse).encoder
    pooled_BW = torch.randn(4, 32)
    with torch.autocast("cpu", torch.bfloat16):
        projected_BD = encoder.projection(pooled_BW)
        embeddings_BD = encoder(torch.tensor([[2, 7, 3]]), torch.ones(1, 3))
    assert torch.equal(projected_BD, encoder.projection(pooled_BW))
    assert embeddings_BD.dtype == torch.float32
    torch.testing.assert_close(embeddings_BD.norm(dim=-1), torch.ones(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_give_unit_vectors(tmp_path, dtype):
    backbone = tiny_model(tmp_path).encoder.backbone
    encoder = DualEncoder(backbone, "mean", Projection(DenseConfig(32, 7))).to(dtype)
    embeddings_BD = encoder(torch.tensor([[2, 7, 3]]), torch.ones(1, 3))
    assert embeddings_BD.shape == (1, 7)
    assert embeddings_BD.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


# --- identity


def test_the_digest_covers_the_dense_modules_files(folder, labse):
    model = ModelConfig(path=str(folder), max_passage_tokens=48)
    digest = weights_digest(model)
    assert digest == weights_digest(ModelConfig(path=str(labse)))

    def nudge(state):
        state["linear.bias"] += 1e-3

    edit_weights(folder, nudge)
    other = weights_digest(model)
    assert other != digest
    with pytest.raises(CheckpointError, match="has changed since"):
        load_start(model, 0, digest=digest)
    edit_dense(folder, activation_function="torch.nn.modules.activation.ReLU")
    assert weights_digest(model) not in (digest, other)
    assert load_start(model, 0).encoder.dimension == 32


# --- the hub


@pytest.mark.parametrize("torch_weights", [False, True])
def test_the_hub_gives_the_weights_of_every_module(labse, folder, tmp_path, monkeypatch, torch_weights):
    """The files a hub download asks for are enough; torch's only where a module has no safetensors."""
    state = load_file(folder / "2_Dense" / "model.safetensors")
    torch.save(state, folder / "2_Dense" / "pytorch_model.bin")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    if torch_weights:
        (folder / "2_Dense" / "model.safetensors").unlink()
    snapshot = tmp_path / "snapshots" / COMMIT

    def snapshot_download(hub_id, *, revision, allow_patterns, ignore_patterns=None):
        assert (hub_id, revision) == ("org/labse", COMMIT)
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, snapshot / name)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    loaded = load_start(ModelConfig(hub="org/labse", revision=COMMIT, max_passage_tokens=48), 0)
    assert torch.equal(embed(loaded, list(TEXTS)), embed(load_folder(labse), list(TEXTS)))
    found = sorted(file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*.bin"))
    assert found == (["2_Dense/pytorch_model.bin"] if torch_weights else [])


# --- folders that cannot be read


def without_bias(state):
    del state["linear.bias"]


def with_residual(state):
    state["residual.weight"] = torch.zeros(32, 32)


def of_another_size(state):
    state["linear.weight"] = torch.zeros(16, 32)


def as_empty_torch_weights(folder):
    (folder / "2_Dense" / "model.safetensors").unlink()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")


DENSE = r"2_Dense/config\.json has "
HARMS = {
    "unknown activation": (
        lambda f: edit_dense(f, activation_function="os.system"),
        DENSE
        + r"activation_function 'os.system', must be one of torch.nn's Identity, Tanh, ReLU, GELU, SiLU, Sigmoid;",
    ),
    "no activation": (lambda f: edit_dense(f, activation_function=None), DENSE + r"activation_function None, must be"),
    "odd activation": (lambda f: edit_dense(f, activation_function=["Tanh"]), DENSE + r"activation_function \['Tanh"),
    "two": (
        lambda f: edit_modules(f, lambda modules: modules.insert(3, modules[2])),
        r"lists the modules Transformer, Pooling, Dense, Dense, Normalize, must be .* at most one Dense",
    ),
    "before pooling": (
        lambda f: edit_modules(f, lambda modules: modules.insert(1, modules.pop(2))),
        r"lists the modules Transformer, Dense, Pooling, Normalize, must be .* in this order",
    ),
    "after normalisation": (
        lambda f: edit_modules(f, lambda modules: modules.append(modules.pop(2))),
        r"lists the modules Transformer, Pooling, Normalize, Dense, must be",
    ),
    "another's Dense": (
        lambda f: edit_modules(f, lambda modules: modules[2].update(type="theirs.models.Dense")),
        r"lists the modules Transformer, Pooling, theirs.models.Dense, Normalize, must be",
    ),
    "not the width": (
        lambda f: edit_dense(f, in_features=64),
        DENSE + r"in_features 64, must be 32, the transformer's width; copy the Dense module",
    ),
    "no width": (lambda f: edit_dense(f, in_features=None), DENSE + r"in_features None, must be a positive number"),
    "odd size": (lambda f: edit_dense(f, out_features=0), DENSE + r"out_features 0, must be a positive number"),
    "odd bias": (lambda f: edit_dense(f, bias="yes"), DENSE + r"bias 'yes', must be true or false"),
    "token vectors": (
        lambda f: edit_dense(f, module_input_name="token_embeddings"),
        DENSE + r"module_input_name 'token_embeddings', must be 'sentence_embedding'",
    ),
    "residual": (lambda f: edit_dense(f, use_residual=True), DENSE + r"use_residual True, must be false"),
    "no config": (lambda f: (f / "2_Dense/config.json").unlink(), r"2_Dense/config\.json is missing"),
    "no weights": (lambda f: (f / "2_Dense/model.safetensors").unlink(), r"2_Dense/model\.safetensors is missing"),
    "cut weights": (
        lambda f: (f / "2_Dense/model.safetensors").write_bytes(b"cut"),
        r"2_Dense/model\.safetensors cannot be read",
    ),
    "cut torch weights": (as_empty_torch_weights, r"2_Dense/pytorch_model\.bin cannot be loaded"),
    "a tensor short": (lambda f: edit_weights(f, without_bias), r"2_Dense/model\.safetensors holds .*, must hold"),
    "a tensor more": (lambda f: edit_weights(f, with_residual), r"holds .*residual.*, must hold"),
    "other sizes": (lambda f: edit_weights(f, of_another_size), r"holds .*\(16, 32\).*, must hold .*\(32, 32\)"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_broken_dense_module_is_refused_by_name(folder, harm):
    change, message = HARMS[harm]
    change(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_folder(folder)
    assert str(folder) in str(caught.value)


class _Trap:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_no_pickle_is_run(folder, tmp_path):
    (folder / "2_Dense" / "model.safetensors").unlink()
    torch.save({"linear.weight": _Trap(tmp_path / "ran")}, folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"2_Dense/pytorch_model\.bin cannot be loaded"):
        load_folder(folder)
    assert not (tmp_path / "ran").exists()
