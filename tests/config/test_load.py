import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from xling.config.document import parse_value
from xling.config.dotted import known_paths
from xling.config.load import load_sweep
from xling.config.messages import sentence
from xling.config.schema import CellConfig, SweepConfig, TrainConfig
from xling.errors import ConfigError

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_sweep_loads(path, monkeypatch):
    for name in re.findall(r"\$\{?(\w+)", path.read_text()):
        monkeypatch.setenv(name, "/somewhere")
    loaded = load_sweep(path)
    assert loaded.cells
    assert loaded.config.name == path.stem


def test_the_demo_is_three_sizes_by_three_mixes():
    cells = load_sweep(SWEEPS / "demo.yaml").cells
    assert [cell.label for cell in cells] == [
        f"{size}/a{alpha}/s0" for size in ("tiny", "mini", "mid") for alpha in (0, 0.5, 1)
    ]
    rates = {cell.model_name: (cell.config.train.lr, cell.config.model.warm_start.lr) for cell in cells}
    assert rates == {"tiny": (3e-3, 5e-3), "mini": (1.5e-3, 3e-3), "mid": (1.5e-3, 2e-3)}
    assert {cell.config.model.warm_start.steps for cell in cells} == {300}


@pytest.mark.parametrize(
    ("study", "cells", "labels"),
    [
        ("size_x_ratio", 45, ("small/a0/s0", "small/a0/s1", "large/a1/s2")),
        ("hybrid_batches", 6, ("base/a1", "base/a0", "labse/a0.5")),
    ],
)
def test_the_studies_multiply_models_and_mixes(study, cells, labels, monkeypatch):
    monkeypatch.setenv("XLING_DATA", "/somewhere")
    found = [cell.label for cell in load_sweep(SWEEPS / f"{study}.yaml").cells]
    assert len(found) == cells
    assert (*found[:2], found[-1]) == labels


def test_paths_are_left_as_written_where_places_do_not_matter(sweeps, monkeypatch):
    monkeypatch.delenv("XLING_NOT_SET", raising=False)
    text = sweeps.base.replace("{preset: tiny}", "{path: $XLING_NOT_SET/x}")
    sweeps.write(text)
    (cell,) = load_sweep(sweeps.path, places=False).cells
    assert cell.config.model.path == "$XLING_NOT_SET/x"


# What YAML means


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-3", 0.002),
        ("1.5E+2", 150.0),
        (".5", 0.5),
        ("7.", 7.0),
        ("1e6", 1_000_000),
        ("010", 10),
        ("-3", -3),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'2e-3'", "2e-3"),
        ("true", True),
        ("null", None),
        ("", None),
        ("~", None),
        ("[no, de]", ["no", "de"]),
        ("{steps: 3}", {"steps": 3}),
    ],
)
def test_values_follow_yaml_1_2(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


_TEXTS = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(_VALUES)
def test_every_json_value_is_read_as_itself(value):
    assert parse_value(json.dumps(value, ensure_ascii=False)) == value


def test_a_quoted_number_is_text_and_refused(sweeps):
    assert sweeps.problems(sweeps.base + "train: {lr: '2e-3'}\n") == ["s.yaml:5: train.lr is '2e-3', must be a number"]


def test_anchors_and_merges_work(one_cell):
    config = one_cell("""\
        name: small
        data: {train: &set {dataset: geo, languages: [en, "no"]}, evaluate: [{<<: *set, split: dev}, *set]}
        model: {preset: tiny}
    """)
    assert config.data.evaluate[0].languages == ("en", "no")
    assert [entry.split for entry in config.data.evaluate] == ["dev", None]


# Files that are no sweeps


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "s.yaml: is empty"),
        (b"# only a comment\n", "s.yaml: is empty"),
        (b"- 1\n- 2\n", "s.yaml:1: holds no settings"),
        (b"name: [1\n", "s.yaml:2: is not YAML"),
        (b"name: a: b\n", "s.yaml:1: is not YAML at column 8: .* put text that holds ': ' in quotes"),
        (b"model:\n\tpreset: tiny\n", "s.yaml:2: .*indent with spaces"),
        (b"name: a\n---\nname: b\n", "s.yaml:2: is not YAML.*another document"),
        (b"name: *missing\n", "s.yaml:1: is not YAML.*undefined alias"),
        (b"model: &m [*m]\n", "s.yaml:1: an alias makes the file expand without end"),
        (b"[" * 5000, "s.yaml: is nested too deeply"),
        (b"\x80\x02\xff\xfe\x00", "s.yaml: is not a text file in UTF-8"),
        (b"name: \x00\x01", "s.yaml: is not a text file"),
        (b"!!python/object/apply:os.getcwd []\n", "s.yaml: has the tag !!python/object/apply:os.getcwd"),
    ],
)
def test_a_file_that_is_no_sweep_is_named_with_the_reason(sweeps, content, message):
    sweeps.path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_sweep(Path("s.yaml"))
    assert len(caught.value.problems) == 1


