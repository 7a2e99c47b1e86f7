import subprocess
import sys
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.config import identity
from xling.config.dotted import known_paths, slot_at, split
from xling.config.identity import (
    canonical_json,
    comparison_group,
    eval_id,
    identity_fields,
    train_id,
    training_key,
    warm_id,
)
from xling.config.schema import CellConfig, DataConfig, EvaluationConfig, ModelConfig, PairsConfig, Section
from xling.config.schema import identity as identity_field

CELL: dict[str, Any] = {
    "data": {"train": {"dataset": "geo"}},
    "model": {"preset": "tiny", "warm_start": {"steps": 20, "lr": 5e-3}},
    "mix": {"monolingual": 0.25},
    "train": {"lr": 4e-3, "budget": {"steps": 30}, "betas": (0.8, 0.9)},
    "seed": 7,
    "evaluation": {"index": {"kind": "ivf"}},
}


def cell(**changes: Any) -> CellConfig:
    return CellConfig.model_validate({**CELL, **changes})


def id_of(config: CellConfig) -> str:
    warm = "0123" if config.model.warm_start is not None else None
    return train_id(config, training_fingerprint="abc", weights_digest="preset:tiny", warm_id=warm)


def warm_of(config: CellConfig, names: str = "n", training: str = "t", weights: str = "w") -> str:
    return warm_id(config.model, names_fingerprint=names, training_fingerprint=training, weights_digest=weights)


# Golden values: whoever changes one of these orphans every result trained before.


def test_ids_are_what_they_always_were():
    assert identity.TRAINING_VERSION == 2, "a new version: put the new ids here"
    assert identity.EVALUATION_VERSION == 2, "a new version: put the new id here"
    plain = CellConfig(data=DataConfig.model_validate({"train": {"dataset": "geo"}}), model=ModelConfig(preset="tiny"))
    assert id_of(plain) == "6a26d42c89b2d77cb9b4"
    assert id_of(cell()) == "878041fd47863e25d617"
    assert warm_of(cell()) == "cc8fc3c000f451f39175"
    assert eval_id(id_of(cell()), "def", EvaluationConfig()) == "e6598abe0e2e624293a5"


def test_what_is_hashed_is_what_it_always_was():
    assert canonical_json(identity_fields(cell())) == (
        '{"mix":{"cross_lingual":0.75,"monolingual":0.25},'
        '"model":{"preset":"tiny","warm_start":{"lr":0.005,"steps":20}},"seed":7,'
        '"train":{"betas":[0.8,0.9],"budget":{"steps":30},"lr":0.004}}'
    )


IDENTITY_DEFAULTS = {
    "mix.cross_lingual": 0.5,
    "mix.cross_lingual_by": "batch",
    "mix.max_epochs": None,
    "mix.mixed_monolingual": 0.0,
    "mix.monolingual": 0.5,
    "mix.pairs": "all",
    "mix.sampling_temperature": 1.0,
    "model.dropout": None,
    "model.hub": None,
    "model.init": "pretrained",
    "model.layers": None,
    "model.max_passage_tokens": 256,
    "model.max_query_tokens": 96,
    "model.passage_prefix": "",
    "model.pooling": None,
    "model.preset": None,
    "model.query_prefix": "",
    "model.vocab_size": None,
    "model.warm_start.batch_size": 128,
    "model.warm_start.lr": 3e-3,
    "model.warm_start.seed": 0,
    "model.warm_start.steps": 300,
    "seed": 0,
    "train.batch_size": 64,
    "train.betas": (0.9, 0.98),
    "train.budget.examples": None,
    "train.budget.flops": None,
    "train.budget.steps": None,
    "train.clip": 1.0,
    "train.decay": "linear",
    "train.dev_every": None,
    "train.dev_measure": "mAP",
    "train.dev_pool": 1024,
    "train.directions": "one-way",
    "train.hard_negatives": 0,
    "train.keep": "last",
    "train.lr": 3e-5,
    "train.patience": None,
    "train.target_dev": None,
    "train.mask_false_negatives": True,
    "train.precision": "auto",
    "train.temperature": 0.05,
    "train.warmup": 0.1,
    "train.weight_decay": 0.01,
}


def fields(path: str) -> list[Any]:
    """The schema's fields from the root down to a path."""
    found, section = [], CellConfig
    for name in path.split("."):
        found.append(section.model_fields[name])
        below = slot_at(section, (name,))
        assert below is not None
        section = below.section
    return found


