"""Score a trained job on one retrieval set, over the cluster, and keep the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from xling.data.stored import load_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.pairs import EmbeddingHome, Progress, evaluate_model
from xling.evaluate.result import EvaluationResult
from xling.evaluate.search.place import Idle, no_word
from xling.model.source import load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage
from xling.sweep.jobs import Evaluation, Job
from xling.sweep.placing.packing import Need
from xling.sweep.trials.watch import WAIT_S
from xling.train.trained import require_weights, trained_languages

LONG_S = 60.0
NO_RESULT = (
    f"waits for room to score, or its tasks are long: none has ended for {LONG_S:.0f} s (`ray status` shows what waits)"
)


def score(
    root: Storage,
    path: str,
    job: Job,
    evaluation: Evaluation,
    *,
    held: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    idle: Idle = no_word,
) -> EvaluationResult:
    """Score the model below ``path`` and save the result as ``eval/<id>``.

    Args:
        held: nodes where the caller holds a worker's cores each, idle now: the tasks run on these.
        idle: called about once a second while none of them ends.
    """
    require_weights(root.child(path))
    retrieval = load_retrieval(root, evaluation.fingerprint)
    result_path = f"{path}/eval/{evaluation.id}"
    with root.local_copy(f"{path}/model") as folder:
        model = load_folder(folder, trust_remote_code=job.config.model.trust_remote_code)
        home = EmbeddingHome.of(root, folder, model, owner=result_path)
    tokens = tokenize_retrieval(root, model.tokenizer, tokenizer_digest(model.tokenizer), retrieval, model.settings)
    folder_of_result = root.child(result_path)
    need = Need.of(job.config.resources)
    result = evaluate_model(
        root.locate(f"{path}/model"),
        retrieval,
        tokens,
        job.config.evaluation,
        max_tasks=need.workers,
        cpus_per_task=need.cpus,
        gpus_per_task=need.gpus,
        memory_per_task=need.memory,
        labels=dict(need.labels),
        held=held,
        home=home,
        run_folder=folder_of_result.child("run"),
        trust_remote_code=job.config.model.trust_remote_code,
        progress=progress,
        idle=idle,
    )
    result = replace(result, trained_languages=trained_languages(root.child(f"{path}/model")))
    result.save(folder_of_result)
    return result


class Following:
    """What a driver does while an evaluation's tasks run: it tells how far they are, and leaves when asked to."""

    def __init__(self, dataset: str, tell: Callable[..., None], leave: Callable[[], None]) -> None:
        """Args: tell: takes what a display is told, by name. leave: raises where word was left to stop."""
        self._dataset = dataset
        self._tell = tell
        self._leave = leave
        self._polled = 0.0
        self._heard = time.monotonic()  # when a task last ended
        self._newest: dict[str, Any] = {}  # told of the evaluation
        self._is_told = False  # that none ends

    def progress(self, progress: Progress) -> None:
        """Between two tasks."""
        self._heard = time.monotonic()
        self._newest = {"evaluation": {"dataset": self._dataset, **asdict(progress)}}
        if self._heard - self._polled < WAIT_S:
            return
        self._polled = self._heard
        self._leave()
        self._tell(**self._newest)

    def idle(self) -> None:
        """While no task ends: those of others may have the room that it needs."""
        self._leave()
        if not self._is_told and time.monotonic() - self._heard > LONG_S:
            self._is_told = True
            self._tell(**self._newest, note=NO_RESULT)
