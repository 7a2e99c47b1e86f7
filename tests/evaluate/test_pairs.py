import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_encoders import toy_encoder, toy_model
from toy_sets import assert_equals_trec_eval, score_vectors, toy_set, toy_tokens

from xling.config.schema import EvaluationConfig
from xling.errors import CheckpointError, NonFiniteError, ResourceError
from xling.evaluate.encode import FlatTokens, encode
from xling.evaluate.layout import build_layout
from xling.evaluate.pairs import Progress, evaluate_local, evaluate_model, task_count
from xling.evaluate.result import EvaluationResult
from xling.storage import Storage


def bits(result: EvaluationResult) -> tuple:
    return result.to_json(), result.per_query.to_pydict()


def test_local_evaluation_is_encoding_and_scoring_with_run_files_that_agree(tmp_path: Path) -> None:
    retrieval = toy_set(0)
    tokens = toy_tokens(retrieval, 0)
    seen: list[Progress] = []
    settings = EvaluationConfig(batch_size=8, run_files=True)
    result = evaluate_local(
        toy_model(), retrieval, tokens, settings, run_folder=Storage(str(tmp_path)), progress=seen.append
    )
    flat = FlatTokens.of_retrieval(build_layout(retrieval), tokens)
    vectors = encode(toy_encoder(), flat, batch_size=8, batch_tokens=settings.batch_tokens, pad_id=0)
    assert bits(result) == bits(score_vectors(retrieval, vectors))
    assert assert_equals_trec_eval(result, tmp_path) > 300
    assert seen[-1] == Progress("score", 12, 12)
    assert max(progress.done for progress in seen if progress.stage == "encode") == len(flat)
    assert all(progress.left is not None and progress.left >= 0 for progress in seen)
    assert [progress.left for progress in seen if progress.done == progress.total] == [0, 0]


def test_run_files_are_only_written_where_asked_for(tmp_path: Path) -> None:
    retrieval = toy_set(0)
    evaluate_local(
        toy_model(), retrieval, toy_tokens(retrieval, 0), EvaluationConfig(), run_folder=Storage(str(tmp_path))
    )
    assert not list(tmp_path.iterdir())


def test_a_model_that_has_diverged_is_refused_naming_the_text() -> None:
    model = toy_model()
    with torch.no_grad():
        model.encoder.backbone.embeddings.word_embeddings.weight[7] = float("nan")
    retrieval = toy_set(0)
    tokens = toy_tokens(retrieval, 0)
    tokens = replace(
        tokens,
        queries={code: [np.where(text == 7, 8, text) for text in texts] for code, texts in tokens.queries.items()},
    )
    broken = next(
        passage.id
        for code in retrieval.languages
        for passage, text in zip(retrieval.passages[code], tokens.passages[code], strict=True)
        if 7 in text
    )
    with pytest.raises(NonFiniteError, match=rf"embedding of passage '{broken}' holds NaN"):
        evaluate_local(model, retrieval, tokens, EvaluationConfig())


def test_small_sets_take_one_task_and_large_ones_what_there_is() -> None:
    assert task_count(2_000 * 30, max_tasks=8, room=64) == 1
    assert task_count(3_000_000, max_tasks=8, room=64) == 8
    assert task_count(3_000_000, max_tasks=100, room=6) == 6
    assert task_count(0, max_tasks=8, room=64) == 1


def test_without_a_cluster_the_fan_out_says_so() -> None:
    retrieval = toy_set(0)
    with pytest.raises(ResourceError, match=r"no Ray cluster is connected"):
        evaluate_model("model", retrieval, toy_tokens(retrieval, 0), EvaluationConfig(), max_tasks=2)


@pytest.fixture
def cluster(tmp_path: Path):
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    tests = str(Path(__file__).parent)
    # The interpreter quoted: Ray hands it to a shell, and this folder may have a space in its name.
    environment = {"env_vars": {"PYTHONPATH": tests}, "py_executable": shlex.quote(sys.executable)}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_fanned_out_over_ray_the_result_is_the_same_bits(cluster, tmp_path: Path, monkeypatch) -> None:
    from xling.config.schema import ModelConfig
    from xling.data.tokenize import tokenize_retrieval
    from xling.model.source import load_folder, load_start, save_folder
    from xling.model.tokenizer import tokenizer_digest, train_tokenizer

    retrieval = toy_set(0, queries=40, passages=60)
    texts = [passage.text for of_language in retrieval.passages.values() for passage in of_language]
    train_tokenizer(texts, vocab_size=100).save_pretrained(tmp_path / "tokenizer")
    model = ModelConfig(preset="tiny", max_query_tokens=16, max_passage_tokens=16)
    save_folder(tmp_path / "model", load_start(model, 0, tmp_path / "tokenizer"))
    loaded = load_folder(tmp_path / "model")
    digest = tokenizer_digest(loaded.tokenizer)
    tokens = tokenize_retrieval(Storage(str(tmp_path)), loaded.tokenizer, digest, retrieval, loaded.settings)
    settings = EvaluationConfig(batch_size=16, run_files=True)
    monkeypatch.setattr("xling.evaluate.pairs.TOKENS_A_TASK", 500)  # so that this little work is shared out

    torch.set_num_threads(1)
    local = evaluate_local(loaded, retrieval, tokens, settings, run_folder=Storage(str(tmp_path / "local")))
    seen: list[Progress] = []
    far = {"max_tasks": 2, "run_folder": Storage(str(tmp_path / "far")), "progress": seen.append}
    model_folder = str(tmp_path / "model")
    fanned = evaluate_model(model_folder, retrieval, tokens, settings, **far)
    assert bits(fanned) == bits(local)
    assert len([progress for progress in seen if progress.stage == "encode"]) > 2
    for file in (tmp_path / "local").iterdir():
        assert (tmp_path / "far" / file.name).read_bytes() == file.read_bytes()

    # Within a trial's placement group, which has no CPU to give and captures child tasks.
    group = cluster.util.placement_group([{"memory": 1}])
    strategy = cluster.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
        group, placement_group_capture_child_tasks=True
    )
    trial = cluster.remote(evaluate_model).options(num_cpus=0, memory=1, scheduling_strategy=strategy)
    captured = trial.remote(model_folder, retrieval, toy_tokens(retrieval, 0), settings, max_tasks=2)
    assert cluster.get(captured, timeout=100).pair_queries.sum() > 0

    # A user's error comes through as itself, and what no node can hold is refused at once.
    (tmp_path / "model" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError) as caught:
        evaluate_model(model_folder, retrieval, tokens, settings, max_tasks=2)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(ResourceError, match=r"needs 3 CPUs"):
        evaluate_model(model_folder, retrieval, tokens, settings, max_tasks=2, cpus_per_task=3)
