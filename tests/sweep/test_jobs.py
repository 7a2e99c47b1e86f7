"""What a sweep has to do, by the data and the file it is made of."""

import json
import math

import pytest
from small_sweeps import LANGUAGES, load, row, write_rows

from xling.config.load import load_sweep
from xling.errors import ConfigError, DataError
from xling.sweep.jobs import Job
from xling.sweep.study import build_study

GEO = """\
name: warmed
data: {train: {dataset: geo, languages: [de, en]}, evaluate: [{dataset: geo, languages: [de, en]}]}
model: {warm_start: {steps: 20}}
grid:
  - {model.preset: [tiny, mini], model.warm_start.lr: [5e-3, 3e-3]}
  - {mix.monolingual: [0, 1]}
  - {seed: [0, 1]}
"""
ONE = """\
name: small
data:
  train: {{dataset: parallel-jsonl, path: {train}}}
  evaluate: {evaluate}
  {more}
model: {{preset: tiny}}
"""


def study_of(folder, text):
    file = folder / "one.yaml"
    file.write_text(text, encoding="utf-8")
    return build_study(load_sweep(file).cells)


def one_cell(folder, *evaluate, more=""):
    """A study of one cell that is scored on these files."""
    listed = json.dumps([{"dataset": "parallel-jsonl", "path": str(path)} for path in evaluate])
    return study_of(folder, ONE.format(train=folder / "rows.jsonl", evaluate=listed, more=more))


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.jsonl")


def test_every_cell_has_a_job_in_the_grids_order(tmp_path):
    _, study, _ = load(tmp_path)
    labels = [f"{size}/a{alpha}" for size in ("tiny", "mini") for alpha in ("0", "0.5", "1")]
    assert [job.label for job in study.cells] == labels
    assert [job.alpha for job in study.cells] == [0, 0.5, 1] * 2
    assert {job.folder("small") for job in study.cells} == {f"small/cells/{job.id}" for job in study.cells}
    assert len({job.id for job in study.scored}) == 8
    assert not study.warm


def test_each_size_has_one_baseline_of_zero_steps(tmp_path):
    _, study, _ = load(tmp_path)
    assert [(job.label, job.size) for job in study.baselines] == [("tiny/start", "tiny"), ("mini/start", "mini")]
    for job in study.baselines:
        assert job.config.train.budget.steps == 0
        assert math.isnan(job.alpha)
        assert [e.dataset for e in job.evaluations] == ["parallel-jsonl"]
    assert study.scored == study.baselines + study.cells


def test_ids_do_not_hang_on_what_changes_nothing(tmp_path):
    _, before, _ = load(tmp_path)
    unmarked = ["name=other", "resources.workers=2", "train.checkpoint_every=3", "retries=0", "evaluation.batch_size=7"]
    _, after, _ = load(tmp_path, *unmarked)
    assert [job.id for job in after.scored] == [job.id for job in before.scored]
    assert [job.evaluations for job in after.scored] == [job.evaluations for job in before.scored]


def test_ids_do_not_hang_on_where_the_data_lies_or_how_it_is_sorted(tmp_path, rows):
    (cell,) = one_cell(tmp_path).cells
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lines = rows.read_text().splitlines(keepends=True)
    (elsewhere / "rows.jsonl").write_text("".join(reversed(lines)))
    (moved,) = one_cell(elsewhere).cells
    assert (moved.id, moved.training) == (cell.id, cell.training)


@pytest.mark.parametrize("override", ["train.lr=1e-3", "train.temperature=0.1", "model.max_query_tokens=8", "seed=1"])
def test_what_is_trained_decides_the_id(tmp_path, override):
    _, before, _ = load(tmp_path)
    _, after, _ = load(tmp_path, override)
    assert not {job.id for job in before.cells} & {job.id for job in after.cells}


def test_other_data_is_another_cell(tmp_path, rows):
    (before,) = one_cell(tmp_path).cells
    with rows.open("a") as file:
        file.write(json.dumps(row(99, "A")) + "\n")
    (after,) = one_cell(tmp_path).cells
    assert after.id != before.id


def test_another_evaluation_set_adds_an_evaluation_and_trains_nothing_again(tmp_path, rows):
    other = write_rows(tmp_path / "other.jsonl", titles=["Z"])
    before, after = one_cell(tmp_path, rows), one_cell(tmp_path, rows, other)
    assert [job.id for job in after.scored] == [job.id for job in before.scored]
    for old, new in zip(before.scored, after.scored, strict=True):
        assert new.evaluations[:1] == old.evaluations
        assert len({e.id for e in new.evaluations}) == 2


