"""Large batches of XLM-R's shapes on one GPU: tokens a second, beside the chip's matrix rate and sentence-transformers.

XLM-R base and large with fresh weights (`init: random`, so no hub is asked), bf16, 1,024 pairs with gradient
caching; token ids are random, lengths drawn from 8 to 32 (queries) and 64 to 256 (passages). A step counts from
token ids to updated weights. The matrix rate is that of the best of some large bf16 products; the share is 6 x (the
encoder's parameters outside its embeddings) x tokens / seconds over it, so neither the second forward pass nor
attention's own products count as work done. sentence-transformers: CachedMultipleNegativesRankingLoss in a
bare loop, bf16 autocast, fused AdamW, the same texts as columns padded to their longest.

One command, without Ray: on a machine with a GPU and this project installed with the extra `bench`

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --presets base --layers 1 --batch 8 --steps 1   # that it runs at all
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from xling.batching.plan import Plan
from xling.config.schema import CellConfig, DatasetConfig, MixConfig
from xling.data import registry
from xling.model.source import LoadedModel, load_start, save_folder
from xling.model.tokenizer import ensure_tokenizer, tokenizer_path
from xling.storage import Storage
from xling.train.loader import Loader, Texts
from xling.train.memory import peak_bytes, reset_peak
from xling.train.optim import build_optimizer
from xling.train.step import step
from xling.train.task import Task

QUERY, PASSAGE = (8, 33), (64, 257)  # tokens: least, and one more than most
TEMPERATURE = 0.05


class RandomTokens:
    """Token ids and lengths by item; the same each time they are asked for."""

    def __init__(self, items: int, vocabulary: int) -> None:
        rng = np.random.default_rng(0)
        self._queries, self._passages = (
            [rng.integers(5, vocabulary, rng.integers(*lengths)).astype(np.int32) for _ in range(items)]
            for lengths in (QUERY, PASSAGE)
        )

    def query(self, item: int, language: int) -> np.ndarray:
        return self._queries[item]

    def passage(self, item: int, language: int) -> np.ndarray:
        return self._passages[item]

    def negative_rows(self, item: int, language: int) -> range:
        return range(0)

    def negative(self, row: int) -> np.ndarray:
        raise IndexError(row)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--presets", nargs="+", default=["base", "large"])
    parser.add_argument("--layers", type=int, help="only so many, to see that it runs")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--chunk", type=int, nargs="+", default=[64, 128, 256], help="texts at once: each is measured")
    parser.add_argument("--steps", type=int, default=5, help="steps after two of warm-up")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile as well")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here: run it on a machine with one, or see that it runs with --device cpu")
    rate = matrix_rate(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}: bf16 products at {rate / 1e12:.1f} TFLOP/s")
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        for preset in options.presets:
            measure(preset, Path(scratch), rate, device, options)
    return 0


def matrix_rate(device: torch.device) -> float:
    """FLOPs a second of the best of some large bf16 products."""
    sizes = (4096, 8192) if device.type == "cuda" else (512,)
    best = 0.0
    for size in sizes:
        one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
        seconds = [timed(lambda one=one, other=other: one @ other, device) for _ in range(10)]
        best = max(best, 2 * size**3 / min(seconds[2:]))
    return best


def timed(work: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(preset: str, scratch: Path, rate: float, device: torch.device, options: argparse.Namespace) -> None:
    count = 2 + options.steps
    plain: dict[int, float] = {}
    for chunk in options.chunk:
        for compiled in (False, True) if options.compile else (False,):
            loaded, config = fresh(preset, scratch, options, chunk, compiled)
            loaded.encoder.to(device)
            task = make_task(loaded, config, device, count)
            tokens = [task.texts.at(at, chunk, device)[1].tokens for at in range(count)]
            reset_peak(device)
            seconds = ours(task, count)
            report(
                f"{preset}, {chunk} texts at once{', compiled' if compiled else ''}",
                tokens,
                seconds,
                task,
                rate,
                device,
            )
            if not compiled:
                plain[chunk] = statistics.median(seconds[2:])
    theirs = sbert(loaded, task, min(plain, key=plain.__getitem__), count, scratch)
    report(f"{preset}, sentence-transformers", tokens, theirs, task, rate, device)
    print(f"gpu_{preset}_vs_sbert ratio={statistics.median(theirs[2:]) / min(plain.values()):.3f}", flush=True)


def fresh(
    preset: str, scratch: Path, options: argparse.Namespace, chunk: int, compiled: bool
) -> tuple[LoadedModel, CellConfig]:
    """The preset's shape with fresh weights; its vocabulary is learnt from the embedded data set."""
    model = {"preset": preset, "init": "random", "layers": options.layers}
    train = {"batch_size": options.batch, "chunk_size": chunk, "compile": compiled, "precision": "bf16", "lr": 1e-5}
    values = {"data": {"train": {"dataset": "geo"}}, "model": model, "train": {**train, "temperature": TEMPERATURE}}
    config = CellConfig.model_validate(values)
    root = Storage(str(scratch))
    training = registry.get("geo").load_training(DatasetConfig(dataset="geo"))
    ensure_tokenizer(root, training, config.model.learnt_vocabulary)
    with root.local_copy(tokenizer_path(training.texts, config.model.learnt_vocabulary)) as folder:
        return load_start(config.model, 0, folder), config


