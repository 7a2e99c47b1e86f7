"""The list of all settings, and the schema for editors, say what the sweep file's own reader does."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from xling.config.document import parse_value, read_document
from xling.config.dotted import known_paths
from xling.config.schema import SweepConfig
from xling.config.settings import editor_schema, settings
from xling.config.show_settings import show_settings
from xling.errors import ConfigError

SETTINGS = {one.path: one for one in settings()}
SWEEPS = sorted(Path(__file__).parents[2].glob("sweeps/*.yaml"))
EDITOR = Draft202012Validator(editor_schema())


def shown(wanted=None, **options) -> str:
    console = Console(width=80, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        show_settings(wanted, console, **{"as_json": False, **options})
    return capture.get()


def test_every_path_of_the_schema_is_listed_once():
    assert [one.path.replace(".NAME", ".0") for one in settings()] == known_paths(SweepConfig)


def is_left_to_its_section(path: str) -> bool:
    """What cannot be given by itself: in a section that is not there by default, or in an entry of a list."""
    above = [".".join(path.split(".")[:depth]) for depth in range(1, len(path.split(".")))]
    return any(part in ("0", "NAME") for part in path.split(".")) or any(
        SETTINGS[name].default in ("null", "{steps: 300}") or " or section" in SETTINGS[name].values for name in above
    )


@pytest.mark.parametrize("path", [path for path in SETTINGS if not is_left_to_its_section(path)])
def test_a_default_is_what_holds_where_nothing_is_given(path, sweeps):
    """Given as it is listed it changes nothing; and what must be given is missed."""
    default = SETTINGS[path].default
    if default is None:
        raw = parse_value(sweeps.base)
        *above, last = path.split(".")
        section = raw
        for name in above:
            section = section[name]
        del section[last]
        assert f"{path} is missing" in sweeps.problems(json.dumps(raw))[0]
    elif path == "model.preset":  # one of several, of which the base has this one
        assert default == "null"
    elif default:
        given, plain = (sweeps.load(sweeps.base, *more) for more in ([f"{path}={default}"], []))
        assert given.config == plain.config


@pytest.mark.parametrize(
    ("path", "anew", "tuning"),
    [
        ("train.lr", "training", True),
        ("train.batch_size", "training", False),
        ("train.chunk_size", "", False),
        ("data.train.weight", "training", False),
        ("model.warm_start.lr", "training", False),
        ("mix.pairs.pivot", "training", False),
        ("evaluation.index.nlist", "scores", False),
        ("evaluation.batch_size", "", False),
        ("resources.workers", "", False),
    ],
)
def test_it_says_what_another_value_makes_anew(path, anew, tuning):
    assert (SETTINGS[path].anew, SETTINGS[path].tuning) == (anew, tuning)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("train.decay", "linear, cosine or constant"),
        ("model.dropout", "number at least 0 and below 1"),
        ("model.vocab_size", "whole number from 100 to 500000"),
        ("mix.monolingual", "number from 0 to 1 or section"),
        ("data.train", "section or list, each section"),
        ("train.betas", "list of 2, each number at least 0 and below 1"),
        ("resources.labels", "section NAME: text"),
        ("tracking.system_metrics", "true or false"),
    ],
)
def test_values_are_told_in_words(path, words):
    assert SETTINGS[path].values == words


def test_a_section_a_name_or_a_word_finds_settings():
    assert shown("train.budget").split("\n")[0] == "train.budget: {steps: 300}"
    assert shown("budget").count("\ntrain.budget.") == 3
    assert "train.clip: 1.0\n    Largest gradient norm; null for no clipping. [number above 0; trained anew;" in (
        shown("gradient norm")
    )
    assert [one["path"] for one in json.loads(shown("lr", as_json=True))] == ["model.warm_start.lr", "train.lr"]
    with pytest.raises(ConfigError, match=r"train\.bugdet is not a known setting; did you mean train\.budget"):
        shown("train.bugdet")


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("data.train.0.weight", "data.train.weight"),
        ("data.evaluate.1.path", "data.evaluate.0.path"),
        ("data.evaluate.path", "data.evaluate.0.path"),
        ("data.train.0", "data.train"),
        ("resources.by_model.tiny.workers", "resources.by_model.NAME.workers"),
        ("train.betas.0", "train.betas"),
        ("mix.monolingual.steps.0", "mix.monolingual.steps"),
        ("batch size", "model.warm_start.batch_size"),
        ("early stopping", "early_stopping"),
        ("two-way", "train.directions"),
        ("ASHA", "early_stopping"),
    ],
)
def test_whatever_names_a_setting_finds_it(wanted, path):
    assert json.loads(shown(wanted, as_json=True))[0]["path"] == path


def test_none_is_written_null(sweeps):
    assert sweeps.problems(sweeps.base, "train.clip=none") == [
        "--set: train.clip is 'none', must be a number; write null for none"
    ]


# The schema for editors


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_editors_find_nothing_wrong_with_a_sweep(file):
    assert not list(EDITOR.iter_errors(read_document(file).data))


def test_editors_know_the_schema_and_find_mistakes():
    Draft202012Validator.check_schema(editor_schema())
    base = {"name": "small", "data": {"train": {"dataset": "geo"}}, "grid": [{"model.preset": ["tiny"], "seed": [0]}]}
    assert EDITOR.is_valid(base)
    assert EDITOR.is_valid({**base, "grid": [{"data.evaluate.1.path": ["a", "b"]}]})  # a list's entries have any number
    for wrong in (
        {"data": base["data"]},
        {"trian": {}},
        {"train": {"lr": 0}},
        {"train": {"lr": "fast"}},
        {"train": {"decay": "liner"}},
        {"grid": {"seed": [0]}},
        {"grid": [{"seed": 0}]},
        {"mix": {"monolingual": {"linear": {"start": 2, "end": 0}}}},
    ):
        assert not EDITOR.is_valid({**base, **wrong} if "data" not in wrong else wrong), wrong


def test_editors_show_what_a_setting_means():
    train = editor_schema()["$defs"]["TrainConfig"]["properties"]
    assert train["lr"] == {
        "default": 3e-5, "description": "Peak learning rate.", "exclusiveMinimum": 0, "type": "number"
    }  # fmt: skip
    assert editor_schema()["properties"]["grid"]["items"]["properties"]["train.lr"]["description"]