def leaves() -> list[str]:
    """Paths to values. One that takes a section in a plain value's place is a value; what is in the section is not."""
    paths = [path for path in known_paths(CellConfig) if ".0" not in path]
    plain = [path for path in paths if isinstance(fields(path)[-1].default, float | int | str)]
    values = [path for path in paths if path in plain or slot_at(CellConfig, split(path)).section is None]
    return [path for path in values if not any(path.startswith(f"{other}.") for other in plain)]


def is_identity(path: str) -> bool:
    return all((field.json_schema_extra or {}).get("identity", False) for field in fields(path))


def test_identity_defaults_are_what_they_always_were():
    """A default that changes: leave this table alone and name the old default as ``identity_default``."""
    assert {path for path in leaves() if is_identity(path)} == IDENTITY_DEFAULTS.keys(), "a new field: add it here"
    for path, default in IDENTITY_DEFAULTS.items():
        field = fields(path)[-1]
        assert field.json_schema_extra.get("identity_default", field.default) == default, path


# Which changes count


def other_value(annotation: Any, value: Any) -> Any:
    """Some value of the annotated type that differs from the given one."""
    if get_origin(annotation) is Annotated:
        return other_value(get_args(annotation)[0], value)
    if get_origin(annotation) in (Union, types.UnionType):
        return other_value(next(option for option in get_args(annotation) if option is not type(None)), value)
    if get_origin(annotation) is Literal:
        return next(option for option in get_args(annotation) if option != value)
    if get_origin(annotation) is tuple:
        if get_args(annotation)[-1] is not Ellipsis:
            return tuple(other_value(part, old) for part, old in zip(get_args(annotation), value, strict=True))
        return tuple(value or ()) + (value[0],) if value else ("xx",)
    if get_origin(annotation) is dict:
        return {**value, "xx": other_value(get_args(annotation)[1], None)}
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation()
    if annotation is bool:
        return not value
    if annotation is str:
        return f"{value}x"
    return (value or 0) + {int: 1, float: 0.0625}[annotation]


def changed(config: Section, path: str) -> Section:
    """A copy with another value at a path; not validated, as rules across fields do not matter here."""
    name, _, rest = path.partition(".")
    value = getattr(config, name)
    if name == "pairs":
        return config.model_copy(update={name: PairsConfig(pivot="en")})
    new = changed(value, rest) if rest else other_value(type(config).model_fields[name].annotation, value)
    assert new != value
    return config.model_copy(update={name: new})


@pytest.mark.parametrize("path", [path for path in leaves() if is_identity(path)])
def test_every_identity_field_changes_the_id(path):
    assert id_of(changed(cell(), path)) != id_of(cell())


@pytest.mark.parametrize("path", [path for path in leaves() if not is_identity(path) and path != "data.evaluate"])
def test_no_other_field_changes_the_id(path):
    assert id_of(changed(cell(), path)) == id_of(cell())


def test_evaluation_sets_do_not_change_the_id():
    data = {**CELL["data"], "evaluate": ({"dataset": "geo"}, {"dataset": "lareqa", "path": "x"})}
    assert id_of(cell(data=data)) == id_of(cell())


def test_what_is_outside_a_cell_cannot_change_the_id(sweeps):
    def ids(*overrides):
        return [id_of(cell.config) for cell in sweeps.load(sweeps.base, *overrides).cells]

    once = ids()
    assert ids("name=other", "storage=/elsewhere", "tracking.uri=http://x", "retries=0") == once
    assert ids("grid=[{seed: [0, 1]}]")[:1] == once


def test_the_data_the_weights_and_the_warm_start_change_the_id():
    given = {"training_fingerprint": "abc", "weights_digest": "w", "warm_id": "1"}
    once = train_id(cell(), **given)
    for name in given:
        assert train_id(cell(), **{**given, name: "other"}) != once


def test_a_new_version_changes_the_ids(monkeypatch):
    trained, warmed = id_of(cell()), warm_of(cell())
    monkeypatch.setattr(identity, "TRAINING_VERSION", 3)
    assert id_of(cell()) != trained
    assert warm_of(cell()) != warmed
    scored = eval_id("x", "y", EvaluationConfig())
    monkeypatch.setattr(identity, "EVALUATION_VERSION", 3)
    assert eval_id("x", "y", EvaluationConfig()) != scored


