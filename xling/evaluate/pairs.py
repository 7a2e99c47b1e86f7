"""Score one dual encoder on one retrieval set: in this process, or fanned out over a Ray cluster.

Both ways encode the same batches and score the same blocks, so they give the same bits on the
same kind of machine with the same number of threads.

Shapes: X texts, D embedding.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xling.config.schema import EvaluationConfig
from xling.data.records import RetrievalSet
from xling.errors import ResourceError, XlingError
from xling.evaluate.encode import (
    Embeddings,
    FlatTokens,
    TextTokens,
    encode,
    encode_batches,
    plan_batches,
    share_batches,
)
from xling.evaluate.layout import Indices, Layout, build_layout
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import LanguageScores, RunRequest, require_finite, score_languages
from xling.storage import Storage

if TYPE_CHECKING:
    from xling.model.source import LoadedModel

# Below this a further process costs more to start (a few seconds of imports) than it saves.
TOKENS_A_TASK = 100_000
# Shares a process is handed one after another: evens out unequal machines, gives progress.
SHARDS_A_TASK = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is: ``done`` of ``total`` texts encoded or pairs scored (pool rows included)."""

    stage: str
    done: int
    total: int


Report = Callable[[Progress], None]


def evaluate_local(
    loaded: LoadedModel,
    retrieval: RetrievalSet,
    tokens: TextTokens,
    settings: EvaluationConfig,
    *,
    run_folder: Storage | None = None,
    progress: Report | None = None,
) -> EvaluationResult:
    """Encode and score in this process, on the model's device.

    Args:
        tokens: of the set's texts, by the model's tokenizer and settings.
        run_folder: where run files go, if ``settings.run_files`` asks for them; without it none
            are written (dev measurements).

    Raises:
        DataError: the set's ids or judgements are inconsistent.
        NonFiniteError: the model gives NaN or infinite values.
    """
    layout = build_layout(retrieval)
    tell = progress or _silent
    flat = FlatTokens.of_retrieval(layout, tokens)
    vectors_XD = encode(
        loaded.encoder,
        flat,
        batch_size=settings.batch_size,
        batch_tokens=settings.batch_tokens,
        pad_id=_pad_id(loaded),
        progress=lambda done, total: tell(Progress("encode", done, total)),
    )
    require_finite(layout, vectors_XD)
    scores = []
    languages, runs = range(len(layout.languages)), _runs(settings, run_folder)
    for of_language in score_languages(layout, languages, vectors_XD, runs, torch.get_num_threads()):
        scores.append(of_language)
        tell(_scored(layout, len(scores)))
    return build_result(retrieval, layout, scores)


def evaluate_model(
    model_url: str,
    retrieval: RetrievalSet,
    tokens: TextTokens,
    settings: EvaluationConfig,
    *,
    max_tasks: int,
    cpus_per_task: int = 1,
    gpus_per_task: float = 0,
    held: Sequence[str] = (),
    run_folder: Storage | None = None,
    progress: Report | None = None,
) -> EvaluationResult:
    """The same over the connected Ray cluster: encoding by shares of batches, scoring by query language.

    As many tasks run at once as the work is worth, the cluster has room for and ``max_tasks`` allows.

    Args:
        model_url: model folder that every node reaches: a path on a shared file system, or a URL.
        cpus_per_task: CPUs, and threads, of a task.
        gpus_per_task: GPUs of an encoding task; it runs on the GPU when it gets one.
        held: ids of nodes where the caller holds a task's cores each and leaves them idle: the tasks
            run there, and ask Ray for none.

    Raises:
        ResourceError: no cluster is connected, or no node has room for a task.
        DataError, NonFiniteError, CheckpointError: as :func:`evaluate_local` and loading a model do.
    """
    layout = build_layout(retrieval)
    tell = progress or _silent
    flat = FlatTokens.of_retrieval(layout, tokens)
    place = _Place(cpus_per_task, gpus_per_task, tuple(held))
    tasks = task_count(len(flat.values), max_tasks, place.room())
    plan = plan_batches(flat, settings.batch_size, settings.batch_tokens)
    shares = share_batches(plan.batches, flat.lengths, tasks * (1 if gpus_per_task else SHARDS_A_TASK))
    model_url = Storage(model_url).url  # absolute: a worker's working folder is another
    # A folder's content can change between calls; a process keeps its model within one call only.
    call = uuid.uuid4().hex
    flat_ref = ray.put(flat)
    jobs = [
        lambda slot, share=share: place.task(_encode_share, slot, on_gpu=True).remote(
            model_url, call, cpus_per_task, flat_ref, share
        )
        for share in shares
    ]
    parts: dict[int, Embeddings] = {}
    done = 0
    for number, vectors in _stream(jobs, tasks):
        parts[number] = vectors
        done += len(vectors)
        tell(Progress("encode", done, plan.texts))
    vectors_XD = plan.in_text_order(np.concatenate([parts[number] for number in range(len(shares))]))
    parts.clear()
    require_finite(layout, vectors_XD)
    scores = _score_on_cluster(layout, vectors_XD, _runs(settings, run_folder), tasks, place, tell)
    return build_result(retrieval, layout, scores)