def test_the_same_set_twice_is_told_apart_by_names_that_mlflow_takes(tmp_path, rows):
    others = [write_rows(tmp_path / f"{title}.jsonl", titles=[title]) for title in "XYZ"]
    (cell,) = one_cell(tmp_path, *others).cells
    assert [e.dataset for e in cell.evaluations] == ["parallel-jsonl", "parallel-jsonl-2", "parallel-jsonl-3"]


def test_a_warm_start_is_shared_by_the_cells_of_a_size(tmp_path):
    study = study_of(tmp_path, GEO)
    assert [job.label for job in study.warm] == ["tiny/warm", "mini/warm"]
    shared = {job.id: job for job in study.warm}
    for job in study.scored:
        assert shared[job.warm].size == job.size
    assert len(study.cells) == 8
    assert len(study.baselines) == 2
    for job in study.warm:
        (training,) = study.trainings.values()
        assert job.training == training.names_fingerprint
        assert job.config.train.budget.steps == 20
        assert job.config.train.lr == {"tiny": 5e-3, "mini": 3e-3}[job.size]
        assert job.folder("any") == f"warm/{job.id}"


def test_a_warm_start_needs_names(tmp_path, rows):
    text = ONE.format(train=rows, evaluate="[]", more="").replace("tiny", "tiny, warm_start: {steps: 3}")
    with pytest.raises(DataError, match=r"warm_start needs a data set with parallel names, 'parallel-jsonl' has none"):
        study_of(tmp_path, text)


def trained_title(folder):
    """A title the training set keeps: its dev split holds out another."""
    training = next(iter(one_cell(folder).trainings.values()))
    return training.items[0].article


def test_a_claim_that_does_not_hold_is_refused_with_examples(tmp_path, rows):
    title = trained_title(tmp_path)
    shared = write_rows(tmp_path / "shared.jsonl", titles=[title])
    with pytest.raises(DataError) as caught:
        one_cell(tmp_path, shared)
    text = str(caught.value)
    assert f"1 of 1 articles ({title})" in text
    assert f"de question {title} 0?" in text
    assert "allow_overlap: true" in text


