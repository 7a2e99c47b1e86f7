"""What the ``model`` section takes from a preset, and what it refuses together."""

import re

import pytest
from pydantic import ValidationError

from xling.config import presets
from xling.config.identity import identity_fields, train_id, warm_id
from xling.config.labels import model_names
from xling.config.load import load_sweep
from xling.config.schema import CellConfig, DataConfig, ModelConfig


def id_of(**model):
    data = DataConfig.model_validate({"train": {"dataset": "geo"}})
    config = CellConfig(data=data, model=ModelConfig.model_validate(model))
    return train_id(config, training_fingerprint="t", weights_digest="w", warm_id=None)


@pytest.mark.parametrize("name", presets.names())
def test_what_is_given_and_equals_the_presets_own_is_the_same_cell(name):
    preset = presets.get(name)
    said = {"preset": name, "init": "pretrained"}
    if isinstance(preset, presets.HubPreset):
        fields = ("pooling", "query_prefix", "passage_prefix")
        said |= {field: getattr(preset, field) for field in fields} | {"layers": preset.shape.layers}
    else:
        said["vocab_size"] = 4000
    assert id_of(**said) == id_of(preset=name)


def test_prefixes_are_the_presets_own_unless_given():
    implied = ModelConfig(preset="e5-base")
    assert (implied.query_prefix, implied.passage_prefix) == ("query: ", "passage: ")
    assert identity_fields(implied)["query_prefix"] == "query: "
    bare = ModelConfig(preset="e5-base", query_prefix="", passage_prefix="")
    assert (bare.query_prefix, bare.passage_prefix) == ("", "")
    assert ModelConfig(preset="e5-base", query_prefix="Q ").passage_prefix == "passage: "
    assert len({id_of(preset="e5-base", query_prefix=prefix) for prefix in ("query: ", "", "Q ")}) == 3


@pytest.mark.parametrize("model", [{"preset": "e5-small", "query_prefix": ""}, {"preset": "labse", "pooling": "mean"}])
def test_a_section_is_the_same_after_a_round_trip(model):
    first = ModelConfig(**model)
    assert ModelConfig.model_validate(first.model_dump(mode="json")) == first


def test_every_field_that_changes_weights_changes_the_cell():
    cells = [{}, {"init": "random"}, {"layers": 2}, {"pooling": "cls"}, {"init": "random", "vocab_size": 900}]
    assert len({id_of(preset="base", **cell) for cell in cells}) == len(cells)
    assert id_of(preset="base", init="random", vocab_size=32_000) == id_of(preset="base", init="random")


def test_a_learnt_tokenizer_counts_for_a_warm_start():
    def of(training, **model):
        config = ModelConfig.model_validate({"path": "x", "warm_start": {}, **model})
        return warm_id(config, names_fingerprint="n", training_fingerprint=training, weights_digest="w")

    assert of("a") == of("b")
    assert of("a", init="random") != of("b", init="random")


CONFLICTS = [
    ({"preset": "tiny", "init": "random"}, "preset 'tiny' always is"),
    ({"hub": "a/b", "init": "random"}, "must be with a preset or a path"),
    ({"preset": "tiny", "revision": "v1"}, "revision needs hub"),
    ({"path": "x", "revision": "v1"}, "revision needs hub"),
    ({"preset": "base", "init": "random", "revision": "v1"}, "revision needs hub"),
    ({"preset": "base", "trust_remote_code": True}, "trust_remote_code needs path or hub"),
    ({"preset": "base", "vocab_size": 500}, "vocab_size needs a tokenizer that is learnt"),
    ({"preset": "base", "layers": 13}, "must be within 1..12"),
    ({"preset": "mid", "layers": 3}, "must be within 1..2"),
]


@pytest.mark.parametrize(("model", "message"), CONFLICTS)
def test_what_cannot_go_together_is_refused(model, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        ModelConfig(**model)


def test_a_preset_of_the_hub_may_be_pinned():
    assert ModelConfig(preset="base", revision="v1").revision == "v1"


def test_the_architecture_is_the_configured_one():
    assert ModelConfig(preset="large", layers=2).architecture.parameters < presets.get("large").parameters() / 1.9
    assert ModelConfig(preset="base", init="random", vocab_size=900).architecture.vocab_size == 900
    assert ModelConfig(preset="tiny", max_passage_tokens=48).architecture.max_tokens == 96
    assert ModelConfig(path="x").architecture is None


def test_models_that_differ_in_what_is_done_to_them_have_names_of_their_own():
    models = [
        {"preset": "base"},
        {"preset": "base", "init": "random"},
        {"preset": "base", "layers": 2},
        {"preset": "base", "revision": "v1"},
        {"preset": "base", "init": "random", "vocab_size": 900},
        {"preset": "small", "init": "random"},
    ]
    names = ["base", "base-random", "base-2layers", "base-v1", "base-random-900tokens", "small"]
    assert model_names([ModelConfig(**model) for model in models]) == names


def test_a_model_cut_by_an_axis_of_its_own_is_named_once(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "name: s\ndata: {train: {dataset: geo}, evaluate: [{dataset: geo}]}\n"
        "grid:\n  - model.preset: [small, large]\n  - model.layers: [1, null]\n"
    )
    cells = load_sweep(tmp_path / "s.yaml").cells
    assert [cell.label for cell in cells] == [
        "small/layers1",
        "small/layers-none",
        "large/layers1",
        "large/layers-none",
    ]
    assert [cell.model_name for cell in cells] == ["small-1layers", "small", "large-1layers", "large"]