def test_aliases_cannot_make_a_file_explode(sweeps):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (problem,) = sweeps.problems("\n".join(lines))
    assert "expand without end" in problem


def test_a_missing_file_names_the_nearest(sweeps):
    sweeps.write(sweeps.base)
    with pytest.raises(ConfigError, match=r"^z\.yaml: there is no such file; did you mean s\.yaml\?$"):
        load_sweep(Path("z.yaml"))
    with pytest.raises(ConfigError, match=r"there is no such file$"):
        load_sweep(Path("nowhere/z.yaml"))
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load_sweep(Path())


def test_a_key_given_twice_is_refused(sweeps):
    assert sweeps.problems(sweeps.base + "seed: 1\nseed: 2\n") == ["s.yaml:6: seed is given twice, first in line 5"]


# What the schema refuses


def test_all_problems_come_at_once_each_with_its_line(sweeps):
    text = """\
        name: my sweep
        storage: $XLING_NOT_SET/runs
        data:
          train: {dataset: geo, languages: en}
          evaluate:
            - {split: test}
        model:
          preset: tiny
          dropout: 1.5
        mix: {monolingual: 1.4}
        train:
          batch_size: many
          learning: 3
          betas: [0.9]
          lr: true
          decay:
          budget: {steps: 10.0}
        tracking:
        grid:
          - train.warmup: [0.1, -1]
          - train.sede: [1]
    """
    assert sweeps.problems(text, "model.prset=mini", "seed=x", "retries") == [
        "--set: model.prset is not a known setting; did you mean model.preset?",
        "--set: 'retries' is not path=value, as in train.lr=2e-3",
        "--set: seed is 'x', must be a whole number",
        "s.yaml:1: name is 'my sweep', must be letters, digits, '.', '_' and '-', the first a letter or digit",
        "s.yaml:2: storage is '$XLING_NOT_SET/runs', but the environment variable XLING_NOT_SET is not set; "
        "set it or write the path out",
        "s.yaml:4: data.train.languages is 'en', must be a list; write [en]",
        "s.yaml:6: data.evaluate.0.dataset is missing, must be given: "
        "name of a registered data set (`xling data list` lists them)",
        "s.yaml:9: model.dropout is 1.5, must be at least 0 and below 1",
        "s.yaml:10: mix.monolingual is 1.4, must be within 0..1",
        "s.yaml:12: train.batch_size is 'many', must be a whole number",
        f"s.yaml:13: train.learning is not a known setting; train has {', '.join(TrainConfig.model_fields)}",
        "s.yaml:14: train.betas is [0.9], must be a list of 2 values",
        "s.yaml:15: train.lr is true, must be a number",
        "s.yaml:16: train.decay is empty, must be one of 'linear', 'cosine', 'constant'",
        "s.yaml:17: train.budget.steps is 10.0, must be a whole number; write 10",
        "s.yaml:18: tracking is empty, must be a section with keys such as uri, experiment, system_metrics, log_models",
        "s.yaml:20: grid: train.warmup is -1, must be within 0..1",
        "s.yaml:21: grid: train.sede is not a known setting; did you mean seed?",
    ]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("train: {batchsize: 3}", "train.batch_size"),
        ("trian: {lr: 3}", "train"),
        ("model: {preset: tiny, warm_start: {step: 3}}", "model.warm_start.steps"),
        ("temperature: 0.05", "train.temperature"),
        ("monolingual: 0.05", "mix.monolingual"),
        ("data: {train: {dataset: geo}, evaluate: [{dataset: geo, spilt: dev}]}", "data.evaluate.0.split"),
    ],
)
def test_an_unknown_key_gets_the_nearest_valid_path(sweeps, given, meant):
    key = given.split(":")[0]
    base = "".join(line for line in sweeps.base.splitlines(True) if not line.startswith((key, "  ")))
    base = base.replace("data:\n", "" if key == "data" else "data: {train: {dataset: geo}}\n")
    (problem,) = sweeps.problems(base + given + "\n")
    assert problem.endswith(f"is not a known setting; did you mean {meant}?")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mix: {monolingual: 0.9, mixed_monolingual: 0.3}", "mix: shares sum to 1.2, must sum to 1"),
        ("train: {budget: {steps: 3, flops: 1e9}}", "train.budget needs exactly one of steps, examples and flops, "),
        ("train: {keep: best}", "train: keep: best needs dev_every"),
        ("train: {patience: 3}", "train: patience: 3 needs dev_every, the steps between dev measurements"),
        (f"train: {{patience: 1{'0' * 399}}}", "train: patience: 1000"),
        (f"mix: {{monolingual: 1{'0' * 399}}}", "mix.monolingual is 1000"),
        ("seed: 18446744073709551616", "seed is 18446744073709551616, must be within 0..18446744073709551615"),
        ("train: {target_dev: 0.8}", "train: target_dev: 0.8 needs dev_every, the steps between dev measurements"),
        (
            "train: {target_dev: 1.5, dev_every: 5}",
            "train: target_dev is 1.5, must be at most 1 for mAP; for a loss set dev_measure",
        ),
        (
            "train: {dev_pool: 64}",
            "train: dev_pool: 64 needs dev_measure: loss, mAP has no pool; set that, or remove it",
        ),
        (
            "train: {batch_size: 16, budget: {examples: 15}}",
            "train.budget.examples is 15, must be at least one batch (16), or nothing is trained; raise it or lower",
        ),
        ("resources: {workers: 3}", "train.batch_size is 64, must divide by resources.workers (3)"),
    ],
)
def test_settings_that_conflict_name_their_section(sweeps, text, problem):
    (found,) = sweeps.problems(sweeps.base + text + "\n")
    of_the_file = ("train.batch_size", "train.budget.examples")  # checks over several sections have no line
    line = "s.yaml: " if problem.startswith(of_the_file) else "s.yaml:5: "
    assert found.startswith(line + problem)


