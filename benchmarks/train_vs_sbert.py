"""Fine-tuning steps beside sentence-transformers' trainer, and beside a bare loop over ready tensors.

The MiniLM folder on parallel SQuAD text, batches of 32 pairs, one-way InfoNCE against
MultipleNegativesRankingLoss: the same pairs in the same batches, temperature, optimiser, clipping, precision,
threads and token limit (``--max-tokens``: all that the model has positions for, so that next to no text is cut).
sentence-transformers' trainer pads each column to its longest text, as it does by
default; its fused AdamW, its batches made ready by one loader process (``--loaders``). The bare loop only does
forward, loss, backward and step, on token tensors that are cut as ours are and ready before the clock starts.
All run in turn, several times over; the median step counts, the first two of each turn are warm-up.

    python benchmarks/train_vs_sbert.py [--data FILE] [--max-tokens N] [--threads N] [--steps N] [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.utils.data import SequentialSampler
from training_task import PARALLEL_SQUAD, cell, make_task, model_folder, run_steps, training_text
from transformers import TrainerCallback

from xling.data.records import TrainingSet
from xling.model.loss import info_nce
from xling.train.task import Task

BATCH, WARM_UP = 32, 2
TEMPERATURE, LR = 0.05, 2e-5
BAR_SBERT, BAR_BARE = 2.0, 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PARALLEL_SQUAD, help="a parallel-jsonl file")
    parser.add_argument("--max-tokens", type=int, default=512, help="of a text; longer ones are cut")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=6, help="steps a turn, after the warm-up")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loaders", type=int, default=0, help="loader processes of sentence-transformers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training = training_text(options.data)
    config = cell(
        batch_size=BATCH,
        dropout=None,
        max_query_tokens=options.max_tokens,
        max_passage_tokens=options.max_tokens,
        lr=LR,
        temperature=TEMPERATURE,
    )
    count = WARM_UP + options.steps
    seconds: dict[str, list[float]] = {"xling": [], "bare loop": [], "sentence-transformers": []}
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as scratch:
        for repeat in range(options.repeats):
            first = repeat * count  # other batches each time, the same for all three
            task = make_task(scratch, training, config)
            turn: list[float] = []
            run_steps(task, first, count, lambda record, taken, turn=turn: turn.append(taken))
            seconds["xling"] += turn[WARM_UP:]
            seconds["bare loop"] += bare_loop(make_task(scratch, training, config), first, count)[WARM_UP:]
            seconds["sentence-transformers"] += sbert(training, task, first, count, options)[WARM_UP:]
            print(
                f"turn {repeat + 1}: " + ", ".join(f"{n} {s[-1]:.2f} s a step" for n, s in seconds.items()), flush=True
            )
    median = {name: statistics.median(of) for name, of in seconds.items()}
    print(
        f"{options.threads} threads, {options.repeats} x {options.steps} steps of {BATCH} pairs, at most "
        f"{options.max_tokens} tokens a text, medians:"
    )
    for name, of in seconds.items():
        print(f"  {name}: {BATCH / median[name]:.2f} pairs/s ({min(of):.2f} to {max(of):.2f} s a step)")
    ratios = {
        "train_vs_sbert": (median["sentence-transformers"] / median["xling"], BAR_SBERT),
        "train_vs_bare": (median["bare loop"] / median["xling"], BAR_BARE),
    }
    for name, (ratio, bar) in ratios.items():
        print(f"{name} ratio={ratio:.3f} bar={bar:g}")
    return 0 if all(ratio >= bar for ratio, bar in ratios.values()) else 1


def bare_loop(task: Task, first: int, count: int) -> list[float]:
    """Seconds of each step."""
    ready = [task.texts.at(step, None, task.device)[1] for step in range(first, first + count)]
    tensors = [
        (
            [tuple(map(torch.from_numpy, (chunk.texts_C, chunk.ids_CT, chunk.mask_CT))) for chunk in local.chunks],
            torch.from_numpy(local.passage_keys_B),
        )
        for local in ready
    ]
    task.encoder.train()
    seconds = []
    for chunks, keys_B in tensors:
        began = time.perf_counter()
        task.optimizer.zero_grad(set_to_none=True)
        vectors = torch.cat([task.encoder(ids_CT, mask_CT) for _, ids_CT, mask_CT in chunks])
        vectors = vectors[torch.argsort(torch.cat([texts_C for texts_C, _, _ in chunks]))]
        loss = info_nce(
            vectors[:BATCH],
            vectors[BATCH:],
            keys_B,
            temperature=TEMPERATURE,
            directions="one-way",
            mask_false_negatives=True,
            gather=False,
        )
        loss.backward()
        task.optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds


def sbert(training: TrainingSet, task: Task, first: int, count: int, options: argparse.Namespace) -> list[float]:
    """Seconds of each step of their trainer on the same batches."""
    rows: dict[str, list[str]] = {"anchor": [], "positive": []}
    for number in range(first, first + count):
        batch = task.texts.plan.batch(number)
        for item, query, passage in zip(
            batch.items_B.tolist(), batch.query_languages_B.tolist(), batch.passage_languages_B.tolist(), strict=True
        ):
            texts = training.items[item].texts
            rows["anchor"].append(texts[training.languages[query]].question)
            rows["positive"].append(texts[training.languages[passage]].passage)
    model = SentenceTransformer(str(model_folder()), device="cpu")
    model.max_seq_length = options.max_tokens
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            max_steps=count,
            learning_rate=LR,
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            use_cpu=True,
            dataloader_num_workers=options.loaders,
            batch_sampler=InOrder,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict(rows),
            loss=MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE),
            callbacks=[clock],
        ).train()
    return clock.seconds


class InOrder(DefaultBatchSampler):
    """Batches as the rows stand."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **ignored: object) -> None:
        super().__init__(SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last)


class Clock(TrainerCallback):
    """Time from one step's end to the next one's, fetching the batch included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        self._last = time.perf_counter()

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now


if __name__ == "__main__":
    sys.exit(main())
