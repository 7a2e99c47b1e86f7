import re

import pytest

from xling.config.grid import MAX_CELLS, alpha_of, size_of


def labels(sweeps, grid):
    return [cell.label for cell in sweeps.load(sweeps.with_grid(grid)).cells]


def grid_problems(sweeps, grid, *overrides):
    return sweeps.problems(sweeps.with_grid(grid), *overrides)


# Which cells


def test_without_a_grid_there_is_one_cell_named_after_its_model(sweeps):
    (cell,) = sweeps.load(sweeps.base).cells
    assert (cell.label, cell.axes, size_of(cell), alpha_of(cell)) == ("tiny", {}, "tiny", 0.5)


def test_axes_are_multiplied_the_first_slowest(sweeps):
    cells = sweeps.load(
        sweeps.with_grid("""
            - seed: [0, 1]
            - mix.monolingual: [0, 0.5, 1]
        """)
    ).cells
    assert [(cell.config.seed, alpha_of(cell)) for cell in cells] == [(s, a) for s in (0, 1) for a in (0, 0.5, 1)]
    assert cells[1].axes == {"seed": 0, "mix.monolingual": 0.5}


def test_linked_paths_vary_together(sweeps):
    cells = sweeps.load(
        sweeps.with_grid("""
            - model.preset: [tiny, mini]
              train.lr: [4e-3, 2e-3]
            - seed: [0, 1]
        """)
    ).cells
    assert [(size_of(cell), cell.config.train.lr) for cell in cells] == [("tiny", 4e-3)] * 2 + [("mini", 2e-3)] * 2


def test_the_cross_lingual_share_follows_the_swept_one(sweeps):
    text = sweeps.base + "mix: {monolingual: 0.2, mixed_monolingual: 0.1}\ngrid: [{mix.monolingual: [0, 0.3, 0.9]}]\n"
    assert [cell.config.mix.cross_lingual for cell in sweeps.load(text).cells] == [0.9, 0.6, 0.0]


def test_a_given_cross_lingual_share_is_kept_and_must_fit(sweeps):
    text = sweeps.base + "mix: {cross_lingual: 0.5}\ngrid: [{mix.monolingual: [0.5, 0.9]}]\n"
    (problem,) = sweeps.problems(text)
    assert problem == "s.yaml:6: grid: with mix.monolingual 0.9: mix: shares sum to 1.4, must sum to 1"
    linked = "- {mix.monolingual: [0.1, 0.9], mix.cross_lingual: [0.9, 0.1]}"
    assert [cell.config.mix.cross_lingual for cell in sweeps.load(sweeps.with_grid(linked)).cells] == [0.9, 0.1]


def test_the_model_may_come_from_the_grid_alone(sweeps):
    text = """\
        name: small
        data: {train: {dataset: geo}}
        model: {max_query_tokens: 48}
        grid:
          - model.path: [null, folders/big]
            model.preset: [tiny, null]
    """
    cells = sweeps.load(text).cells
    assert [cell.label for cell in cells] == ["tiny", "big"]
    assert [cell.config.model.max_query_tokens for cell in cells] == [48, 48]


def test_a_mapping_replaces_its_section_whole_and_longer_paths_go_into_it(sweeps):
    text = sweeps.base.replace("preset: tiny", "preset: mid, dropout: 0.3") + (
        "grid:\n  - model.query_prefix: ['q: ', 'Q ']\n  - model: [{preset: tiny}, {path: x, warm_start: {steps: 3}}]\n"
    )
    cells = sweeps.load(text).cells
    assert [cell.config.model.dropout for cell in cells] == [None] * 4
    assert [cell.config.model.query_prefix for cell in cells] == ["q: ", "q: ", "Q ", "Q "]
    assert [size_of(cell) for cell in cells] == ["tiny", "x"] * 2
    assert cells[1].config.model.warm_start.steps == 3


