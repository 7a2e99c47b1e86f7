"""``xling evaluate`` without its cluster: what it asks of one, and where its results go."""

import json
from contextlib import nullcontext

import pytest
from rich.console import Console
from small_models import tiny_model
from small_sweeps import made_up_result, write_rows

from xling import cli
from xling.config.schema import DatasetConfig, EvaluationConfig
from xling.evaluate.result import EvaluationResult
from xling.model.source import save_folder
from xling.storage import Storage
from xling.sweep.models import standalone
from xling.sweep.models.sources import ModelSource
from xling.sweep.models.standalone import evaluate_models


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    """Scores a small model on sets of rows, ``evaluate_model`` left out; what was asked of it, and what was told."""
    save_folder(tmp_path / "model", tiny_model(tmp_path / "tokenizer"))
    asked = []

    def score(model_url, retrieval, tokens, settings, **options):
        asked.append({"model_url": model_url, **options})
        return made_up_result(retrieval.fingerprint, 0.8, 0.6, 12.0)

    monkeypatch.setattr(standalone, "evaluate_model", score)
    monkeypatch.setattr(standalone, "ray_cluster", lambda address: nullcontext())

    def run(*files, model=str(tmp_path / "model"), **options):
        given = {"address": None, "workers": 2, "gpus": 0, "run_files": None, "out": None, "as_json": True, **options}
        sets = [DatasetConfig(dataset="parallel-jsonl", path=str(file)) for file in files]
        evaluate_models(model, sets, (), EvaluationConfig(), str(tmp_path / "runs"), Console(width=200), **given)
        return asked, json.loads(capsys.readouterr().out)["results"]

    return run


def test_sets_of_one_name_have_folders_of_their_own(evaluate, tmp_path):
    files = [write_rows(tmp_path / f"{name}.jsonl", titles=list(name)) for name in ("ABCDEFGHIJ", "KLMNOPQRST")]
    asked, told = evaluate(*files, out=tmp_path / "out", run_files=tmp_path / "trec")
    names = ("parallel-jsonl-dev", "parallel-jsonl-dev-2")
    saved = [EvaluationResult.load(Storage(str(tmp_path / "out" / "model" / name))) for name in names]
    assert [result.fingerprint for result in saved] == [result["fingerprint"] for result in told]
    assert saved[0].fingerprint != saved[1].fingerprint
    assert [one["run_folder"].url for one in asked] == [str(tmp_path / "trec" / "model" / name) for name in names]


def test_a_single_result_is_the_folder_itself(evaluate, tmp_path):
    evaluate(write_rows(tmp_path / "rows.jsonl"), out=tmp_path / "out")
    assert EvaluationResult.load(Storage(str(tmp_path / "out"))).dataset == "parallel-jsonl-dev"


def test_a_task_encodes_on_as_many_gpus_as_are_asked_for(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(standalone, "evaluate_models", lambda *arguments, **options: asked.update(options))
    for options in ((), ("--gpus", "0.5")):
        cli.app(["evaluate", str(tmp_path), "--dataset", "geo", *options], standalone_mode=False)
        assert asked["gpus"] == (0.5 if options else 0)


@pytest.mark.parametrize(("address", "expected"), [(None, "model"), ("head:6379", "runs/hub-models/")])
def test_tasks_of_a_cluster_are_told_where_they_find_a_hub_model(evaluate, tmp_path, monkeypatch, address, expected):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    source = ModelSource(lambda: nullcontext(tmp_path / "model"), of_hub=True)
    monkeypatch.setattr(standalone, "model_sources", lambda *arguments: {"org/encoder": source})
    ((asked,), _) = evaluate(write_rows(tmp_path / "rows.jsonl"), model="org/encoder", address=address)
    assert asked["model_url"].startswith(str(tmp_path / expected))


def test_gpus_are_asked_for_each_task(evaluate, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl")
    for gpus in (0, 0.5):
        asked, _ = evaluate(rows, gpus=gpus)
        assert asked[-1]["gpus_per_task"] == gpus
