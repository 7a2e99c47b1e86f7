"""Score one dual encoder on one retrieval set: in this process, or fanned out over a Ray cluster.

Both ways encode the same batches and score the same blocks, so they give the same bits on the
same kind of machine with the same number of threads. A set whose embeddings are too many for the
memory budget, or one with an index, is encoded to shards and searched (sharded.py); any other is
ranked whole.

Shapes: X texts, D embedding.
"""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from xling.config.schema import EvaluationConfig, ModelConfig
from xling.data.records import RetrievalSet
from xling.evaluate.answers import save_predictions
from xling.evaluate.blocks import Load, model_at, token_total
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
from xling.evaluate.progress import Clock
from xling.evaluate.progress import Progress as Progress
from xling.evaluate.progress import Report as Report
from xling.evaluate.result import EvaluationResult, build_result
from xling.evaluate.scoring import LanguageScores, RunRequest, require_finite, score_languages
from xling.evaluate.search.place import Cluster, Here, Idle, no_word, set_threads
from xling.evaluate.search.shards import ShardStore, block_key
from xling.evaluate.sharded import evaluate_by_shards
from xling.storage import Storage

if TYPE_CHECKING:
    from xling.model.source import LoadedModel

# Below this a further process costs more to start (a few seconds of imports) than it saves.
TOKENS_A_TASK = 100_000
# Shares a process is handed one after another: evens out unequal machines, gives progress.
SHARDS_A_TASK = 4


@dataclass(frozen=True, slots=True)
class EmbeddingHome:
    """Where a model's embeddings are kept (below ``embeddings/`` of ``storage``), and of what length they are.

    ``owner`` names an evaluation whose embeddings, if they are not to be kept, are in a store of its own: when it
    clears them, others of the same weights may be running. Empty, all share one.
    """

    storage: Storage
    weights: str
    dimension: int
    owner: str = ""

    @classmethod
    def of(cls, storage: Storage, folder: Path, loaded: LoadedModel, owner: str = "") -> EmbeddingHome:
        """Args: folder: the local folder that ``loaded`` was read from."""
        from xling.model.source import weights_digest

        return cls(storage, weights_digest(ModelConfig(path=str(folder))), loaded.encoder.dimension, owner)

    def store(self, settings: EvaluationConfig, dtype: str, *, on_gpu: bool) -> ShardStore:
        """The shards of the model as it computes now: how batches are cut and padded changes last bits, a GPU more."""
        how = {"batch_size": settings.batch_size, "batch_tokens": settings.batch_tokens, "gpu": on_gpu}
        return ShardStore.of(self.storage, self.weights, how, dtype, "" if settings.keep_embeddings else self.owner)


def is_searched_by_shards(retrieval: RetrievalSet, settings: EvaluationConfig, dimension: int) -> bool:
    """Whether a set has an index, or its embeddings need more than half of the memory budget."""
    texts = sum(
        len(retrieval.queries[language]) + len(retrieval.passages[language]) for language in retrieval.languages
    )
    return settings.index is not None or texts * dimension * 4 > settings.memory_bytes // 2


def evaluate_local(
    loaded: LoadedModel,
    retrieval: RetrievalSet,
    tokens: TextTokens,
    settings: EvaluationConfig,
    *,
    run_folder: Storage | None = None,
    store: ShardStore | None = None,
    progress: Report | None = None,
) -> EvaluationResult:
    """Encode and score in this process, on the model's device.

    Args:
        tokens: of the set's texts, by the model's tokenizer and settings.
        store: shards of this very model, where the set is searched by shards; a temporary folder without.
        run_folder: where run files go, if ``settings.run_files`` asks for them; without it none
            are written (dev measurements).

    Raises:
        DataError: the set's ids or judgements are inconsistent.
        NonFiniteError: the model gives NaN or infinite values.
    """
    tell = progress or _silent
    if is_searched_by_shards(retrieval, settings, loaded.encoder.dimension):
        with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
            return evaluate_by_shards(
                retrieval,
                tokens,
                settings,
                Here(torch.get_num_threads()),
                store or ShardStore(scratch, settings.embedding_dtype),
                lambda: loaded,
                tasks=1,
                runs=_runs(settings, run_folder),
                tell=tell,
            )
    layout = build_layout(retrieval)
    flat = FlatTokens.of_retrieval(layout, tokens)
    vectors_XD = encode(
        loaded.encoder,
        flat,
        batch_size=settings.batch_size,
        batch_tokens=settings.batch_tokens,
        pad_id=_pad_id(loaded),
        progress=Clock(tell, "encode").at,
    )
    require_finite(layout, vectors_XD)
    scores = []
    clock, targets = Clock(tell, "score"), _targets(layout)
    languages, runs = range(len(layout.languages)), _runs(settings, run_folder)
    for of_language in score_languages(layout, languages, vectors_XD, runs, torch.get_num_threads()):
        scores.append(of_language)
        clock.at(len(scores) * targets, len(layout.languages) * targets)
    save_predictions(runs, retrieval, layout, scores)
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
    memory_per_task: int = 0,
    labels: Mapping[str, str] | None = None,
    held: Sequence[str] = (),
    home: EmbeddingHome | None = None,
    run_folder: Storage | None = None,
    progress: Report | None = None,
    idle: Idle = no_word,
    trust_remote_code: bool = False,
) -> EvaluationResult:
    """The same over the connected Ray cluster: encoding by shares of batches, scoring by query language.

    As many tasks run at once as the work is worth, the cluster has room for and ``max_tasks`` allows.

    Args:
        model_url: model folder that every node reaches: a path on a shared file system, or a URL.
        cpus_per_task: CPUs, and threads, of a task.
        gpus_per_task: GPUs of an encoding task; it runs on the GPU when it gets one.
        memory_per_task: bytes that a task holds on its node.
        labels: that a task's node must have, as Ray's label selectors.
        held: ids of nodes where the caller holds a task's cores each and leaves them idle: the tasks
            run there, and ask Ray for none.
        home: where embeddings are kept and found again; on a storage that every node reaches. Without
            it none are, and the set is ranked whole whatever its size.
        idle: called about once a second while no task ends; what it raises ends the evaluation.
        trust_remote_code: run the modelling code that the model's folder brings.

    Raises:
        ResourceError: no cluster is connected, or no node has room for a task.
        DataError, NonFiniteError, CheckpointError: as :func:`evaluate_local` and loading a model do.
    """
    tell = progress or _silent
    place = Cluster(cpus_per_task, gpus_per_task, tuple(held), memory_per_task, labels or {}, idle)
    tasks = task_count(token_total(tokens), max_tasks, place.room())
    runs = _runs(settings, run_folder)
    # A folder's content can change between calls; a process keeps its model within one call only.
    load = partial(model_at, Storage(model_url).url, uuid.uuid4().hex, trust_remote_code)
    assert home is not None or settings.index is None, "an index needs a home for the embeddings"
    if home is not None and is_searched_by_shards(retrieval, settings, home.dimension):
        store = home.store(settings, settings.embedding_dtype, on_gpu=gpus_per_task > 0)
        result = evaluate_by_shards(retrieval, tokens, settings, place, store, load, tasks=tasks, runs=runs, tell=tell)
        if not settings.keep_embeddings:
            store.clear()
        return result
    layout = build_layout(retrieval)
    flat = FlatTokens.of_retrieval(layout, tokens)
    kept = None
    if home is not None and settings.keep_embeddings:
        kept = home.store(settings, "float32", on_gpu=gpus_per_task > 0)
    vectors_XD = _encode_on_cluster(flat, settings, place, load, tasks, kept, tell)
    require_finite(layout, vectors_XD)
    scores = _score_on_cluster(layout, vectors_XD, runs, tasks, place, tell)
    save_predictions(runs, retrieval, layout, scores)
    return build_result(retrieval, layout, scores)