def test_a_model_needs_one_source(sweeps):
    base = sweeps.base.replace("{preset: tiny}", "{preset: tiny, path: models/x}")
    assert sweeps.problems(base) == [
        "s.yaml:4: model needs exactly one of preset, path and hub, found preset and path",
    ]


_WRONG = [3, -3, 2.5, float("nan"), float("inf"), True, "x y", "", "\ud800", None, [], [None], [1, 2, 3], {}, {"x": 1}]


@pytest.mark.parametrize("path", [path for path in known_paths(SweepConfig) if not path.startswith("grid")])
def test_every_setting_refuses_in_the_house_style(sweeps, path):
    """Whatever stands in a setting is taken or refused in one sentence on it, never in pydantic's words."""
    refused = 0
    for value in _WRONG:
        text = json.dumps(value).replace("NaN", ".nan").replace("Infinity", ".inf")
        try:
            sweeps.load(sweeps.base, f"{path}={text}")
        except ConfigError as error:
            refused += 1
            for problem in error.problems:
                assert re.search(r"must|needs|is not a known setting|sum to", problem), problem
                assert not re.search(r"[Ii]nput|valid|pydantic|Tuple|instance|None|dict", problem), problem
    assert refused


# --set


def test_overrides_replace_whole_values_and_make_sections(one_cell, sweeps):
    config = one_cell(
        sweeps.base,
        "train.lr=2e-3",
        "train.budget={examples: 1e6}",
        "model.warm_start.steps=7",
        "data.evaluate.0.dataset=geo",
        "data.evaluate.1.dataset=geo",
        "data.evaluate.1.split=dev",
        "data.train.languages=[en, no]",
        "model.query_prefix='q=1: '",
    )
    assert config.train.lr == 2e-3
    assert config.train.budget.examples == 1_000_000
    assert config.model.warm_start.steps == 7
    assert [entry.split for entry in config.data.evaluate] == [None, "dev"]
    assert config.data.train.languages == ("en", "no")
    assert config.model.query_prefix == "q=1: "


