"""Where weights come from: a built preset, a local folder, the hub. And how they go back to a folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model import presets
from xling.model.encoder import DualEncoder, Pooling, build_backbone
from xling.model.hub import download, resolve_commit
from xling.model.layout import DENSE_FOLDER, Layout, TextSettings, read_layout, write_layout
from xling.model.pretrained import quiet, read_backbone, read_projection, read_tokenizer
from xling.model.projection import save_projection
from xling.model.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["LoadedModel", "TextSettings", "load_folder", "load_start", "save_folder", "weights_digest"]


@dataclass(frozen=True)
class LoadedModel:
    """An encoder with the tokenizer and the text settings it goes with. The encoder is in eval mode."""

    encoder: DualEncoder
    tokenizer: PreTrainedTokenizerBase
    settings: TextSettings


def load_start(
    model: ModelConfig, seed: int, tokenizer_folder: Path | None = None, *, digest: str | None = None
) -> LoadedModel:
    """The weights a job starts from, before any warm start; float32, on the CPU.

    A built preset's weights are a function of the seed, its tokenizer's vocabulary and the
    configuration. The process's random state is left as it was.

    Args:
        model: the ``model`` section; its prefixes and token limits become the settings.
        seed: seed of a built preset's weights.
        tokenizer_folder: a built preset's tokenizer (:func:`xling.model.tokenizer.tokenizer_folder`).
        digest: what :func:`weights_digest` gave when the job was planned; its commit is loaded from
            the hub, and a local folder that has changed since is refused.

    Raises:
        CheckpointError: the weights cannot be had, or do not fit the configuration.
        ConfigError: there is no such preset.
    """
    preset = presets.get(model.preset) if model.preset is not None else None
    if isinstance(preset, presets.BuiltPreset):
        loaded = _build(preset, model, seed, tokenizer_folder)
    elif model.path is not None:
        folder = Path(model.path).expanduser()
        if digest is not None and weights_digest(model) != digest:
            raise CheckpointError(f"model folder {folder} has changed since the job was planned; plan the job again")
        loaded = load_folder(folder, model.pooling, dropout=model.dropout)
    else:
        hub_id = preset.hub if preset is not None else str(model.hub)
        commit = digest.rpartition("@")[2] if digest is not None else resolve_commit(hub_id, model.revision)
        loaded = load_folder(download(hub_id, commit), model.pooling, dropout=model.dropout)
    settings = TextSettings(
        query_prefix=model.query_prefix,
        passage_prefix=model.passage_prefix,
        max_query_tokens=model.max_query_tokens,
        max_passage_tokens=model.max_passage_tokens,
        pooling=loaded.settings.pooling,
    )
    _check_length(loaded.encoder, settings)
    return replace(loaded, settings=settings)


def weights_digest(model: ModelConfig) -> str:
    """What tells two starting points apart: ``preset:NAME``, ``path:DIGEST`` or ``hub:ID@COMMIT``.

    A folder's digest covers its weights, configuration and tokenizer, not its name or its readme.

    Raises:
        CheckpointError: the folder is not whole, or the hub model's commit cannot be found out.
        ConfigError: there is no such preset.
    """
    if model.path is not None:
        layout = read_layout(Path(model.path).expanduser(), pooling_given=model.pooling is not None)
        stamps = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in layout.files)
        return f"path:{_digest_files(layout.folder, stamps)}"
    preset = presets.get(model.preset) if model.preset is not None else None
    if isinstance(preset, presets.BuiltPreset):
        return f"preset:{preset.name}"
    hub_id = preset.hub if preset is not None else str(model.hub)
    return f"hub:{hub_id}@{resolve_commit(hub_id, model.revision)}"


def load_folder(folder: Path, pooling: Pooling | None = None, *, dropout: float | None = None) -> LoadedModel:
    """Read a Hugging Face or sentence-transformers folder, or one :func:`save_folder` wrote.

    A folder that is not ours gives its prompts named query and document (or passage) as prefixes,
    and the longest text it takes as both token limits. No code and no pickle of the folder is run.

    Args:
        folder: the folder; its own pooling (mean where it names none) is used unless given.
        pooling: in place of the folder's own.
        dropout: probability to set in place of the folder's own.

    Raises:
        CheckpointError: a file is missing or cut, a module or architecture is not supported.
    """
    layout = read_layout(folder, pooling_given=pooling is not None)
    with quiet(), torch.random.fork_rng(devices=[]):
        encoder = _read_encoder(layout, pooling, dropout)
        rows = encoder.backbone.get_input_embeddings().num_embeddings
        tokenizer = read_tokenizer(layout.transformer, layout.lower_case, rows=rows)
    if layout.settings is not None:
        settings = replace(layout.settings, pooling=encoder.pooling)
    else:
        limits = (layout.max_tokens, encoder.max_tokens, tokenizer.model_max_length, 8192)
        longest = min(limit for limit in limits if limit is not None)
        settings = TextSettings(layout.query_prefix, layout.passage_prefix, longest, longest, encoder.pooling)
    _check_length(encoder, settings)
    return LoadedModel(encoder, tokenizer, settings)


def save_folder(folder: Path, loaded: LoadedModel) -> None:
    """Write a folder that transformers, sentence-transformers and :func:`load_folder` read.

    sentence-transformers knows one token limit, so it gets the larger of the two; the prefixes
    become its prompts ``query`` and ``document``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        loaded.encoder.backbone.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
    projection = loaded.encoder.projection
    if projection is not None:
        save_projection(folder / DENSE_FOLDER, projection)
    write_layout(folder, loaded.settings, loaded.encoder.width, projection.config if projection is not None else None)


def _read_encoder(layout: Layout, pooling: Pooling | None, dropout: float | None) -> DualEncoder:
    backbone = read_backbone(layout.transformer, dropout)
    projection = None
    if layout.dense is not None and layout.dense_folder is not None:
        projection = read_projection(layout.dense_folder, layout.dense, int(backbone.config.hidden_size))
    return DualEncoder(backbone, pooling or layout.pooling or "mean", projection).eval()


def _build(preset: presets.BuiltPreset, model: ModelConfig, seed: int, tokenizer_folder: Path | None) -> LoadedModel:
    assert tokenizer_folder is not None, "a built preset needs its tokenizer's folder"
    tokenizer = load_tokenizer(tokenizer_folder)
    backbone = build_backbone(
        preset,
        vocab_size=len(tokenizer),
        positions=preset.positions(max(model.max_query_tokens, model.max_passage_tokens)),
        pad_id=tokenizer.pad_token_id,
        dropout=model.dropout,
        seed=seed,
    )
    encoder = DualEncoder(backbone, model.pooling or "mean").eval()
    return LoadedModel(encoder, tokenizer, TextSettings(pooling=encoder.pooling))


def _check_length(encoder: DualEncoder, settings: TextSettings) -> None:
    limit = encoder.max_tokens
    for field in ("max_query_tokens", "max_passage_tokens"):
        value = getattr(settings, field)
        if limit is not None and value > limit:
            raise CheckpointError(
                f"`model.{field}` is {value}, must be within 4..{limit}, the model's positions; "
                "lower it or choose another model"
            )


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
