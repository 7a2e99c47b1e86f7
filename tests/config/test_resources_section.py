"""``resources``: for all models, for some, and what is wrong with it."""

import pytest

from xling.config.identity import training_key

BY_MODEL = """\
resources:
  workers: 1
  gpus_per_worker: 0.25
  labels: {pool: small}
  by_model:
    mid: {workers: 4, gpus_per_worker: 1, memory_per_worker: 8GiB, labels: {accelerator: A100}}
"""


def test_a_model_has_its_own_and_the_rest_is_as_for_all(sweeps):
    text = sweeps.with_grid("- model.preset: [tiny, mid]") + BY_MODEL
    tiny, mid = (cell.config.resources for cell in sweeps.load(text).cells)
    assert (tiny.workers, tiny.gpus_per_worker, tiny.memory_per_worker, tiny.labels) == (
        1,
        0.25,
        None,
        {"pool": "small"},
    )
    assert (mid.workers, mid.gpus_per_worker, mid.memory_per_worker) == (4, 1, "8GiB")
    assert (mid.cpus_per_worker, mid.labels, mid.by_model) == (1, {"accelerator": "A100"}, {})


def test_hub_models_and_folders_are_known_by_their_last_name(sweeps, one_cell):
    base = sweeps.base.replace("{preset: tiny}", "{hub: org/model-a}")
    for name in ("org/model-a", "model-a"):
        assert one_cell(base + f"resources: {{by_model: {{{name}: {{workers: 2}}}}}}\n").resources.workers == 2
    base = sweeps.base.replace("{preset: tiny}", "{path: models/model-b}")
    assert one_cell(base + "resources: {by_model: {model-b: {workers: 2}}}\n").resources.workers == 2


def test_resources_are_no_part_of_what_is_trained(sweeps):
    plain = sweeps.load(sweeps.base).cells[0].config
    own = sweeps.load(sweeps.base + "resources: {labels: {a: b}, by_model: {tiny: {workers: 4}}}\n").cells[0].config
    assert training_key(plain) == training_key(own)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("by_model: {tini: {workers: 2}}", "by_model.tini names no model of this sweep, must be one of tiny"),
        ("by_model: {tiny: {worker: 2}}", "by_model.tiny.worker is not a known setting; did you mean"),
        ("by_model: {tiny: {workers: 0}}", "by_model.tiny.workers is 0, must be at least 1"),
        ("by_model: {tiny: {gpus_per_worker: 1.5}}", "by_model.tiny.gpus_per_worker is 1.5, must be whole above 1"),
        (
            "gpus_per_worker: 2.5",
            "gpus_per_worker is 2.5, must be whole above 1: Ray gives shares of one GPU, or whole",
        ),
        (
            "memory_per_worker: 4GB",
            "memory_per_worker is '4GB', must be a size above 0 in KiB, MiB, GiB or TiB, as in ",
        ),
        ("memory_per_worker: 4", "memory_per_worker is 4, must be text"),
        ("labels: {accelerator: A 100}", "labels has accelerator: 'A 100', must be a value, or as '!A100', 'in("),
        ("labels: {-a: b}", "labels has the name '-a', must be a label as in accelerator or ray.io/accelerator-type"),
        ("labels: {generation: 4}", "labels.generation is 4, must be text; put it in quotes: '4'"),
    ],
)
def test_wrong_resources_are_refused_with_their_rule(sweeps, text, problem):
    (found,) = sweeps.problems(sweeps.base + f"resources:\n  {text}\n")
    assert found.startswith(f"s.yaml:6: resources.{problem}")


def test_a_wrong_name_is_told_with_everything_else_that_is_wrong(sweeps):
    text = sweeps.with_grid("- model.preset: [tiny, mini]\n- train.lr: [1e-3, -1]") + BY_MODEL
    assert sweeps.problems(text) == [
        "s.yaml:7: grid: train.lr is -1, must be above 0",
        "s.yaml:13: resources.by_model.mid names no model of this sweep, must be one of tiny, mini",
    ]


def test_what_divides_the_batch_is_named_where_it_stands(sweeps):
    text = sweeps.with_grid("- model.preset: [tiny, mini]") + "resources: {by_model: {mini: {workers: 3}}}\n"
    (found,) = sweeps.problems(text)
    assert found.endswith("train.batch_size is 64, must divide by resources.by_model.mini.workers (3)")
    text = sweeps.base + "resources: {workers: 2, by_model: {tiny: {gpus_per_worker: 0.5}}}\n"
    (found,) = sweeps.problems(text)
    assert found.endswith("resources.by_model.tiny.gpus_per_worker is 0.5, must be whole with 2 workers: NCCL")


def test_what_the_grid_sweeps_is_not_said_by_model_too(sweeps):
    text = sweeps.with_grid("- seed: [0, 1]\n  resources.workers: [1, 2]")
    (found,) = sweeps.problems(text + "resources: {by_model: {tiny: {workers: 4}}}\n")
    assert found.endswith("resources.by_model.tiny gives workers, and the grid sweeps resources.workers; keep one")


def test_the_grid_may_set_a_models_own(sweeps):
    text = sweeps.with_grid("- seed: [0, 1]\n  resources.by_model.tiny.workers: [1, 2]")
    assert [cell.config.resources.workers for cell in sweeps.load(text).cells] == [1, 2]
    text = sweeps.with_grid("- seed: [0, 1]\n  resources.by_model.tini.workers: [1, 2]")
    assert any("names no model of this sweep, must be one of tiny" in problem for problem in sweeps.problems(text))


def test_memory_has_one_spelling_and_none_is_not_counted(one_cell, sweeps):
    found = one_cell(sweeps.base + "resources: {memory_per_worker: 1.50 GiB}\n").resources
    assert (found.memory_per_worker, found.memory_bytes) == ("1.5GiB", 3 * 2**29)
    assert one_cell(sweeps.base).resources.memory_bytes == 0