def make_task(loaded: LoadedModel, config: CellConfig, device: torch.device, steps: int) -> Task:
    items = config.train.batch_size * steps
    plan = Plan(
        item_ids=[str(item) for item in range(items)],
        languages=["en"],
        passages_IL=np.arange(items)[:, None],
        mix=MixConfig(monolingual=1.0),
        batch_size=config.train.batch_size,
        seed=0,
        total_steps=steps,
    )
    if config.train.compile:
        loaded.encoder.backbone.compile(dynamic=True)
    tokens = RandomTokens(items, len(loaded.tokenizer))
    texts = Texts(plan, tokens, loaded.tokenizer.pad_token_id, longest=loaded.encoder.max_tokens)
    optimizer = build_optimizer(loaded.encoder, config.train)
    return Task(loaded.encoder, optimizer, texts, config.train, total_steps=steps, seed=0, device=device)


def ours(task: Task, count: int) -> list[float]:
    task.encoder.train()
    with Loader(task.texts, task.config.chunk_size, task.device, first=0, stop=count) as loader:
        return [timed(lambda: step(task, loader, lambda: False), task.device) for _ in range(count)]


def sbert(loaded: LoadedModel, task: Task, chunk: int, count: int, scratch: Path) -> list[float]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    from xling.batching.sampler import pad

    save_folder(scratch / "model", loaded)
    loaded.encoder.to("cpu")
    task.optimizer.state.clear()
    model = SentenceTransformer(str(scratch / "model"), device=str(task.device))
    loss = CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=chunk)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    model.train()
    reset_peak(task.device)
    seconds = []
    for at in range(count):
        items = task.texts.plan.batch(at).items_B.tolist()
        sides = ([task.texts.tokens.query(i, 0) for i in items], [task.texts.tokens.passage(i, 0) for i in items])

        def one_step(sides: tuple[list[np.ndarray], list[np.ndarray]] = sides) -> None:
            padded = [map(torch.from_numpy, pad(side, task.texts.pad_id)) for side in sides]
            features = [
                {"input_ids": ids.to(task.device), "attention_mask": mask.to(task.device)} for ids, mask in padded
            ]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(task.device.type, torch.bfloat16):
                value = loss(features, torch.empty(0))
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        seconds.append(timed(one_step, task.device))
    return seconds


def report(name: str, tokens: list[int], seconds: list[float], task: Task, rate: float, device: torch.device) -> None:
    per_s = statistics.median(n / s for n, s in zip(tokens[2:], seconds[2:], strict=True))
    share = 6 * task.encoder.parameters_non_embedding * per_s / rate
    pairs = task.config.batch_size / statistics.median(seconds[2:])
    memory = peak_bytes(device) / 2**30
    print(
        f"  {name}: {per_s:,.0f} tokens/s, {pairs:.1f} pairs/s, {share:.1%} of the matrix rate, {memory:.1f} GiB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
