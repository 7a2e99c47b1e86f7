"""Gradient caching beside the plain step and beside sentence-transformers' cached loss: memory and speed.

The MiniLM folder on parallel SQuAD text, questions and passages of at most 64 tokens; batches of 256 pairs, 32
texts' activations at once. With ``--full`` query and positive are a passage and its translation instead, so that
nearly all texts have 64 tokens and there is no padding to save. Each way runs in a process of its own,
in turn, several times; a step counts from token ids to updated weights, the first one is warm-up. Memory is the
greatest resident size of the whole process. Theirs is CachedMultipleNegativesRankingLoss in a bare loop with the
same optimiser and clipping, on features that are ready before the clock starts.

At last one cached step of 512 pairs of 256 tokens, which must fit into 6 GiB. Needs Linux (it reads /proc).

    python benchmarks/gradcache.py [--data FILE] [--threads N] [--steps N] [--repeats N] [--batch N] [--length N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from training_task import PARALLEL_SQUAD, cell, make_task, model_folder, run_steps, training_text

from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, TextPair, TrainingSet
from xling.train.memory import peak_bytes

CHUNK, TEMPERATURE, LR = 32, 0.05, 2e-5
WAYS = ("plain", "cached", "sentence-transformers")
BAR_MEMORY, BAR_PLAIN, BAR_SBERT, FITS = 3.0, 0.6, 1.1, 6 * 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PARALLEL_SQUAD, help="a parallel-jsonl file")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=2, help="steps a turn, after the warm-up")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--full", action="store_true", help="texts that fill the length")
    parser.add_argument("--large", type=int, nargs=2, default=(512, 256), metavar=("BATCH", "LENGTH"))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options)))
        return 0
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.repeats):
        for way in WAYS:
            runs[way].append(in_a_process(options, way, options.batch, options.length, options.steps))
            taken, memory = runs[way][-1]["seconds"], runs[way][-1]["peak"]
            print(f"  {way}: {taken:.2f} s a step, {memory / 2**20:.0f} MiB", flush=True)
    large = in_a_process(options, "cached", *options.large, steps=0)
    seconds = {way: statistics.median(run["seconds"] for run in of) for way, of in runs.items()}
    peaks = {way: max(run["peak"] for run in of) for way, of in runs.items()}
    print(f"{options.threads} threads, {options.batch} pairs of {options.length} tokens, medians of {options.repeats}:")
    for way in WAYS:
        print(f"  {way}: {options.batch / seconds[way]:.2f} pairs/s, {peaks[way] / 2**20:.0f} MiB")
    pairs, length = options.large
    print(f"  cached, {pairs} x {length}: {pairs / large['seconds']:.2f} pairs/s, {large['peak'] / 2**20:.0f} MiB")
    ratios = {
        "gradcache_memory": (peaks["plain"] / peaks["cached"], BAR_MEMORY),
        "gradcache_vs_plain": (seconds["plain"] / seconds["cached"], BAR_PLAIN),
        "gradcache_vs_sbert": (seconds["sentence-transformers"] / seconds["cached"], BAR_SBERT),
        "gradcache_fits": (FITS / large["peak"], 1.0),
    }
    for name, (ratio, bar) in ratios.items():
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    return 0 if all(ratio >= bar for ratio, bar in ratios.values()) else 1


def in_a_process(options: argparse.Namespace, way: str, batch: int, length: int, steps: int) -> dict[str, float]:
    arguments = {"--data": options.data, "--threads": options.threads, "--steps": steps, "--batch": batch}
    arguments |= {"--length": length, "--way": way}
    command = [sys.executable, __file__, *(str(part) for pair in arguments.items() for part in pair)]
    command += ["--full"] if options.full else []
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def measure(options: argparse.Namespace) -> dict[str, float]:
    """One way: the median step after the warm-up (the warm-up itself where there are no others), and the peak."""
    torch.set_num_threads(options.threads)
    training = translations(options.data) if options.full else training_text(options.data)
    count = 1 + options.steps
    seconds = theirs(options, training, count) if options.way == WAYS[2] else ours(options, training, count)
    return {"seconds": statistics.median(seconds[1:] or seconds), "peak": peak_bytes(torch.device("cpu"))}


def translations(path: Path) -> TrainingSet:
    """Pairs of a passage and its translation, each passage once."""
    whole = training_text(path)
    first, second = (code for code in whole.languages if code in ("en", "es"))
    made = {}
    for item in whole.items:
        if first in item.texts and second in item.texts:
            one, other = item.texts[first], item.texts[second]
            pair = {first: TextPair(other.passage, one.passage, one.passage_id)}
            pair[second] = TextPair(one.passage, other.passage, other.passage_id)
            made.setdefault(one.passage_id, ParallelItem(item.id, item.article, pair))
    items = list(made.values())
    return TrainingSet("translations", (first, second), items, fingerprint_items((first, second), items))


def ours(options: argparse.Namespace, training: TrainingSet, count: int) -> list[float]:
    config = cell(
        batch_size=options.batch,
        dropout=None,
        max_query_tokens=options.length,
        max_passage_tokens=options.length,
        lr=LR,
        temperature=TEMPERATURE,
        chunk_size=CHUNK if options.way == "cached" else None,
    )
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        run_steps(make_task(scratch, training, config), 0, count, lambda record, taken: seconds.append(taken))
    return seconds


def theirs(options: argparse.Namespace, training: TrainingSet, count: int) -> list[float]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model = SentenceTransformer(str(model_folder()), device="cpu")
    model.max_seq_length = options.length
    loss = CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=CHUNK)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    texts = [pair for item in training.items for pair in item.texts.values()]
    batches = []
    for step in range(count):
        pairs = [texts[(step * options.batch + place) % len(texts)] for place in range(options.batch)]
        batches.append(
            [model.preprocess([pair.question for pair in pairs]), model.preprocess([pair.passage for pair in pairs])]
        )
    model.train()
    seconds = []
    for features in batches:
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(features, torch.empty(0)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
