"""Models on the Hugging Face hub: which commit a revision is, and its files as a local folder."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub

from xling.errors import CheckpointError
from xling.model.layout import weight_folders
from xling.model.pretrained import quiet

_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


def resolve_commit(hub_id: str, revision: str | None = None) -> str:
    """The commit a hub revision (``main`` by default) stands for now; the local cache's when offline.

    Raises:
        CheckpointError: neither the hub nor the cache has it.
    """
    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        with quiet():
            # Answers from the local cache when the hub cannot be reached; the folder's name is the commit.
            folder = huggingface_hub.snapshot_download(hub_id, revision=revision, allow_patterns=["config.json"])
    except Exception as error:  # unreachable, unknown, malformed: its HTTP library's errors have no public base
        raise _unreachable(hub_id, revision or "main", error) from error
    return Path(folder).name


def download(hub_id: str, commit: str, *, with_code: bool = False) -> Path:
    """A commit's configuration, tokenizer and weights (safetensors where it has them), from the cache when offline.

    Args: with_code: its modelling code too.

    Raises:
        CheckpointError: neither the hub nor the cache has it, or it has modules that cannot be run here.
    """
    try:
        with quiet():
            skip = ["onnx/*", "openvino/*"]
            snapshot = huggingface_hub.snapshot_download(
                hub_id,
                revision=commit,
                allow_patterns=[*_HUB_FILES, *(["*.py"] if with_code else [])],
                ignore_patterns=skip,
            )
            folder = Path(snapshot)
            # Module by module: a Dense module's weights may be torch's beside a transformer's safetensors.
            lacking = [path for path in weight_folders(folder) if not list(path.glob("*.safetensors"))]
            if lacking:
                wanted = [(path.relative_to(folder) / "pytorch_model*.bin").as_posix() for path in lacking]
                huggingface_hub.snapshot_download(hub_id, revision=commit, allow_patterns=wanted, ignore_patterns=skip)
    except CheckpointError:
        raise
    except Exception as error:  # unreachable, unknown, malformed: its HTTP library's errors have no public base
        raise _unreachable(hub_id, commit, error) from error
    return folder


def _unreachable(hub_id: str, revision: str, error: Exception) -> CheckpointError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(
        f"hub model {hub_id!r} at {revision!r} cannot be had ({reason}); it must be on the hub or in the local cache; "
        "check name, revision and network, or copy its files (config.json, model.safetensors, tokenizer.json or the "
        "vocabulary, tokenizer_config.json, and what modules.json names) into a folder and give that as `model.path` "
        "in place of the hub; "
        "`model.init: random` with a preset needs neither"
    )