def task_count(tokens: int, max_tasks: int, room: int) -> int:
    """How many tasks run at once: one for every TOKENS_A_TASK, within what is allowed and fits."""
    return max(1, min(math.ceil(tokens / TOKENS_A_TASK), max_tasks, room))


def _score_on_cluster(
    layout: Layout,
    vectors_XD: Embeddings,
    runs: RunRequest | None,
    tasks: int,
    place: _Place,
    tell: Report,
) -> list[LanguageScores]:
    layout_ref, vectors_ref = ray.put(layout), ray.put(vectors_XD)
    jobs = [
        lambda slot, language=language: place.task(_score_language, slot).remote(
            place.cpus, layout_ref, language, vectors_ref, runs
        )
        for language in range(len(layout.languages))
    ]
    scores: dict[int, LanguageScores] = {}
    for language, of_language in _stream(jobs, tasks):
        scores[language] = of_language
        tell(_scored(layout, len(scores)))
    return [scores[language] for language in range(len(layout.languages))]


def _encode_share(model_url: str, call: str, threads: int, tokens: FlatTokens, batches: list[Indices]) -> Embeddings:
    """Ray task: encode whole batches."""
    loaded = _model(model_url, call)
    torch.set_num_threads(threads)
    return encode_batches(loaded.encoder, tokens, batches, _pad_id(loaded))


def _score_language(
    threads: int, layout: Layout, language: int, vectors_XD: Embeddings, runs: RunRequest | None
) -> LanguageScores:
    """Ray task: all targets of one query language."""
    (scores,) = score_languages(layout, (language,), vectors_XD, runs, threads)
    return scores


@lru_cache(maxsize=1)
def _model(model_url: str, call: str) -> LoadedModel:
    # Imported here: only processes that encode pay for the model libraries.
    from xling.model.source import load_folder

    parent, _, name = model_url.rpartition("/")
    with Storage(parent or "/").local_copy(name) as folder:
        loaded = load_folder(folder)
    if torch.cuda.is_available() and ray.get_gpu_ids():
        loaded.encoder.to("cuda")
    return loaded


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the tasks of one evaluation run."""

    cpus: int
    gpus: float
    held: tuple[str, ...]

    def room(self) -> int:
        """How many run at once."""
        return len(self.held) or _room(self.cpus, self.gpus)

    def task(self, function: Callable[..., Any], slot: int, *, on_gpu: bool = False) -> Any:
        """The function as a Ray task for one of the slots that :func:`_stream` counts."""
        if self.held:
            node = NodeAffinitySchedulingStrategy(self.held[slot % len(self.held)], soft=True)
            return ray.remote(num_cpus=0)(function).options(scheduling_strategy=node)
        # DEFAULT: a trial's placement group, which its child tasks would be held in, has no room for them.
        # GPUs are named here and not in options(): only then Ray ends the process afterwards, which frees their memory.
        gpus = self.gpus if on_gpu else 0
        on_gpus = ray.remote(num_cpus=self.cpus, num_gpus=gpus) if gpus else ray.remote(num_cpus=self.cpus)
        return on_gpus(function).options(scheduling_strategy="DEFAULT")


def _stream(jobs: Iterable[Callable[[int], Any]], width: int) -> Iterator[tuple[int, Any]]:
    """Run jobs, at most ``width`` at once, each in a slot 0 … width - 1; yield (number, value) as they finish.

    A user's error raised in a task is raised here as itself.
    """
    waiting = iter(enumerate(jobs))
    free = list(range(width))
    running: dict[Any, tuple[int, int]] = {}  # number and slot
    try:
        while True:
            while free and (job := next(waiting, None)) is not None:
                slot = free.pop()
                running[job[1](slot)] = job[0], slot
            if not running:
                return
            (finished,), _ = ray.wait(list(running), num_returns=1)
            value = ray.get(finished)
            number, slot = running.pop(finished)
            free.append(slot)
            yield number, value
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, XlingError):
            raise error.cause from None
        raise
    finally:
        for reference in running:
            ray.cancel(reference)


def _room(cpus: int, gpus: float) -> int:
    """How many tasks the cluster's nodes can hold at once."""
    if not ray.is_initialized():
        raise ResourceError("no Ray cluster is connected: connect to one, or evaluate in this process")
    rooms = []
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            by_gpu = math.inf if gpus == 0 else has.get("GPU", 0) / gpus
            rooms.append(int(min(has.get("CPU", 0) / cpus, by_gpu)))
    if not any(rooms):
        raise ResourceError(
            f"an evaluation task needs {cpus} CPUs and {gpus:g} GPUs, which no node of the cluster has: ask for less"
        )
    return sum(rooms)


def _runs(settings: EvaluationConfig, run_folder: Storage | None) -> RunRequest | None:
    if not settings.run_files or run_folder is None:
        return None
    return RunRequest(run_folder.url, settings.run_depth)


def _scored(layout: Layout, languages_done: int) -> Progress:
    targets = len(layout.languages) + 1 if layout.pooled else len(layout.languages) if layout.cross_lingual else 1
    return Progress("score", languages_done * targets, len(layout.languages) * targets)


def _pad_id(loaded: LoadedModel) -> int:
    return int(loaded.tokenizer.pad_token_id)


def _silent(progress: Progress) -> None:
    del progress
