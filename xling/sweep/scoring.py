"""Score a trained job on one retrieval set, over the cluster, and keep the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from xling.data.stored import load_retrieval
from xling.data.tokenize import tokenize_retrieval
from xling.evaluate.pairs import EmbeddingHome, Progress, evaluate_model
from xling.evaluate.result import EvaluationResult
from xling.model.source import load_folder
from xling.model.tokenizer import tokenizer_digest
from xling.storage import Storage
from xling.sweep.jobs import Evaluation, Job
from xling.sweep.packing import Need
from xling.train.trained import require_weights, trained_languages


def score(
    root: Storage,
    path: str,
    job: Job,
    evaluation: Evaluation,
    *,
    held: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> EvaluationResult:
    """Score the model below ``path`` and save the result as ``eval/<id>``.

    Args:
        held: nodes where the caller holds a worker's cores each, idle now: the tasks run on these.
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
    )
    result = replace(result, trained_languages=trained_languages(root.child(f"{path}/model")))
    result.save(folder_of_result)
    return result
