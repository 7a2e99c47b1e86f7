"""Two training sets with weights through the command line, on a real Ray cluster of this machine."""

import json
from pathlib import Path

import pytest
import torch
from commands import Command, reference_weights
from small_sweeps import write_rows

from xling.batching.plan import plan_for
from xling.config.load import load_sweep
from xling.evaluate.result import EvaluationResult
from xling.storage import Storage
from xling.sweep.study import build_study
from xling.train.checkpoint import tensors_from_bytes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS, BATCH = 60, 16
# Trained in German and English, scored in Spanish too.
SWEEP = f"""
name: several
storage: {{folder}}/runs
data:
  train:
    - {{{{dataset: geo, languages: [de, en]}}}}
    - {{{{dataset: parallel-jsonl, path: {{folder}}/rows.jsonl, weight: 1}}}}
  evaluate: [{{{{dataset: geo, languages: [de, en, es]}}}}]
model: {{{{preset: tiny, max_query_tokens: 32, max_passage_tokens: 32}}}}
train: {{{{batch_size: {BATCH}, budget: {{{{steps: {STEPS}}}}}, lr: 4e-3, checkpoint_every: {STEPS}}}}}
resources: {{{{max_concurrent: 1}}}}
grid:
  - data.train.1.weight: [1, 50]
"""


def write_sweep(folder: Path) -> Path:
    write_rows(folder / "rows.jsonl", titles=tuple("ABCDEFGHIJKLMNOPQRST"))
    file = folder / "several.yaml"
    file.write_text(SWEEP.format(folder=folder))
    return file


def test_two_weighted_sets_are_drawn_trained_and_scored_as_planned(tmp_path):
    tmp_path = tmp_path / "my sets"
    tmp_path.mkdir()
    file = write_sweep(tmp_path)
    sweep = Command("sweep", str(file), "--json")
    assert sweep.finish() == 0, sweep.tail()
    events = [json.loads(line) for line in sweep.lines if line.startswith('{"')]
    assert set(events[-1]["states"].values()) == {"done"}
    told = [event["evaluation"] for event in events if "evaluation" in event]
    assert all(of["dataset"] == "geo" and 0 < of["done"] <= of["total"] and of["left"] >= 0 for of in told)

    study, root = build_study(load_sweep(file).cells), Storage(str(tmp_path / "runs"))
    given = {}
    for job, weight in zip(study.cells, (1, 50), strict=True):
        training = study.trainings[job.training]
        cell = root.child(job.folder("several"))
        composition = cell.read_json("composition.json")
        plan = plan_for(training, job.config.mix, BATCH, STEPS, job.config.seed, weights=[1, weight])
        assert composition == json.loads(json.dumps(plan.composition(0, STEPS).as_json()))
        assert [of["weight"] for of in composition["sets"].values()] == [1, weight]
        assert sum(of["batches"] for of in composition["sets"].values()) == STEPS
        given[weight] = composition["sets"]["parallel-jsonl"]["batches"]

        expected = reference_weights(root, file, job.label)
        trained = tensors_from_bytes(cell.read("model/model.safetensors"))
        assert all(torch.equal(expected[name], trained[name]) for name in expected)

        (evaluation,) = job.evaluations
        result = EvaluationResult.load(cell.child(f"eval/{evaluation.id}"))
        assert set(result.languages) == {"de", "en", "es"}
        assert result.trained_languages == ("de", "en")
        assert cell.read_json("result.json")["model"]["languages"] == ["de", "en"]
    assert 0 < given[1] < given[50] < STEPS

    (baseline,) = study.baselines
    start = EvaluationResult.load(root.child(f"{baseline.folder('several')}/eval/{baseline.evaluations[0].id}"))
    assert start.trained_languages == ()

    out, runs = tmp_path / "out", tmp_path / "trec"
    scored = Command(
        "evaluate", f"several/{job.label}", "--dataset", "geo", "--languages", "de,en,es",
        "--storage", str(tmp_path / "runs"), "--out", str(out), "--run-files", str(runs),
    )  # fmt: skip
    assert scored.finish() == 0, scored.tail()
    assert any("by training language" in line for line in scored.lines), scored.tail()
    again = EvaluationResult.load(Storage(str(out)))
    assert again.trained_languages == ("de", "en")
    assert dict(again.headline) == dict(result.headline)  # of the last cell
    assert {path.name for path in runs.iterdir()} >= {"de-en.run.gz", "en-de.run.gz", "de-pool.run.gz"}