def test_an_optional_section_may_be_null_or_a_mapping(sweeps):
    cells = sweeps.load(sweeps.with_grid("- model.warm_start: [null, {}, {steps: 9}]")).cells
    assert [cell.config.model.warm_start and cell.config.model.warm_start.steps for cell in cells] == [None, 300, 9]
    assert len({cell.label for cell in cells}) == 3


# Labels


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ("- {model.preset: [tiny, mini], train.lr: [4e-3, 2e-3]}", ["tiny", "mini"]),
        ("- {train.lr: [4e-3, 2e-3], model.preset: [tiny, mini]}", ["tiny", "mini"]),
        ("- {model.preset: [tiny, tiny], train.lr: [4e-3, 2e-3]}", ["tiny-lr0.004", "tiny-lr0.002"]),
        ("- train.lr: [1e-5, 0.3, 2.0]", ["lr1e-5", "lr0.3", "lr2"]),
        ("- train.budget: [{steps: 5}, {flops: 1e15}]", ["budget-steps5", "budget-flops1e15"]),
        ("- data.train.languages: [[en, de], null]", ["languages-en-de", "languages-none"]),
        ("- train.mask_false_negatives: [true, false]", ["mask_false_negatives-true", "mask_false_negatives-false"]),
        ("- model.query_prefix: ['', 'Q: ', 'Q! ']", ["query_prefix-1", "query_prefix-Q", "query_prefix-Q-2"]),
        ("- model.pooling: [null, cls]", ["pooling-none", "pooling-cls"]),
        ("- model.query_prefix: ['؟', '¿']", ["query_prefix-1", "query_prefix-2"]),
        ("- {train.lr: [1, 1], model.warm_start.lr: [1, 2]}", ["train-lr1-warm_start-lr1", "train-lr1-warm_start-lr2"]),
        ("- {model.preset: [null, null], model.path: [a/end, b/end]}", ["a-end", "b-end"]),
        ("- model: [{hub: org/m}, {hub: org/m, revision: v2}, {preset: tiny}]", ["org-m", "org-m-v2", "tiny"]),
    ],
)
def test_labels_are_short_and_different(sweeps, grid, expected):
    assert labels(sweeps, grid) == expected


@pytest.mark.parametrize(
    ("schedule", "label"),
    [
        ("{linear: {start: 1, end: 0}}", "a1to0"),
        ("{linear: {start: 0.75, end: 0.25, until: 0.5}}", "a0.75to0.25by0.5"),
        ("{cosine: {start: 0, end: 1}}", "a0to1cos"),
        ("{steps: [[0, 1], [0.5, 0.25]]}", "a1then0.25at0.5"),
        ("{steps: [[0, 1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.4, 0]]}", "a1to0in5steps-"),
    ],
)
def test_a_schedule_is_spelt_in_the_label_and_counts_by_its_mean(sweeps, schedule, label):
    text = sweeps.with_grid(f"- mix.monolingual: [0.5, {schedule}]\n- seed: [0]")
    constant, scheduled = sweeps.load(text).cells
    assert constant.label == "a0.5/s0"
    assert re.fullmatch(rf"{re.escape(label)}[0-9a-f]*/s0", scheduled.label)
    assert scheduled.label == f"a{scheduled.config.mix.schedule}/s0"
    assert alpha_of(scheduled) == scheduled.config.mix.alpha


def test_schedules_of_one_mean_are_cells_of_their_own(sweeps):
    steps = [f"{{steps: [[0, 0], [0.2, 0.5], [0.4, 0], [0.6, {a}], [0.8, {b}]]}}" for a, b in ((0.9, 0.1), (0.1, 0.9))]
    ramps = ["{linear: {start: 1, end: 0}}", "{linear: {start: 0, end: 1}}", "{cosine: {start: 1, end: 0}}"]
    cells = sweeps.load(sweeps.with_grid(f"- mix.monolingual: [{', '.join(ramps + steps)}]")).cells
    assert [alpha_of(cell) for cell in cells] == pytest.approx([0.5, 0.5, 0.5, 0.3, 0.3])
    assert len({cell.label for cell in cells}) == 5