def _encode_on_cluster(
    flat: FlatTokens,
    settings: EvaluationConfig,
    place: Cluster,
    load: Load,
    tasks: int,
    kept: ShardStore | None,
    tell: Report,
) -> Embeddings:
    """All vectors in text order: from storage where they are kept, else encoded, and kept where that is wanted."""
    key = block_key(flat) if kept is not None else ""
    if kept is not None and (shard := kept.find(key)) is not None:
        tell(Progress("encode", len(flat), len(flat)))
        return kept.vectors(shard)
    plan = plan_batches(flat, settings.batch_size, settings.batch_tokens)
    shares = share_batches(plan.batches, flat.lengths, tasks * (1 if place.gpus else SHARDS_A_TASK))
    flat_ref = place.share(flat)
    calls = ((load, place.threads, flat_ref, share) for share in shares)
    parts: dict[int, Embeddings] = {}
    done, clock = 0, Clock(tell, "encode")
    for number, vectors in place.run(_encode_share, calls, tasks, on_gpu=True):
        parts[number] = vectors
        done += len(vectors)
        clock.at(done, plan.texts)
    vectors_XD = plan.in_text_order(np.concatenate([parts[number] for number in range(len(shares))]))
    if kept is not None and np.isfinite(vectors_XD).all():
        kept.write(key, vectors_XD, {"texts": len(flat)})
    return vectors_XD


def task_count(tokens: int, max_tasks: int, room: int) -> int:
    """How many tasks run at once: one for every TOKENS_A_TASK, within what is allowed and fits."""
    return max(1, min(math.ceil(tokens / TOKENS_A_TASK), max_tasks, room))


def _score_on_cluster(
    layout: Layout,
    vectors_XD: Embeddings,
    runs: RunRequest | None,
    tasks: int,
    place: Cluster,
    tell: Report,
) -> list[LanguageScores]:
    layout_ref, vectors_ref = place.share(layout), place.share(vectors_XD)
    calls = ((place.threads, layout_ref, language, vectors_ref, runs) for language in range(len(layout.languages)))
    scores: dict[int, LanguageScores] = {}
    clock, targets = Clock(tell, "score"), _targets(layout)
    for language, of_language in place.run(_score_language, calls, tasks):
        scores[language] = of_language
        clock.at(len(scores) * targets, len(layout.languages) * targets)
    return [scores[language] for language in range(len(layout.languages))]


def _encode_share(load: Load, threads: int, tokens: FlatTokens, batches: list[Indices]) -> Embeddings:
    """Ray task: encode whole batches."""
    loaded = load()
    set_threads(threads)
    return encode_batches(loaded.encoder, tokens, batches, _pad_id(loaded))


def _score_language(
    threads: int, layout: Layout, language: int, vectors_XD: Embeddings, runs: RunRequest | None
) -> LanguageScores:
    """Ray task: all targets of one query language."""
    (scores,) = score_languages(layout, (language,), vectors_XD, runs, threads)
    return scores


def _runs(settings: EvaluationConfig, run_folder: Storage | None) -> RunRequest | None:
    if not settings.run_files or run_folder is None:
        return None
    return RunRequest(run_folder.url, settings.run_depth)


def _targets(layout: Layout) -> int:
    """What a language's queries are scored against: the languages of passages, and the pool."""
    return len(layout.languages) + 1 if layout.pooled else len(layout.languages) if layout.cross_lingual else 1


def _pad_id(loaded: LoadedModel) -> int:
    return int(loaded.tokenizer.pad_token_id)


def _silent(progress: Progress) -> None:
    del progress
