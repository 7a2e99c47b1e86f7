"""A small job on storage, and ways to run it: in this process, or on several gloo ranks."""

import os
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from xling.config.schema import CellConfig
from xling.data.fingerprint import fingerprint_items, fingerprint_retrieval
from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, TextPair, TrainingSet, sorted_passages
from xling.data.stored import store_retrieval
from xling.model.tokenizer import ensure_tokenizer
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.train.inputs import load_untrained, store_inputs
from xling.train.rungs import RungSpec
from xling.train.worker import WorkerSpec, run

LANGUAGES = ("de", "en", "es")
WORDS = {"de": ("Was ist", "Das ist"), "en": ("What is", "This is"), "es": ("Qué es", "Esto es")}


class Death(BaseException):
    """Stands for a process that ends on the spot."""


def training_set(items: int = 30) -> TrainingSet:
    made = [
        ParallelItem(
            id=f"q{i}",
            article=f"a{i // 2}",
            texts={
                code: TextPair(f"{WORDS[code][0]} {i}?", f"{WORDS[code][1]} {i} {i * 7}.", f"{code}/p{i}")
                for code in LANGUAGES
            },
        )
        for i in range(items)
    ]
    return TrainingSet("small", LANGUAGES, made, fingerprint_items(LANGUAGES, made))


def dev_set() -> RetrievalSet:
    queries = {
        code: [Query(f"{code}/q{i}", code, f"{WORDS[code][0]} {i + 100}?") for i in range(6)] for code in LANGUAGES
    }
    passages = {
        code: sorted_passages([Passage(f"{code}/p{i}", code, f"{WORDS[code][1]} {i + 100}.") for i in range(6)])
        for code in LANGUAGES
    }
    qrels = {f"{a}/q{i}": {f"{b}/p{i}": 1 for b in LANGUAGES} for a in LANGUAGES for i in range(6)}
    digest = fingerprint_retrieval(LANGUAGES, queries, passages, qrels)
    return RetrievalSet("small-dev", LANGUAGES, queries, passages, qrels, digest)


def config(**train) -> CellConfig:
    mix = train.pop("mix", {"monolingual": 0.4, "cross_lingual": 0.3, "mixed_monolingual": 0.3})
    model = {"preset": "tiny", "dropout": 0.1, "max_query_tokens": 16, "max_passage_tokens": 16}
    budget = {"steps": train.pop("steps", 12)}
    return CellConfig.model_validate(
        {
            "data": {"train": {"dataset": "geo"}},
            "model": model,
            "mix": mix,
            "train": {"batch_size": 8, "lr": 1e-3, "checkpoint_every": 4, "report_every": 1, "budget": budget, **train},
        }
    )


def prepare(folder: Path | str, cell: CellConfig, training: TrainingSet | None = None) -> Storage:
    """Put on storage, a folder or a URL, what the job reads."""
    root = Storage(str(folder))
    training = training or training_set()
    ensure_tokenizer(root, training)
    start = load_untrained(root, cell.model, 0, training.fingerprint, "preset:tiny")
    store_inputs(root, training, start)
    store_retrieval(root, dev_set())
    return root


def attempt(
    root: Storage,
    folder: str,
    cell: CellConfig,
    *,
    rank=0,
    world_size=1,
    send=lambda message: None,
    rungs: RungSpec | None = None,
    training: TrainingSet | None = None,
    min_free: int = 0,
) -> bool:
    """One attempt at the job, from wherever it is; on a rank above 0 it joins the newest attempt."""
    job = CellFolder(root.child(folder))
    if rank == 0:
        number, accepted = (current := job.begin_attempt()).number, current.accepted
    if world_size > 1:
        shared = [(number, accepted)] if rank == 0 else [None]
        dist.broadcast_object_list(shared, src=0)
        number, accepted = shared[0]
    fingerprint = (training or training_set()).fingerprint
    spec = WorkerSpec(
        storage=root.url,
        folder=folder,
        stop_files=(f"{folder}/stop.json",),
        config=cell.model_dump(mode="json"),
        training=fingerprint,
        texts=fingerprint,
        dev=dev_set().fingerprint,
        weights="preset:tiny",
        warm=None,
        attempt=number,
        accepted=tuple(accepted),
        rungs=asdict(rungs) if rungs is not None else None,
        min_free=min_free,
    )
    return run(spec, rank=rank, world_size=world_size, device=torch.device("cpu"), send=send)


def die_at(step: int):
    """A ``send`` that ends the process's work when the record of a step comes by, and what it saw."""
    seen = []

    def send(message):
        if message["event"] == "steps":
            seen.extend(record["step"] for record in message["records"])
            if seen[-1] >= step:
                raise Death

    return send, seen


def on_ranks(
    rank: int,
    world_size: int,
    folder: str,
    job: str,
    values: dict,
    death: int | None,
    rungs: RungSpec | None = None,
    training: TrainingSet | None = None,
) -> None:
    """What each spawned rank runs: one attempt, which may end early on all ranks alike."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(f"{folder}/rendezvous-{job.replace('/', '-')}-{death}", world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    cell = CellConfig.model_validate(values)
    send = die_at(death)[0] if death is not None else (lambda message: None)
    try:
        attempt(Storage(folder), job, cell, rank=rank, world_size=world_size, send=send, rungs=rungs, training=training)
    except Death:
        os._exit(0)
    except RuntimeError:  # a peer is gone: what a survivor of a death sees
        os._exit(0)
    dist.destroy_process_group()