def test_the_last_override_wins_and_a_section_replaces_what_was_in_it(one_cell, sweeps):
    assert one_cell(sweeps.base, "seed=1", "seed=2").seed == 2
    config = one_cell(sweeps.base + "train: {lr: 1.0, clip: 3}\n", "train={lr: 2.0}")
    assert (config.train.lr, config.train.clip) == (2.0, 1.0)


def test_null_takes_an_optional_value_away(one_cell, sweeps):
    assert one_cell(sweeps.base + "train: {clip: 3}\n", "train.clip=null").train.clip is None
    assert one_cell(sweeps.base, "train.clip=").train.clip is None


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.lr", "--set: 'train.lr' is not path=value"),
        ("=3", "--set: '=3' is not path=value"),
        ("train.learning_rate=3", "--set: train.learning_rate is not a known setting"),
        ("train.lr.x=3", "--set: train.lr.x is not a known setting; did you mean train.lr?"),
        ("data.evaluate.split=x", "did you mean data.evaluate.0.split?"),
        ("train.lr=[1", "--set: '[1' is not a YAML value"),
        ("train={lr: 1, lr: 2}", "given twice"),
        ("data.evaluate.2.dataset=geo", "--set: data.evaluate has 0 entries, there is no data.evaluate.2"),
        ("mix.monolingual=1.4", "--set: mix.monolingual is 1.4, must be within 0..1"),
        ("train={lr: no}", "--set: train.lr is 'no', must be a number"),
    ],
)
def test_a_wrong_override_is_named(sweeps, override, problem):
    (found,) = sweeps.problems(sweeps.base, override)
    assert problem in found


@pytest.mark.parametrize("number", ["0", "1"])
def test_one_training_set_has_no_number(sweeps, number):
    path = f"data.train.{number}.weight"
    said = f"data.train is one section, not a list: write data.train.weight for {path}"
    assert sweeps.problems(sweeps.base, f"{path}=2") == [f"--set: {said}"]
    assert sweeps.problems(sweeps.with_grid(f"- {path}: [1, 2]")) == [f"s.yaml:6: grid: {said}"]


def test_what_pydantic_says_in_a_way_not_foreseen_is_passed_on():
    with pytest.raises(ValidationError) as caught:
        SweepConfig.model_validate({"data": {"train": {0: {"weight": 2}}}}, strict=True)
    details = next(error for error in caught.value.errors() if error["type"] == "invalid_key")
    parts, text = sentence(details, SweepConfig)
    assert parts[:2] == ("data", "train")
    assert text.endswith("Keys should be strings")


