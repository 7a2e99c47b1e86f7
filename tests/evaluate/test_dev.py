from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from toy_sets import toy_set

from xling.config.schema import EvaluationConfig, ModelConfig
from xling.data.stored import store_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.dev import DevScorer
from xling.evaluate.pairs import evaluate_local
from xling.evaluate.result import dev_measure
from xling.model.source import LoadedModel, load_folder, load_start, save_folder
from xling.model.tokenizer import tokenizer_digest, train_tokenizer
from xling.storage import Storage


def prepare(folder: Path) -> tuple[Storage, LoadedModel]:
    retrieval = toy_set(0, queries=30, passages=40)
    root = Storage(str(folder))
    store_retrieval(root, retrieval)
    texts = [passage.text for of_language in retrieval.passages.values() for passage in of_language]
    train_tokenizer(texts, vocab_size=100).save_pretrained(folder / "tokenizer")
    start = load_start(ModelConfig(preset="tiny"), 0, folder / "tokenizer")
    save_folder(folder / "model", start)
    return root, start


def score_as_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    start = load_folder(folder / "model")
    value = DevScorer(Storage(str(folder)), "c0ffee", start, rank, 2, batch_size=16).score(start.encoder)
    (folder / f"dev-{rank}").write_text(repr(value))
    dist.destroy_process_group()


def test_dev_value_is_that_of_a_local_evaluation(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    root, start = prepare(tmp_path)
    retrieval = toy_set(0, queries=30, passages=40)
    tokens = tokenize_retrieval(root, start.tokenizer, tokenizer_digest(start.tokenizer), retrieval, start.settings)
    expected = dev_measure(evaluate_local(start, retrieval, tokens, EvaluationConfig(batch_size=16)))
    assert DevScorer(root, "c0ffee", start, 0, 1, batch_size=16).score(start.encoder) == expected


@pytest.mark.slow
def test_two_ranks_get_the_same_value_as_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    root, start = prepare(tmp_path)
    alone = DevScorer(root, "c0ffee", start, 0, 1, batch_size=16).score(start.encoder)
    mp.spawn(score_as_rank, args=(tmp_path,), nprocs=2)
    assert [float((tmp_path / f"dev-{rank}").read_text()) for rank in range(2)] == [alone, alone]
