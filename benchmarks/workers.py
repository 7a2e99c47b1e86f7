"""Two workers beside one: the same loss curve, and how much faster.

The MiniLM folder on parallel SQuAD text without dropout; the global batch is 32 pairs whoever trains it. Two
gloo workers of one thread each, one worker of one thread, one worker of two; in turn, several times over, medians
of the steps after the warm-up. A worker is a plain process here, what it runs is what Ray Train's workers run.

    python benchmarks/workers.py [--data FILE] [--steps N] [--repeats N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from training_task import PARALLEL_SQUAD, cell, make_task, run_steps, training_text

BATCH, MAX_TOKENS, WARM_UP = 32, 256, 2
WAYS = {"two workers of one thread": (2, 1), "one worker of one thread": (1, 1), "one worker of two threads": (1, 2)}
BAR_FASTER, TOLERANCE = 1.5, 1e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PARALLEL_SQUAD, help="a parallel-jsonl file")
    parser.add_argument("--steps", type=int, default=6, help="steps a turn, after the warm-up")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        for repeat in range(options.repeats):
            for name, (workers, threads) in WAYS.items():
                folder = Path(scratch) / f"{repeat}-{workers}-{threads}"
                folder.mkdir()
                mp.spawn(
                    worker, (workers, threads, str(folder), str(options.data), WARM_UP + options.steps), nprocs=workers
                )
                losses[name], taken = torch.load(folder / "rank0.pt", weights_only=True)
                seconds[name] += taken[WARM_UP:]
                print(f"  {name}: {statistics.median(taken[WARM_UP:]):.2f} s a step", flush=True)
    median = {name: statistics.median(of) for name, of in seconds.items()}
    print(f"medians of {options.repeats} x {options.steps} steps of {BATCH} pairs:")
    for name, of in median.items():
        print(f"  {name}: {BATCH / of:.2f} pairs/s")
    two, one = losses["two workers of one thread"], losses["one worker of one thread"]
    difference = max(abs(a - b) for a, b in zip(two, one, strict=True))
    print(f"losses {', '.join(f'{loss:.4f}' for loss in two)}; they differ by at most {difference:.1e}")
    ratios = {
        "workers_two_vs_one": (median["one worker of one thread"] / median["two workers of one thread"], BAR_FASTER),
        "workers_same_losses": (TOLERANCE / max(difference, 1e-12), 1.0),
    }
    for name, (ratio, bar) in ratios.items():
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    return 0 if all(ratio >= bar for ratio, bar in ratios.values()) else 1


def worker(rank: int, world_size: int, threads: int, folder: str, data: str, count: int) -> None:
    torch.set_num_threads(threads)
    if world_size > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    config = cell(batch_size=BATCH, dropout=0.0, max_query_tokens=MAX_TOKENS, max_passage_tokens=MAX_TOKENS, lr=2e-5)
    task = make_task(f"{folder}/{rank}", training_text(Path(data)), config, rank=rank, world_size=world_size)
    losses: list[float] = []
    seconds: list[float] = []

    def record(made: dict[str, float], taken: float) -> None:
        losses.append(made["loss"])
        seconds.append(taken)

    run_steps(task, 0, count, record)
    if rank == 0:
        torch.save((losses, seconds), Path(folder) / "rank0.pt")
    if world_size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
