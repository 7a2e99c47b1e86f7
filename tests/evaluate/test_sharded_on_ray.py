"""Search by shards on a Ray cluster, with a process killed under way."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_sets import toy_set

from xling.config.schema import EvaluationConfig, IndexConfig, ModelConfig
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate import blocks
from xling.evaluate.pairs import EmbeddingHome, Progress, evaluate_local, evaluate_model
from xling.model.source import load_folder, load_start, save_folder
from xling.model.tokenizer import tokenizer_digest, train_tokenizer
from xling.storage import Storage


@pytest.fixture
def cluster():
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The interpreter quoted: Ray hands it to a shell, and this folder may have a space in its name.
    environment = {"py_executable": shlex.quote(sys.executable)}
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield ray
    ray.shutdown()


def killing_the_first(function: Callable[..., Any], killed: Path) -> Callable[..., Any]:
    """The function of a task, but who calls it first is killed in it, its pid in the file."""

    def or_be_killed(*arguments: Any) -> Any:
        if not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return or_be_killed


@pytest.mark.slow
def test_a_killed_process_costs_its_block_and_the_result_is_that_of_one_process(
    cluster, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(blocks, "SHARD_TEXTS", 400)
    monkeypatch.setattr("xling.evaluate.pairs.TOKENS_A_TASK", 500)
    retrieval = toy_set(0, queries=60, passages=2000)
    texts = [passage.text for of_language in retrieval.passages.values() for passage in of_language]
    train_tokenizer(texts, vocab_size=100).save_pretrained(tmp_path / "tokenizer")
    model = ModelConfig(preset="mid", max_query_tokens=16, max_passage_tokens=16)
    folder = tmp_path / "model"
    save_folder(folder, load_start(model, 0, tmp_path / "tokenizer"))
    loaded = load_folder(folder)
    storage = Storage(str(tmp_path))
    tokens = tokenize_retrieval(
        storage, loaded.tokenizer, tokenizer_digest(loaded.tokenizer), retrieval, loaded.settings
    )
    settings = EvaluationConfig(index=IndexConfig(kind="flat"), batch_size=16, depth=100, keep_embeddings=True)
    home = EmbeddingHome.of(storage, folder, loaded)
    killed = tmp_path / "killed"
    monkeypatch.setattr(blocks, "encode_run", killing_the_first(blocks.encode_run, killed))
    seen: list[Progress] = []
    options = {"max_tasks": 2, "home": home, "progress": seen.append}
    far = evaluate_model(str(folder), retrieval, tokens, settings, **options)
    assert int(killed.read_text()) != os.getpid()
    torch.set_num_threads(1)
    assert far.to_json() == evaluate_local(loaded, retrieval, tokens, settings).to_json()
    assert [progress.done for progress in seen if progress.stage == "score"][-1] == 3 * 60 * 3 * 2000

    shards = {file: file.stat().st_mtime_ns for file in (tmp_path / "embeddings").rglob("*.npy")}
    assert len(shards) == 1 + 5  # of one language: the toy texts are the same in all three
    approximate = settings.model_copy(update={"index": IndexConfig(kind="ivf", nlist=16)})
    found = evaluate_model(str(folder), retrieval, tokens, approximate, **options)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "embeddings").rglob("*.npy")} == shards
    assert found.search.recall[100] > 0.5

    dropped = approximate.model_copy(update={"keep_embeddings": False})
    evaluate_model(str(folder), retrieval, tokens, dropped, **options)
    assert not list((tmp_path / "embeddings").rglob("*.npy"))


@pytest.mark.slow
def test_a_set_ranked_whole_keeps_its_embeddings_too(cluster, tmp_path: Path) -> None:
    retrieval = toy_set(0)
    texts = [passage.text for of_language in retrieval.passages.values() for passage in of_language]
    train_tokenizer(texts, vocab_size=100).save_pretrained(tmp_path / "tokenizer")
    folder = tmp_path / "model"
    start = ModelConfig(preset="tiny", max_query_tokens=16, max_passage_tokens=16)
    save_folder(folder, load_start(start, 0, tmp_path / "tokenizer"))
    loaded = load_folder(folder)
    storage = Storage(str(tmp_path))
    tokens = tokenize_retrieval(
        storage, loaded.tokenizer, tokenizer_digest(loaded.tokenizer), retrieval, loaded.settings
    )
    home = EmbeddingHome.of(storage, folder, loaded)
    keeping = EvaluationConfig(keep_embeddings=True)
    first = evaluate_model(str(folder), retrieval, tokens, keeping, max_tasks=2, home=home)
    (kept,) = (tmp_path / "embeddings").rglob("*.npy")
    # A file that says something else under the same name shows that the second time it is read.
    before = kept.stat().st_mtime_ns
    seen: list[Progress] = []
    again = evaluate_model(str(folder), retrieval, tokens, keeping, max_tasks=2, home=home, progress=seen.append)
    assert again.to_json() == first.to_json()
    assert kept.stat().st_mtime_ns == before
    assert len([progress for progress in seen if progress.stage == "encode"]) == 1