def test_chosen_pairs_are_told_in_the_label(sweeps):
    grid = "- mix.pairs: [all, {pivot: en}, {only: [en-de, ar-en]}]"
    assert labels(sweeps, grid) == ["pairs-all", "pairs-pivot-en", "pairs-only-en-de-ar-en"]


def test_labels_join_the_axes(sweeps):
    assert labels(sweeps, "- model.preset: [tiny]\n- mix.monolingual: [0, 0.25]\n- seed: [3]") == [
        "tiny/a0/s3",
        "tiny/a0.25/s3",
    ]


def test_model_names_grow_until_they_differ(sweeps):
    cells = sweeps.load(sweeps.with_grid("- model: [{path: /m/a/ckpt}, {path: /m/b/ckpt}, {path: /m/c}]")).cells
    assert [size_of(cell) for cell in cells] == ["a-ckpt", "b-ckpt", "c"]


# What is refused


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ("- train.lrr: [1]", "s.yaml:6: grid: train.lrr is not a known setting; did you mean train.lr?"),
        ("- presett: [tiny]", "s.yaml:6: grid: presett is not a known setting; did you mean model.preset?"),
        ("- {train.lr: [1, 2], seed: [1]}", "s.yaml:6: grid: seed has 1 value, must have as many as train.lr, "),
        ("- train.lr: []", "s.yaml:6: grid: train.lr is an empty list, must hold at least one value"),
        ("- train.lr: 3", "s.yaml:6: grid: train.lr is 3, must be a list of the values to sweep; write [3]"),
        ("- seed: [1]\n- seed: [2]", "s.yaml:7: grid: seed is swept by two entries, first in line 6; keep one"),
        ("- seed: [1, 0, 1]", "s.yaml:6: grid: seed 1 is listed twice; keep one"),
        ("- retries: [1, 2]", "s.yaml:6: grid: retries cannot be swept, it is one for the whole sweep"),
        ("- name: [a, b]", "s.yaml:6: grid: name cannot be swept"),
        ("- storage: [a, b]", "s.yaml:6: grid: storage cannot be swept"),
        ("- grid: [[]]", "s.yaml:6: grid: grid cannot be swept"),
        ("- tracking.uri: [a, b]", "s.yaml:6: grid: tracking.uri cannot be swept"),
        ("- 5", "s.yaml:6: grid: entry 1 is 5, must map dotted paths to lists"),
        ("- {}", "s.yaml:6: grid: entry 1 is {}, must map dotted paths to lists"),
        ("seed: [1]", "s.yaml:5: grid is {seed: [1]}, must be a list of entries"),
        ("- data.evaluate.1.dataset: [geo]", "s.yaml:6: grid: data.evaluate has 0 entries, there is no data."),
        ("- {evaluation.batch_size: [1, 2]}", "s.yaml:5: grid: cells batch_size1 and batch_size2 would train the same"),
        ("- train.lr.x: [1]", "s.yaml:6: grid: train.lr.x is not a known setting; did you mean train.lr?"),
    ],
)
def test_a_wrong_entry_is_named(sweeps, grid, problem):
    (found,) = grid_problems(sweeps, grid)
    assert found.startswith(problem)


def test_a_value_that_cells_refuse_is_reported_once_at_its_line(sweeps):
    assert grid_problems(sweeps, "- seed: [0, 1, 2]\n- train.lr:\n    - 1\n    - -1\n- train.clip: [1, 2]") == [
        "s.yaml:9: grid: train.lr is -1, must be above 0"
    ]


def test_a_wrong_value_of_the_file_is_not_blamed_on_the_grid(sweeps):
    text = sweeps.base + "train: {lr: 0}\ngrid: [{seed: [0, 1]}, {mix.monolingual: [0, 1]}]\n"
    assert sweeps.problems(text) == ["s.yaml:5: train.lr is 0, must be above 0"]