def test_an_override_into_what_is_no_section_is_refused(sweeps):
    problems = sweeps.problems(sweeps.base + "train: 5\n", "train.lr=1")
    assert "--set: train is 5, not a section, so train.lr cannot be set" in problems


# Paths and checks


def test_paths_are_absolute_with_home_and_variables_replaced(one_cell, sweeps, tmp_path, monkeypatch):
    monkeypatch.setenv("XLING_SETS", "/sets")
    monkeypatch.setenv("HOME", "/home/someone")
    text = """\
        name: small
        storage: s3://bucket/${XLING_SETS}
        data: {train: {dataset: parallel-jsonl, path: $XLING_SETS/a.jsonl}, evaluate: [{dataset: geo, path: ~/b}]}
        model: {path: models/x, query_prefix: "$5 "}
    """
    loaded = sweeps.load(text)
    config = loaded.cells[0].config
    assert config.data.train.path == "/sets/a.jsonl"
    assert config.data.evaluate[0].path == "/home/someone/b"
    assert config.model.path == str(tmp_path / "models/x")
    assert config.model.query_prefix == "$5 "
    assert loaded.config.storage == "s3://bucket//sets"
    assert sweeps.load(sweeps.base).config.storage == str(tmp_path / "runs")


def test_checks_join_the_report_even_when_the_schema_refuses_something(sweeps):
    def check(config):
        yield "data.train.dataset", f"is {config.data.train.dataset!r}, must be one of a, b"
        yield "model.preset", "is unheard of"
        yield "train.lr", "is too high"

    text = sweeps.base + "train: {lr: high}\nmix: {monolingual: 2}\nretrys: 3\n"
    assert sweeps.problems(text, checks=(check,)) == [
        "s.yaml:3: data.train.dataset is 'geo', must be one of a, b",
        "s.yaml:4: model.preset is unheard of",
        "s.yaml:5: train.lr is 'high', must be a number",
        "s.yaml:6: mix.monolingual is 2, must be within 0..1",
        "s.yaml:7: retrys is not a known setting; did you mean retries?",
    ]


def test_checks_say_nothing_of_what_could_not_be_read(sweeps):
    def check(config):
        yield "model.preset", f"is {config.model.preset!r}"
        yield "data.train.dataset", f"is {config.data.train.dataset!r}"

    text = "name: x\ndata: {train: {dataset: geo}}\nmodel: {presett: tiny}\n"
    assert sweeps.problems(text, checks=(check,)) == [
        "s.yaml:2: data.train.dataset is 'geo'",
        "s.yaml:3: model.presett is not a known setting; did you mean model.preset?",
    ]


def test_checks_look_for_nothing_where_a_variable_is_not_set(sweeps, monkeypatch):
    def check(config):
        yield "data.train.path", "is not there"
        yield "data.evaluate.0.path", "is not there"
        yield "model.preset", "is unheard of"

    monkeypatch.delenv("XLING_NOT_SET", raising=False)
    text = """\
        name: x
        data:
          train: {dataset: geo, path: $XLING_NOT_SET/train}
          evaluate:
            - {dataset: geo, path: here}
        model: {preset: tiny}
    """
    problems = sweeps.problems(text, checks=(check,))
    assert "data.train.path is '$XLING_NOT_SET/train', but the environment variable" in problems.pop(0)
    assert problems == ["s.yaml:5: data.evaluate.0.path is not there", "s.yaml:6: model.preset is unheard of"]


def test_what_was_read_is_kept(sweeps):
    loaded = sweeps.load(sweeps.base, "seed=3")
    assert loaded.text == sweeps.base
    assert loaded.source == Path("s.yaml")
    assert loaded.overrides == ("seed=3",)
    assert loaded.config.seed == 3


# several training sets

SEVERAL = """name: s
data:
  train:
    - {dataset: geo, languages: [de, en]}
    - {dataset: mkqa, path: rows.jsonl, weight: 2}
model: {preset: tiny}
"""


