"""What is told of a published model by its marker, the last file of its folder; read without the weights."""

from __future__ import annotations

import time
from typing import Any, NotRequired

from typing_extensions import TypedDict

from xling.errors import CheckpointError
from xling.storage import Storage

_FOLDER = "model"
MODEL_MARKER = f"{_FOLDER}/trained.json"


class _Languages(TypedDict):
    languages: NotRequired[list[str]]


class _About(_Languages):
    """The marker, as far as it is read."""

    step: int
    total_steps: int
    dev: float | None
    parameters: NotRequired[int]
    parameters_non_embedding: NotRequired[int]
    steps_to_target: NotRequired[int | None]


def about_model(job: Storage) -> dict[str, Any]:
    """What :func:`publish_model` was told. Raises CheckpointError when the job is not trained."""
    try:
        about: dict[str, Any] = job.read_json(MODEL_MARKER, _About)
    except FileNotFoundError as error:
        raise CheckpointError(f"{job.url} holds no trained model") from error
    return about


def has_weights(job: Storage) -> bool:
    """Whether a trained job's weights are there still. Raises CheckpointError when it is not trained."""
    return "removed" not in about_model(job) or job.exists(f"{_FOLDER}/config.json")


def remove_weights(job: Storage) -> None:
    """Delete a trained job's weights; its marker stays, and says so first."""
    job.write_json(MODEL_MARKER, {**about_model(job), "removed": time.time()})
    for name in ("config.json", *job.list(_FOLDER)):  # by which one sees that the rest may be gone
        if f"{_FOLDER}/{name}" != MODEL_MARKER:
            job.delete(f"{_FOLDER}/{name}")


def require_weights(job: Storage) -> None:
    """Raises CheckpointError when the job is not trained, or its weights were removed since."""
    if not has_weights(job):
        raise CheckpointError(
            f"the weights of {job.url} were removed (xling gc --models), its results are there still; "
            "to train the cell again: xling resume SWEEP --cell ID --from-scratch"
        )


def trained_languages(folder: Storage) -> tuple[str, ...] | None:
    """The languages that a published model's folder says it was trained on; None where it says nothing."""
    try:
        languages = folder.read_json(MODEL_MARKER.rpartition("/")[2], _Languages).get("languages")
    except FileNotFoundError:
        return None
    return None if languages is None else tuple(languages)