def test_all_claims_that_do_not_hold_are_told_at_once(tmp_path, rows):
    title = trained_title(tmp_path)
    shared = [write_rows(tmp_path / f"{n}.jsonl", titles=[title, "Z"][: 1 + n], rows_each=n + 1) for n in range(2)]
    text = ONE.format(
        train=rows,
        evaluate=json.dumps([{"dataset": "parallel-jsonl", "path": str(path), "titles": [title]} for path in shared]),
        more="",
    )
    with pytest.raises(DataError) as caught:
        study_of(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("more", ["allow_overlap: true", "zero_shot: false"])
def test_an_overlap_that_is_allowed_is_kept_and_shown(tmp_path, rows, more):
    shared = write_rows(tmp_path / "shared.jsonl", titles=[trained_title(tmp_path)])
    clean = write_rows(tmp_path / "clean.jsonl", titles=["Z"])
    study = one_cell(tmp_path, clean, shared, more=more)
    ((name, overlap),) = study.overlaps
    assert name == "parallel-jsonl-2"
    assert overlap.counts == {"article": 1, "paragraph": 6, "question": 6}


def test_disjoint_sets_overlap_in_nothing(tmp_path, rows):
    assert one_cell(tmp_path, rows, write_rows(tmp_path / "clean.jsonl", titles=["Z"])).overlaps == ()


def test_the_data_of_all_jobs_is_at_hand(tmp_path):
    _, study, _ = load(tmp_path)
    for job in study.scored:
        assert study.trainings[job.training].languages == LANGUAGES
        assert job.dev in study.retrievals
        assert {e.fingerprint for e in job.evaluations} <= set(study.retrievals)


def test_a_job_survives_its_way_to_another_process(tmp_path):
    _, study, _ = load(tmp_path)
    for job in study.cells:
        assert Job.from_json(job.to_json()) == job
    (baseline, *_) = study.baselines
    back = Job.from_json(baseline.to_json())
    assert (back.id, back.config, back.evaluations) == (baseline.id, baseline.config, baseline.evaluations)
    assert math.isnan(back.alpha)


SEVERAL = """\
name: several
data:
  train:
    - {{dataset: parallel-jsonl, path: {rows}}}
    - {{dataset: geo, languages: [de, en], weight: 2}}
  evaluate: [{{dataset: parallel-jsonl, path: {other}}}]
  allow_overlap: {allow}
model: {{preset: tiny{model}}}
grid:
  - data.train.1.weight: [2, 4, 8]
"""


def several(folder, *, allow="true", model=""):
    rows, other = write_rows(folder / "rows.jsonl"), write_rows(folder / "other.jsonl", titles=tuple("KLMNOP"))
    return study_of(folder, SEVERAL.format(rows=rows, other=other, allow=allow, model=model))


def test_cells_of_several_sets_differ_by_weight_and_share_their_data(tmp_path):
    study = several(tmp_path)
    assert len({job.id for job in study.cells}) == 3
    assert len({(job.training, job.dev) for job in study.cells}) == len(study.trainings) == 1
    assert [job.label for job in study.baselines] == ["tiny/start"]
    (training,) = study.trainings.values()
    assert training.name == "parallel-jsonl + geo"
    assert dict(training.sets).keys() == {"parallel-jsonl", "geo"}
    again = {job.id for job in several(tmp_path).cells}
    assert again == {job.id for job in study.cells}


def test_a_baseline_of_several_sets_does_not_hang_on_their_weights(tmp_path):
    (baseline,) = several(tmp_path).baselines
    text = SEVERAL.replace("[2, 4, 8]", "[5, 6]")
    rows, other = tmp_path / "rows.jsonl", tmp_path / "other.jsonl"
    (same,) = study_of(tmp_path, text.format(rows=rows, other=other, allow="true", model="")).baselines
    assert same.id == baseline.id


def test_a_warm_start_takes_the_names_of_the_sets_that_have_some(tmp_path):
    study = several(tmp_path, model=", warm_start: {steps: 5}")
    (warm,) = study.warm
    (training,) = study.trainings.values()
    assert warm.training == training.names_fingerprint
    assert {job.warm for job in study.cells} == {warm.id}


def test_the_zero_shot_claim_is_checked_over_all_sets(tmp_path):
    sets = {name: write_rows(tmp_path / f"{name}.jsonl", titles=tuple(name)) for name in ("QRS", "ABCDEF", "D")}
    text = SEVERAL.format(rows=sets["QRS"], other=sets["D"], allow="false", model="")
    assert study_of(tmp_path, text).cells
    clashing = text.replace("geo, languages: [de, en]", f"parallel-jsonl, path: {sets['ABCDEF']}")
    with pytest.raises(DataError, match=r"trained on parallel-jsonl \+ parallel-jsonl-2: it shares 1 of 1 articles"):
        study_of(tmp_path, clashing)


def test_pairs_that_the_data_cannot_have_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(DataError, match=r"mix.pairs.pivot is 'fr', must be .*: the training data have de, en; name"):
        load(tmp_path, "mix.pairs={pivot: fr}")


def test_a_schedule_is_part_of_a_job_and_not_of_its_size(tmp_path):
    schedules = "[0.5, {linear: {start: 1, end: 0}}, {steps: [[0, 0], [0.5, 1]]}]"
    _, study, _ = load(tmp_path, f"grid=[{{mix.monolingual: {schedules}}}, {{seed: [0, 1]}}]", "model.preset=tiny")
    assert [(job.alpha, job.schedule, job.variant) for job in study.cells[::2]] == [
        (0.5, "", ""),
        (0.5, "1to0", ""),
        (0.5, "0then1at0.5", ""),
    ]
    assert all(Job.from_json(job.to_json()) == job for job in study.cells)
    older = json.loads(study.cells[0].to_json())
    del older["schedule"]  # as it was stored before there were schedules
    assert Job.from_json(json.dumps(older)) == study.cells[0]


def test_hard_negatives_of_data_without_any_are_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(DataError, match=r"`train.hard_negatives` is 2, needs training data with hard negatives"):
        load(tmp_path, "train.hard_negatives=2")


def test_cells_that_read_the_same_content_from_other_files_are_refused(tmp_path, rows):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(rows.read_bytes())
    grid = f"grid: [{{data.train.path: [{rows}, {copy}]}}]"
    text = ONE.format(train=rows, evaluate="[]", more="") + grid
    with pytest.raises(ConfigError, match=r"would train the same, as they differ only in data\.train\.path and .*keep"):
        study_of(tmp_path, text)
