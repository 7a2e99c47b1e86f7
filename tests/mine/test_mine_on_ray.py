"""Mining on a Ray cluster, with a process killed under way, against mining in this process."""

import os
from pathlib import Path

import pytest
import torch
from small_mines import Tokens, small_training
from test_sharded_on_ray import cluster, killing_the_first
from toy_encoders import toy_model

from xling.config.schema import EvaluationConfig
from xling.evaluate.search.place import Cluster, Here
from xling.evaluate.search.shards import ShardStore
from xling.languages import all_pairs
from xling.mine import miner
from xling.mine.candidates import candidates_of
from xling.mine.choose import Rule

__all__ = ["cluster"]


@pytest.mark.slow
def test_a_killed_process_costs_its_block_and_the_rows_are_those_of_one_process(
    cluster, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(miner, "BLOCK", 64)
    training = small_training(items=400)
    pairs = all_pairs(training.languages)[:4]
    candidates = candidates_of(training, pairs)
    rule = Rule(first=2, last=40, max_share=None, choose="random", seed=1)
    loaded = toy_model()
    torch.set_num_threads(1)

    def mined(place, folder: str, tasks: int) -> list[bytes]:
        found = miner.mine(
            candidates,
            pairs,
            rule,
            Tokens.of(candidates.retrieval),
            EvaluationConfig(),
            place,
            ShardStore(str(tmp_path / folder), "float32"),
            lambda: loaded,
            deepest=1000,
            tasks=tasks,
            tell=lambda progress: None,
        )
        return list(found.lines())

    here = mined(Here(1), "here", 1)
    killed = tmp_path / "killed"
    monkeypatch.setattr(miner, "mine_block", killing_the_first(miner.mine_block, killed))
    assert mined(Cluster(1), "cluster", 2) == here
    assert int(killed.read_text()) != os.getpid()
    assert len(here) > 1000