def test_training_data_may_be_one_mapping_or_a_list(one_cell, sweeps):
    config = one_cell(SEVERAL)
    assert [entry.dataset for entry in config.data.training_sets] == ["geo", "mkqa"]
    assert [entry.weight for entry in config.data.training_sets] == [1, 2]
    assert config.data.training_sets[1].path == os.path.abspath("rows.jsonl")
    assert config.data.training_name == "geo + mkqa"
    assert CellConfig.model_validate_json(config.model_dump_json()) == config
    alone = one_cell(sweeps.base)
    assert alone.data.training_sets == (alone.data.train,)
    assert CellConfig.model_validate_json(alone.model_dump_json()) == alone


def test_a_value_of_one_training_set_can_be_overridden_and_swept(sweeps):
    config = sweeps.load(SEVERAL, "data.train.1.weight=0.5", "data.train.0.languages=[de, no]").cells[0].config
    assert config.data.training_sets[1].weight == 0.5
    assert config.data.training_sets[0].languages == ("de", "no")
    swept = sweeps.load(SEVERAL + "grid:\n  - data.train.1.weight: [1, 3]\n").cells
    assert [cell.config.data.training_sets[1].weight for cell in swept] == [1, 3]
    assert [cell.label for cell in swept] == ["weight1", "weight3"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("weight: 2", "weight: 0", "s.yaml:5: data.train.1.weight is 0, must be above 0"),
        ("weight: 2", "weight: many", "s.yaml:5: data.train.1.weight is 'many', must be a number"),
        ("weight: 2", "wieght: 2", "s.yaml:5: data.train.1.wieght is not a known setting; did you mean "),
        ("dataset: mkqa, path: rows.jsonl", "dataset: geo, languages: [de, en]",
         "s.yaml:2: data: train.0 and train.1 are the same, must differ in more than the weight; keep one"),
        ("    - {dataset: geo, languages: [de, en]}\n", "",
         "s.yaml:2: data: train has the weight 2, must be one of several sets to have one; remove it"),
        ("{dataset: geo, languages: [de, en]}", "geo",
         "s.yaml:4: data.train.0 is 'geo', must be a section with keys such as dataset, path, "),
        ("dataset: mkqa, ", "", "s.yaml:5: data.train.1.dataset is missing, must be given: name of a "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_of_several_sets_is_said_of_it(sweeps, old, new, problem):
    assert old in SEVERAL
    (found,) = sweeps.problems(SEVERAL.replace(old, new))
    assert found.startswith(problem)


def test_a_set_is_scored_once(sweeps):
    text = sweeps.base.replace("geo}", "geo}\n  evaluate: [{dataset: geo}, {dataset: geo, limit: 9}, {dataset: geo}]")
    told = "s.yaml:2: data: evaluate.0 and evaluate.2 are the same, must differ; keep one"
    assert sweeps.problems(text) == [told]
    data = {"train": {"dataset": "geo"}, "evaluate": [{"dataset": "geo"}] * 2}
    CellConfig.model_validate({"data": data, "model": {"preset": "tiny"}})  # one that lies in a storage stays readable


def test_an_empty_list_of_training_sets_is_refused(sweeps):
    (found,) = sweeps.problems("name: s\ndata: {train: []}\nmodel: {preset: tiny}\n")
    assert found == "s.yaml:2: data: train is an empty list, must name at least one data set"


@pytest.mark.parametrize("name", ["gradient_accumulation_steps", "accumulate", "grad_accum"])
def test_gradient_accumulation_is_refused_in_favour_of_caching(sweeps, name):
    text = f"name: s\ndata: {{train: {{dataset: geo}}}}\nmodel: {{preset: mini}}\ntrain: {{{name}: 4}}"
    (problem,) = sweeps.problems(text)
    assert f"train.{name} is not a known setting: gradient accumulation would leave each query only" in problem
    assert "train.chunk_size" in problem
