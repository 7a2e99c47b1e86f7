"""What is told of a published model by its marker, the last file of its folder; read without the weights."""

from __future__ import annotations

from typing import Any

from xling.errors import CheckpointError
from xling.storage import Storage

MODEL_MARKER = "model/trained.json"


def about_model(job: Storage) -> dict[str, Any]:
    """What :func:`publish_model` was told. Raises CheckpointError when the job is not trained."""
    try:
        about: dict[str, Any] = job.read_json(MODEL_MARKER)
    except FileNotFoundError as error:
        raise CheckpointError(f"{job.url} holds no trained model") from error
    return about


def trained_languages(folder: Storage) -> tuple[str, ...] | None:
    """The languages that a published model's folder says it was trained on; None where it says nothing."""
    try:
        languages = folder.read_json(MODEL_MARKER.rpartition("/")[2]).get("languages")
    except FileNotFoundError:
        return None
    return None if languages is None else tuple(languages)
