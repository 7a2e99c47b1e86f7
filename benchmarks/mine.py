"""Mining hard negatives from ready embeddings, beside sentence-transformers' ``mine_hard_negatives``.

20,000 questions and passages, one of which answers each, as random unit vectors in clusters; what counts is
everything but encoding: search, positives and margin, choice, rows. Both sides get the same vectors,
threads and rule (from rank 1, a margin below the positive, the nearest that fit), and are run in turn; medians
are compared, and the negatives they choose. The other side is taken both ways it can search.

    python benchmarks/mine.py [--passages N] [--threads N] [--repeats N] [--ray]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import util
from xling.sweep.placing.cluster import ray_cluster

from xling.config.schema import EvaluationConfig
from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.evaluate.blocks import block_tokens, cut_blocks
from xling.evaluate.search.place import Cluster, Here, Place
from xling.evaluate.search.shards import ShardStore, block_key
from xling.languages import LangPair
from xling.mine.candidates import Candidates, candidates_of
from xling.mine.choose import Rule
from xling.mine.miner import mine

DIMENSION, CLUSTERS, SPREAD = 384, 200, 0.7
RULE = Rule(first=1, last=100, margin=0.05, max_share=None, per_question=8)
PAIR = LangPair("en", "en")
BAR_TIME, BAR_SAME = 1.0, 0.999
Chosen = dict[int, list[int]]  # passages by question, nearest first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="ours as that many Ray tasks of one thread")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    queries_QD, passages_ND = vectors(options.passages)
    training = training_of(options.passages)
    with contextlib.ExitStack() as stack:
        place: Place = Here(options.threads)
        if options.ray:
            stack.enter_context(ray_cluster("local"))
            place = Cluster(1)
        ways: dict[str, Callable[[], Chosen]] = {
            "xling": lambda: ours(training, queries_QD, passages_ND, place, options.threads),
            "sentence-transformers": lambda: theirs(queries_QD, passages_ND, use_faiss=False),
            "sentence-transformers, FAISS": lambda: theirs(queries_QD, passages_ND, use_faiss=True),
        }
        return report(*run(ways, options.repeats), options)


def vectors(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Questions and the passages that answer them, around the centres of clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, DIMENSION))
    passages = centres[rng.integers(0, CLUSTERS, count)] + rng.normal(size=(count, DIMENSION))
    questions = passages + SPREAD * rng.normal(size=(count, DIMENSION))
    return tuple(  # type: ignore[return-value]
        (of / np.linalg.norm(of, axis=1, keepdims=True)).astype(np.float32) for of in (questions, passages)
    )


def training_of(count: int) -> TrainingSet:
    items = [
        ParallelItem(f"{n}", f"a{n}", {"en": TextPair(f"question {n}", f"passage {n}", f"en/{n}")})
        for n in range(count)
    ]
    return TrainingSet("random", ("en",), items, fingerprint_items(("en",), items))


class Tokens:
    """A token a text, its number: what the embeddings on storage are found by."""

    def __init__(self, candidates: Candidates) -> None:
        retrieval = candidates.retrieval
        self.queries, self.passages = (
            {"en": [np.array([number_of(one.id)], np.int32) for one in side["en"]]}
            for side in (retrieval.queries, retrieval.passages)
        )


def number_of(text_id: str) -> int:
    return int(text_id.rpartition("/")[2])


seconds_outside = 0.0  # of the runs so far: putting the embeddings where an encoder would


def ours(training: TrainingSet, queries_QD: np.ndarray, passages_ND: np.ndarray, place: Place, tasks: int) -> Chosen:
    """As ``xling mine`` does it, from the training set to the rows."""
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        store = ShardStore(str(Path(scratch) / "embeddings"), "float32")
        candidates = candidates_of(training, [PAIR])
        tokens = Tokens(candidates)
        put_embeddings(store, tokens, queries_QD, passages_ND)
        found = mine(
            candidates,
            [PAIR],
            RULE,
            tokens,
            EvaluationConfig(),
            place,
            store,
            no_model,
            deepest=1000,
            tasks=tasks,
            tell=lambda progress: None,
        )
        rows = map(json.loads, found.lines())
        return {int(row["item"]): list(map(number_of, row["negatives"])) for row in rows}


def put_embeddings(store: ShardStore, tokens: Tokens, queries_QD: np.ndarray, passages_ND: np.ndarray) -> None:
    global seconds_outside
    began = time.perf_counter()
    sides: Sequence[tuple[Any, dict[str, list[np.ndarray]], np.ndarray]] = (
        ("queries", tokens.queries, queries_QD),
        ("passages", tokens.passages, passages_ND),
    )
    for role, texts, embeddings_XD in sides:
        for block in cut_blocks(role, "en", len(texts["en"])):
            flat = block_tokens(tokens, block)
            store.write(block_key(flat), embeddings_XD[flat.values], {})
    seconds_outside += time.perf_counter() - began


def no_model() -> Any:
    raise AssertionError("all embeddings are there")


class Lookup:
    """What ``mine_hard_negatives`` asks of a model, with every text's vector ready."""

    device = torch.device("cpu")
    similarity = staticmethod(util.dot_score)
    similarity_pairwise = staticmethod(util.pairwise_dot_score)

    def __init__(self, queries_QD: np.ndarray, passages_ND: np.ndarray) -> None:
        self._queries_QD, self._passages_ND = queries_QD, passages_ND

    def get_embedding_dimension(self) -> int:
        return self._queries_QD.shape[1]

    def encode_query(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        return self._queries_QD[[int(text.split()[1]) for text in texts]]

    def encode_document(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        return self._passages_ND[[int(text.split()[1]) for text in texts]]


def theirs(queries_QD: np.ndarray, passages_ND: np.ndarray, *, use_faiss: bool) -> Chosen:
    count = len(queries_QD)
    pairs = Dataset.from_dict(
        {"query": [f"question {n}" for n in range(count)], "answer": [f"passage {n}" for n in range(count)]}
    )
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        found = util.mine_hard_negatives(
            pairs,
            Lookup(queries_QD, passages_ND),  # type: ignore[arg-type]
            range_max=RULE.last,
            absolute_margin=RULE.margin,
            num_negatives=RULE.per_question,
            use_faiss=use_faiss,
            output_format="labeled-list",
            verbose=False,
        )
    chosen: Chosen = {}
    for question, passages in zip(found["query"], found["answer"], strict=True):
        chosen[int(question.split()[1])] = [int(text.split()[1]) for text in passages[1:]]
    return chosen


def run(ways: dict[str, Callable[[], Chosen]], repeats: int) -> tuple[dict[str, list[float]], dict[str, Chosen]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Chosen] = {}
    for repeat in range(repeats + 1):  # the first warms up
        for name, way in ways.items():
            began, before = time.perf_counter(), seconds_outside
            found[name] = way()
            if repeat:
                seconds[name].append(time.perf_counter() - began - (seconds_outside - before))
    return seconds, found


def report(seconds: dict[str, list[float]], found: dict[str, Chosen], options: argparse.Namespace) -> int:
    print(f"{options.passages:,} passages, {options.threads} threads, medians of {options.repeats}:")
    for name, of in seconds.items():
        mined = sum(map(len, found[name].values()))
        print(f"  {name}: {statistics.median(of):.2f} s ({min(of):.2f} to {max(of):.2f}), {mined:,} negatives")
    mine_, other = found["xling"], found["sentence-transformers"]
    same = sum(mine_.get(question, []) == negatives for question, negatives in other.items()) / max(1, len(other))
    ratios = {
        "mine_vs_sbert": (
            min(map(statistics.median, list(seconds.values())[1:])) / statistics.median(seconds["xling"]),
            BAR_TIME,
        ),
        "mine_same_negatives": (same, BAR_SAME),
    }
    for name, (ratio, bar) in ratios.items():
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    return 0 if all(ratio >= bar for ratio, bar in ratios.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