def test_settings_that_conflict_across_axes_name_the_values_that_do(sweeps):
    assert grid_problems(sweeps, "- seed: [0, 1]\n- train.batch_size: [8, 9]\n- resources.workers: [1, 2]") == [
        "s.yaml:7: grid: with train.batch_size 9 and resources.workers 2: "
        "train.batch_size is 9, must divide by resources.workers (2)"
    ]


def test_a_swept_preset_beside_a_path_in_the_file_is_a_conflict(sweeps):
    text = sweeps.base.replace("preset: tiny", "path: x") + "grid: [{model.preset: [tiny, mini]}]\n"
    assert sweeps.problems(text) == [
        "s.yaml:4: model needs exactly one of preset, path and hub, found preset and path (the grid sets model.preset)"
    ]


def test_a_mapping_may_not_give_what_is_swept_by_itself(sweeps):
    assert grid_problems(sweeps, "- train: [{lr: 1}, {clip: 1}]\n- train.lr: [1, 2]") == [
        "s.yaml:6: grid: train gives train.lr, which is swept by itself too; keep one"
    ]


def test_a_mistake_within_a_mapping_is_named(sweeps):
    assert grid_problems(sweeps, "- seed: [0, 1]\n- train:\n    - {lr: 1}\n    - {lrr: 1}") == [
        "s.yaml:9: grid: train.lrr is not a known setting; did you mean train.lr?"
    ]


def test_an_unreadable_entry_causes_no_second_problem(sweeps):
    text = sweeps.base.replace("model: {preset: tiny}\n", "") + "grid: [{model.presett: [tiny]}]\n"
    assert sweeps.problems(text) == ["s.yaml:4: grid: model.presett is not a known setting; did you mean model.preset?"]


@pytest.mark.parametrize("override", ["seed=3", "seed=0"])
def test_overriding_what_is_swept_is_refused(sweeps, override):
    assert grid_problems(sweeps, "- seed: [0, 1]", override) == [
        "s.yaml:6: grid: seed is swept, so --set seed would have no effect; --set the grid instead"
    ]


def test_overriding_a_section_refuses_only_what_is_swept(sweeps):
    grid = "- train.lr: [1, 2]"
    assert "--set train would have no effect" in grid_problems(sweeps, grid, "train={lr: 3}")[0]
    assert len(sweeps.load(sweeps.with_grid(grid), "train={clip: 3}").cells) == 2
    assert "--set train.clip would" in grid_problems(sweeps, "- train: [{lr: 1}, {lr: 2}]", "train.clip=3")[0]


def test_the_grid_itself_can_be_overridden(sweeps):
    text = sweeps.with_grid("- seed: [0, 1]\n- train.lr: [1, 2]")
    assert [cell.label for cell in sweeps.load(text, "grid.1.train.lr=[5]", "grid.0.seed=[7]").cells] == ["s7/lr5"]
    assert len(sweeps.load(text, "grid=[]").cells) == 1
    assert sweeps.problems(text, "grid.1.train.lr=[0]") == ["--set: grid: train.lr is 0, must be above 0"]


def test_checks_on_swept_values_name_their_line_once(sweeps):
    def check(config):
        if config.model.preset != "tiny":
            yield "model.preset", f"is {config.model.preset!r}, must be tiny"

    text = sweeps.with_grid("- seed: [0, 1]\n- model.preset:\n    - tiny\n    - small\n    - mini")
    assert sweeps.problems(text, checks=(check,)) == [
        "s.yaml:9: grid: model.preset is 'small', must be tiny",
        "s.yaml:10: grid: model.preset is 'mini', must be tiny",
    ]


def test_a_grid_too_large_is_refused_at_once(sweeps):
    values = list(range(1, 101))
    problems = grid_problems(sweeps, f"- seed: {values}\n- train.lr: {values}\n- train.clip: {values}")
    assert problems == [f"s.yaml:5: grid makes 1,000,000 cells, must make at most {MAX_CELLS:,}"]