def test_whatever_a_schedule_or_a_choice_of_pairs_says_changes_the_id():
    mixes = [
        {"monolingual": 0.5},
        *({"monolingual": {form: {"start": 1.0, "end": 0.0}}} for form in ("linear", "cosine")),
        {"monolingual": {"linear": {"start": 1.0, "end": 0.0, "until": 0.5}}},
        {"monolingual": {"linear": {"start": 0.0, "end": 1.0}}},
        {"monolingual": {"steps": [[0, 1.0], [0.5, 0.0]]}},
        {"monolingual": {"steps": [[0, 1.0], [0.6, 0.0]]}},
        {"monolingual": 0.5, "pairs": {"pivot": "en"}},
        {"monolingual": 0.5, "pairs": {"pivot": "de"}},
        {"monolingual": 0.5, "pairs": {"only": ["ar-en", "en-de"]}},
        {"monolingual": 0.5, "pairs": {"only": ["en-ar", "en-de"]}},
        {"monolingual": 0.5, "max_epochs": 1},
    ]
    assert len({id_of(cell(mix=mix)) for mix in mixes}) == len(mixes)


def test_the_order_of_listed_pairs_does_not_change_the_id():
    one, other = (cell(mix={"pairs": {"only": only}}) for only in (["ar-en", "en-de"], ["en-de", "ar-en"]))
    assert id_of(one) == id_of(other)


@pytest.mark.parametrize(
    ("unit", "hard_negatives", "expected"),
    [
        ("flops", 4, "d5cb0e95f29ca5ee404e"),  # 82503514c56ef9c47041 while the budget left hard negatives out
        ("flops", 0, "c1e2660747c9e57ab466"),
        ("steps", 4, "ebe1d6717472bd8a75bf"),
    ],
)
def test_only_a_budget_in_flops_with_hard_negatives_has_another_id_since_it_counts_them(unit, hard_negatives, expected):
    config = cell(model={"preset": "tiny"}, train={"budget": {unit: 30}, "hard_negatives": hard_negatives})
    config = CellConfig(data=config.data, model=config.model, train=config.train)
    assert id_of(config) == expected


def test_a_warm_start_of_defaults_differs_from_none():
    warmed = cell(model={"preset": "tiny", "warm_start": {}})
    assert identity_fields(warmed)["model"] == {"preset": "tiny", "warm_start": {}}
    assert id_of(warmed) != id_of(cell(model={"preset": "tiny"}))


def test_spelling_out_a_default_changes_nothing():
    spelt = cell(train={**CELL["train"], "batch_size": 64, "weight_decay": 0.01, "clip": 1, "warmup": 0.1})
    assert id_of(spelt) == id_of(cell())


def test_whole_numbers_in_float_fields_hash_as_floats():
    with_int, with_float = (cell(train={"lr": lr, "clip": lr, "betas": (0, lr / 4)}) for lr in (2, 2.0))
    assert id_of(with_int) == id_of(with_float)


def test_fields_added_later_leave_ids_alone_and_changed_defaults_keep_their_meaning():
    class Before(Section):
        lr: float = identity_field("Rate.", default=1.0)

    class After(Section):
        lr: float = identity_field("Rate.", default=2.0, identity_default=1.0)
        added: int = identity_field("New.", default=3)
        note: str = "not part of it"

    assert identity_fields(After(lr=1.0)) == identity_fields(Before())
    assert identity_fields(After()) == identity_fields(Before(lr=2.0)) == {"lr": 2.0}
    assert identity_fields(After(lr=1.0, added=4)) == {"added": 4}


# Warm starts


def test_a_warm_start_is_shared_by_what_only_fine_tunes_differently():
    once = warm_of(cell())
    assert warm_of(cell(seed=1, mix={"monolingual": 1}, train={"lr": 1, "temperature": 1})) == once
    assert warm_of(cell(model={**CELL["model"], "revision": None})) == once


@pytest.mark.parametrize("path", [path[6:] for path in leaves() if path.startswith("model.") and is_identity(path)])
def test_every_identity_field_of_the_model_changes_its_warm_start(path):
    model = changed(cell().model, path)
    assert warm_of(cell().model_copy(update={"model": model})) != warm_of(cell())


def test_a_warm_start_depends_on_names_and_weights_and_for_presets_on_the_text_behind_the_tokenizer():
    once = warm_of(cell())
    assert warm_of(cell(), names="m") != once
    assert warm_of(cell(), weights="v") != once
    assert warm_of(cell(), training="u") != once
    hub = cell(model={"hub": "org/model", "warm_start": {}})
    assert warm_of(hub, training="t") == warm_of(hub, training="u")


# Scores


def test_scores_depend_on_the_model_and_the_set_but_not_on_how_they_are_computed():
    once = eval_id("model", "set", EvaluationConfig())
    assert eval_id("other", "set", EvaluationConfig()) != once
    assert eval_id("model", "other", EvaluationConfig()) != once
    assert eval_id("model", "set", EvaluationConfig(batch_size=3, batch_tokens=9, run_files=True, run_depth=7)) == once


