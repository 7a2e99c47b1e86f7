"""What tells the weights that training starts from apart, found out without reading any as tensors.

Torch is not imported for a preset: a sweep of such is planned and looked at without it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from xling.config import presets
from xling.config.schema import ModelConfig


def weights_digest(model: ModelConfig) -> str:
    """What tells two starting points apart: ``preset:NAME``, ``path:DIGEST`` or ``hub:ID@COMMIT``.

    With ``init: random`` it is ``random:NAME`` or ``random:DIGEST``. A folder's digest covers its weights,
    configuration, tokenizer and code, not its name or its readme; with ``init: random`` the configuration alone.

    Raises:
        CheckpointError: the folder is not whole, or the hub model's commit cannot be found out.
        ConfigError: there is no such preset.
    """
    if model.path is not None:
        from xling.model.layout import read_layout

        is_random = model.init == "random"
        layout = read_layout(
            Path(model.path).expanduser(), pooling_given=model.pooling is not None, architecture_only=is_random
        )
        stamps = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in layout.files)
        return f"{'random' if is_random else 'path'}:{_digest_files(layout.folder, stamps)}"
    preset = presets.get(model.preset) if model.preset is not None else None
    if isinstance(preset, presets.BuiltPreset):
        return f"preset:{preset.name}"
    if model.init == "random":
        return f"random:{model.preset}"
    from xling.model.hub import resolve_commit

    hub_id = preset.hub if preset is not None else str(model.hub)
    return f"hub:{hub_id}@{resolve_commit(hub_id, model.revision)}"


@lru_cache(maxsize=64)
def _digest_files(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Digest of the files' contents; ``stamps`` (size and time) say when a kept one is out of date."""
    digest = hashlib.blake2b(digest_size=16)
    for file, _, _ in stamps:
        name = file.relative_to(folder).as_posix().encode()
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "blake2b").digest()
        digest.update(len(name).to_bytes(4, "big") + name + content)
    return digest.hexdigest()
