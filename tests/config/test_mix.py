"""The ``mix`` section: schedules, pairs, and what is refused."""

import re
from pathlib import Path

import pytest

from xling.config.schema import CellConfig, MixConfig


@pytest.mark.parametrize(
    ("schedule", "mean", "span"),
    [
        ({"linear": {"start": 1.0, "end": 0.0}}, 0.5, (0, 1)),
        ({"linear": {"start": 0.2, "end": 0.8, "until": 0.5}}, 0.65, (0.2, 0.8)),
        ({"cosine": {"start": 0.8, "end": 0.0, "until": 0.25}}, 0.1, (0, 0.8)),
        ({"steps": [[0, 1.0], [0.25, 0.5], [0.75, 0.0]]}, 0.5, (0, 1)),
    ],
)
def test_a_schedule_has_a_mean_and_a_span(schedule, mean, span):
    mix = MixConfig(monolingual=schedule)
    assert mix.alpha == pytest.approx(mean)
    assert mix.monolingual.span == span
    assert mix.cross_lingual is None


def test_a_constant_share_has_no_schedule():
    mix = MixConfig(monolingual=0.25)
    assert (mix.alpha, mix.schedule, mix.cross_lingual) == (0.25, "", 0.75)


def test_a_null_cross_lingual_share_is_what_the_others_leave():
    assert MixConfig(monolingual=0.25, mixed_monolingual=0.25, cross_lingual=None).cross_lingual == 0.5


@pytest.mark.parametrize(
    "mix",
    [
        {"monolingual": {"cosine": {"start": 1.0, "end": 0.0, "until": 0.5}}, "pairs": {"pivot": "en"}},
        {"monolingual": {"steps": [[0, 1.0], [0.5, 0.0]]}, "pairs": {"only": ["ar-en"]}, "max_epochs": 2},
        {"monolingual": 0.3},
    ],
)
def test_a_mix_survives_being_written_and_read(mix):
    config = CellConfig.model_validate({"data": {"train": {"dataset": "geo"}}, "model": {"preset": "tiny"}, "mix": mix})
    assert CellConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("mix", "problem"),
    [
        ("{monolingual: high}", "mix.monolingual is 'high', must be a number or a section with keys such as linear, "),
        ("{monolingual: {line: {start: 1, end: 0}}}", "mix.monolingual.line is not a known setting; did you mean mix."),
        ("{monolingual: {linear: {start: 2, end: 0}}}", "mix.monolingual.linear.start is 2, must be within 0..1"),
        ("{monolingual: {linear: {start: 1}}}", "mix.monolingual.linear.end is missing, must be given: "),
        ("{monolingual: {linear: {start: 1, end: 1}}}", "mix.monolingual.linear: goes from 1 to 1, must change; write"),
        ("{monolingual: {}}", "mix.monolingual needs exactly one of linear, cosine and steps, found none"),
        (
            "{monolingual: {linear: {start: 1, end: 0}, cosine: {start: 1, end: 0}}}",
            "mix.monolingual needs exactly one of linear, cosine and steps, found linear and cosine",
        ),
        ("{monolingual: {steps: [[0, 1]]}}", "mix.monolingual.steps must be a list of at least two pairs; write the"),
        ("{monolingual: {steps: [[0.1, 1], [0.5, 0]]}}", "mix.monolingual.steps: begins at 0.1, must begin at 0"),
        ("{monolingual: {steps: [[0, 1], [0.5, 0], [0.2, 1]]}}", "mix.monolingual.steps has 0.2 after 0.5, must have "),
        ("{monolingual: {steps: [[0, 1], [0.5, 1]]}}", "mix.monolingual.steps has 1 twice in a row, must change at"),
        (
            "{monolingual: {steps: [[0, 1], [1, 0]]}}",
            "mix.monolingual.steps has a step at 1, must have positions below",
        ),
        (
            "{monolingual: {linear: {start: 1, end: 0}}, cross_lingual: 0.5}",
            "mix: cross_lingual is 0.5, must not be given where monolingual is a schedule: it is what that leaves; ",
        ),
        (
            "{monolingual: {linear: {start: 0, end: 0.8}}, mixed_monolingual: 0.3}",
            "mix: monolingual reaches 0.8, must stay within what mixed_monolingual leaves (0.7); lower one",
        ),
        ("{cross_lingual: null}", "mix: cross_lingual is empty, must be a number where monolingual is not given"),
        ("{pairs: most}", "mix.pairs is 'most', must be one of 'all' or a section with keys such as pivot, only"),
        ("{pairs: {}}", "mix.pairs needs exactly one of pivot and only, found none"),
        ("{pairs: {pivot: English}}", "mix.pairs.pivot must be a language's code: 'English' is not a language code"),
        ("{pairs: {only: [aren]}}", "mix.pairs.only must be a list of language pairs: 'aren' is not a language pair"),
        (
            "{pairs: {only: [ar-ar]}}",
            "mix.pairs.only names ar-ar, must name pairs of two languages; remove it, batches",
        ),
        ("{pairs: {only: [ar-en, ar-en]}}", "mix.pairs.only names ar-en twice, must name a pair once; remove one"),
        ("{pairs: {only: []}}", "mix.pairs.only is an empty list, must name at least one pair; set mix.monolingual to"),
        ("{max_epochs: 0}", "mix.max_epochs is 0, must be at least 1"),
    ],
)
def test_a_wrong_mix_is_told_in_one_sentence(sweeps, mix, problem):
    (found,) = sweeps.problems(f"{sweeps.base}mix: {mix}\n")
    assert found.startswith(f"s.yaml:5: {problem}")


MIXING = Path(__file__).resolve().parents[2] / "docs" / "mixing.md"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", MIXING.read_text(), re.DOTALL))
def test_the_yaml_of_the_docs_is_valid(sweeps, text):
    loaded = sweeps.load(text if text.startswith("name:") else sweeps.base + text)
    for cell in loaded.cells:
        scheduled = cell.axes.get("mix.monolingual")
        assert not isinstance(scheduled, dict) or f"a{cell.config.mix.schedule}" in cell.label.split("/")