def test_scores_depend_on_what_is_searched_and_how_deep():
    ways = [
        {},
        {"index": {"kind": "flat"}},
        {"index": {"kind": "ivf"}},
        {"index": {"kind": "ivf", "nprobe": 8}},
        {"depth": 100},
        {"memory_budget": "2GiB"},
        {"embedding_dtype": "float16"},
    ]
    ids = [eval_id("model", "set", EvaluationConfig.model_validate(way)) for way in ways]
    assert len(set(ids)) == len(ways)
    assert eval_id("model", "set", EvaluationConfig(memory_budget="4.0 GiB", keep_embeddings=True)) == ids[0]


# Spelling


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_exact_value(number):
    assert float(canonical_json(number)) == number


def test_equal_numbers_are_spelt_alike_and_text_is_not_a_number():
    assert canonical_json([1, 1.0, 0.0, -0.0, 1e3]) == "[1,1,0,0,1000]"
    assert canonical_json((0.1, 1e-5)) == "[0.1,1e-05]"
    assert canonical_json("1") != canonical_json(1)
    assert canonical_json(True) != canonical_json(1)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_have_no_spelling(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": [number]})


def test_ids_do_not_depend_on_the_process():
    code = "from xling.config.identity import _digest; print(_digest('x', b={'z': 1, 'a': [2.0]}, a=None))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(runs) == 1
    assert len(runs.pop().strip()) == 20


# Which cells are one


def test_the_key_of_a_cell_tells_trainings_apart():
    once = training_key(cell())
    assert training_key(cell(retries=0, resources={"workers": 2})) == once
    assert training_key(cell(seed=8)) != once
    assert training_key(cell(data={"train": {"dataset": "geo", "languages": ("en", "de")}})) != once
    by_path = {"path": "/a"}
    assert training_key(cell(model=by_path)) != training_key(cell(model={"path": "/b"}))


def group(config, *tuned, **more):
    data = {"training_fingerprint": "t", "weights_digest": "w", "warm_id": None, "dev_fingerprint": "d", **more}
    return comparison_group(config, tuned, **data)


def test_a_group_leaves_out_what_is_tuned_and_nothing_else(one_cell):
    text = "name: a\ndata: {train: {dataset: geo}}\nmodel: {preset: tiny}\n"
    plain, fast = one_cell(text), one_cell(text, "train.lr=1e-2")
    assert group(plain, "train.lr") == group(fast, "train.lr")  # 3e-5 is the default: ids leave it out
    assert group(plain, "train.lr") == group(fast, "train.lr", "train.clip")
    assert group(plain, "train.clip") != group(fast, "train.clip")
    others = [
        one_cell(text, override)
        for override in ("seed=1", "mix.monolingual=0.1", "train.clip=2", "model.max_query_tokens=8")
    ]
    groups = [group(config, "train.lr") for config in (plain, *others)]
    groups += [group(plain, "train.lr", **{name: "x"}) for name in ("training_fingerprint", "weights_digest")]
    groups += [group(plain, "train.lr", warm_id="x"), group(plain, "train.lr", dev_fingerprint="x")]
    assert len(set(groups)) == len(groups)


def test_a_group_tells_an_optional_section_from_none(one_cell):
    text = "name: a\ndata: {train: {dataset: geo}}\nmodel: {preset: tiny}\n"
    configs = [one_cell(text), one_cell(text, "model.warm_start={}"), one_cell(text, "model.warm_start.steps=5")]
    assert len({group(config, "train.lr") for config in configs}) == 3


def test_a_tuned_section_is_left_out_whole(one_cell):
    text = "name: a\ndata: {train: {dataset: geo}}\nmodel: {preset: tiny}\n"
    assert group(one_cell(text), "train") == group(one_cell(text, "train.batch_size=32"), "train")


def several(*weights: float) -> CellConfig:
    listed = [{"dataset": "mkqa", "path": str(number), "weight": weight} for number, weight in enumerate(weights)]
    return cell(data={"train": listed})


def test_weights_of_training_sets_are_part_of_the_identity_by_their_ratios():
    assert id_of(several(1.0, 2.0)) == id_of(several(0.5, 1.0)) != id_of(several(2.0, 1.0))
    assert id_of(several(3.0, 3.0)) == id_of(several(1.0, 1.0)) == id_of(cell()), "the data come in by fingerprint"
    assert warm_of(several(1.0, 2.0)) == warm_of(several(1.0, 1.0))
    assert training_key(several(1.0, 2.0)) != training_key(several(1.0, 1.0)) == training_key(several(2.0, 2.0))
