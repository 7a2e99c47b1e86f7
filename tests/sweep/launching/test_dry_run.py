"""``xling sweep FILE --dry-run``: what a sweep becomes in small, and that the studies run to their end so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_sweeps import write_sweep

from xling.config.load import load_sweep
from xling.errors import ConfigError
from xling.sweep.jobs import Job
from xling.sweep.launching import dry_run
from xling.sweep.launching.in_small import BATCH, LAYERS, STEPS, TOKENS, check_names, in_small, stands_in
from xling.sweep.study import build_study

SWEEPS = Path(__file__).resolve().parents[3] / "sweeps"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch, tmp_path):
    for name in ("XLING_DATA", "XLING_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "cache"))


def small(folder, file, *overrides):
    loaded = load_sweep(file, overrides, [check_names], places=False)
    folder.mkdir()
    return loaded, in_small(loaded, folder)


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_sweep_becomes_a_cell_a_model_on_samples(file, tmp_path):
    loaded, cut = small(tmp_path / "small", file)
    names = list(dict.fromkeys(cell.model_name for cell in loaded.cells))
    assert [(cell.label, cell.model_name) for cell in cut.cells] == [(name, name) for name in names]
    study = build_study(cut.cells)  # reads all data and names all weights: no hub is asked, no variable is set
    assert len({job.id for job in study.scored}) == 2 * len(names)
    for cell, job in zip(cut.cells, study.cells, strict=True):
        before = next(one.config for one in loaded.cells if one.model_name == cell.model_name)
        config = cell.config
        assert (config.train.batch_size, config.train.budget.steps, config.resources.gpus_per_worker) == (
            BATCH,
            STEPS,
            0,
        )
        assert [entry.dataset for entry in config.data.evaluate] == [entry.dataset for entry in before.data.evaluate]
        assert len(job.evaluations) == len(before.data.evaluate)
        assert (config.mix, config.train.lr, config.train.keep) == (before.mix, before.train.lr, before.train.keep)
        assert max(config.model.max_query_tokens, config.model.max_passage_tokens) <= TOKENS
        paths = [entry.path for entry in (*config.data.training_sets, *config.data.evaluate) if entry.path]
        assert all(Path(path).is_relative_to(tmp_path) for path in (*paths, cut.config.storage))
        training = study.trainings[job.training]
        assert max(sum(code in item.texts for item in training.items) for code in training.languages) >= BATCH


def test_presets_of_the_hub_keep_their_shape_but_not_their_depth_and_weights(tmp_path):
    _, cut = small(tmp_path / "small", SWEEPS / "size_x_ratio.yaml")
    models = [cell.config.model for cell in cut.cells]
    assert [model.preset for model in models] == ["small", "base", "large"]
    assert {(model.init, model.layers) for model in models} == {("random", LAYERS)}
    assert [cell.config.train.chunk_size for cell in cut.cells] == [None, 2, 2]


def test_no_more_cells_run_at_once_than_the_file_says(tmp_path):
    _, cut = small(tmp_path / "small", write_sweep(tmp_path), "resources={max_concurrent: 3, cpus_per_worker: 64}")
    kept = {(cell.config.resources.max_concurrent, cell.config.resources.cpus_per_worker) for cell in cut.cells}
    assert kept == {(3, 1)}


def test_what_only_its_files_know_is_stood_in_for(tmp_path):
    grid = "grid=[{model.preset: [mid, null, null, null], model.path: [null, models/x, null, null], "
    grid += "model.hub: [null, null, intfloat/multilingual-e5-small, some/model]}]"
    loaded, cut = small(tmp_path / "small", write_sweep(tmp_path), grid)
    assert [cell.config.model.preset for cell in cut.cells] == ["mid", "mini", "e5-small", "mini"]
    assert [stands_in(cell.config.model) for cell in loaded.cells] == [False, True, False, True]
    e5 = cut.cells[2].config.model
    assert (e5.hub, e5.init, e5.query_prefix) == (None, "random", "")  # named by its id, it has no preset's prefix
    study = build_study(cut.cells)
    assert len({job.id for job in study.cells}) == 4


def test_what_chooses_among_the_real_texts_is_left_out(tmp_path):
    data = "data={train: [{dataset: mmarco, path: $NOWHERE/m, languages: [de, fr], limit: 3, weight: 2}, "
    data += "{dataset: geo}], evaluate: [{dataset: mr-tydi, languages: [te], split: dev}, {dataset: mr-tydi}]}"
    _, cut = small(tmp_path / "small", write_sweep(tmp_path), data)
    first, second = cut.cells[0].config.data.training_sets
    assert (first.languages, first.limit, first.weight, second.languages) == (None, None, 2, ("de", "en"))
    study = build_study(cut.cells)
    assert [evaluation.dataset for evaluation in study.cells[0].evaluations] == ["mr-tydi-dev", "mr-tydi"]


def test_entries_of_the_embedded_set_stay_two_and_their_cells_can_be_read_again(tmp_path):
    file = write_sweep(
        tmp_path,
        "name: small\nstorage: {folder}/runs\nmodel: {{preset: tiny}}\ntrain: {{batch_size: 8, budget: {{steps: 9}}}}\n"
        "data:\n  train: [{{dataset: geo, languages: [de, en]}}, {{dataset: geo, languages: [ar, en]}}]\n"
        "  evaluate: [{{dataset: geo}}]\n",
    )
    _, cut = small(tmp_path / "small", file)
    (job,) = build_study(cut.cells).cells
    assert [entry.languages for entry in Job.from_json(job.to_json()).config.data.training_sets] == [
        ("de", "en"),
        ("ar", "en"),
    ]


def test_mistakes_that_need_no_data_to_be_seen_are_told(tmp_path):
    file = write_sweep(tmp_path)
    data = "data={train: {dataset: squadd}, evaluate: [{dataset: xquad-r, path: /nowhere, split: dev}]}"
    with pytest.raises(ConfigError) as caught:
        small(tmp_path / "small", file, data, "model.preset=tinny", "grid=[]", "train.lr=high")
    told = "\n".join(caught.value.problems)
    for text in (
        "data.train.dataset is 'squadd'",
        "data.evaluate.0.split is 'dev'",
        "model.preset is 'tinny'",
        "train.lr",
    ):
        assert text in told
    assert "nowhere" not in told


def test_the_environment_is_as_it_was_and_the_folder_gone(monkeypatch):
    monkeypatch.setenv("XLING_CACHE", "mine")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = dict(os.environ)
    seen = []

    def fail():
        with dry_run._temporary_folder() as folder:
            seen.extend([folder, os.environ["XLING_CACHE"], os.environ["HF_HUB_OFFLINE"]])
            (folder / "file").touch()
            raise ConfigError("wrong")

    with pytest.raises(ConfigError):
        fail()
    folder = seen[0]
    assert seen[1:] == [f"{folder}/cache", "1"]
    assert dict(os.environ) == before
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("study", ["size_x_ratio", "hybrid_batches"])
def test_a_study_runs_dry_and_scores_every_set(study, tmp_path):
    file = SWEEPS / f"{study}.yaml"
    written = yaml.safe_load(file.read_text())
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    repository = str(SWEEPS.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": repository,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "TMPDIR": str(temporary),
        "RAY_TMPDIR": "/tmp",  # paths of its sockets must be short
    }
    options = ["--dry-run", "--json", "--set", "resources.max_concurrent=1"]
    done = subprocess.run(
        [sys.executable, "-m", "xling", "sweep", str(file), *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    models = written["grid"][0]["model.preset"]
    assert (result["event"], result["cells"], result["failures"]) == ("dry-run", models, {})
    assert set(result["states"].values()) == {"done"}
    scored = {(row["label"], row["dataset"]): row["headline"] for row in result["rows"]}
    sets = [entry["dataset"] for entry in written["data"]["evaluate"]]
    assert scored.keys() == {(label, name) for model in models for label in (model, f"{model}/start") for name in sets}
    assert all(any(0 < value <= 1 for value in headline.values()) for headline in scored.values())
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert not list(temporary.glob("xling-dry-run-*"))
