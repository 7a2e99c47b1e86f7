"""Where weights come from: nothing but a seed, a local folder, the hub. And how they go back to a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xling.config import presets
from xling.config.presets import Pooling
from xling.config.schema import ModelConfig
from xling.errors import CheckpointError
from xling.model.digest import weights_digest as weights_digest
from xling.model.encoder import DualEncoder
from xling.model.fresh import architecture_config, build_backbone, dense_of, fresh_encoder
from xling.model.hub import download, resolve_commit
from xling.model.layout import DENSE_FOLDER, Layout, TextSettings, read_layout, write_layout
from xling.model.pretrained import (
    adapt_config,
    quiet,
    read_backbone,
    read_config,
    read_projection,
)
from xling.model.pretrained_tokenizer import read_tokenizer, require_readable
from xling.model.projection import Projection, save_projection
from xling.model.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LoadedModel", "TextSettings", "load_folder", "load_hub", "load_start", "save_folder", "weights_digest"]


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

    Fresh weights (a built preset's, and all with ``init: random``) are a function of the seed, the
    tokenizer's vocabulary and the configuration. The process's random state is left as it was.

    Args:
        model: the ``model`` section; its prefixes and token limits become the settings.
        seed: seed of fresh weights.
        tokenizer_folder: their tokenizer (:func:`xling.model.tokenizer.tokenizer_folder`).
        digest: what :func:`weights_digest` gave when the job was planned; its commit is loaded from
            the hub, and a local folder that has changed since is refused.

    Raises:
        CheckpointError: the weights cannot be had, or do not fit the configuration.
        ConfigError: there is no such preset.
    """
    preset = presets.get(model.preset) if model.preset is not None else None
    if model.path is not None and digest is not None and weights_digest(model) != digest:
        raise CheckpointError(f"model folder {model.path} has changed since the job was planned; plan the job again")
    if model.learns_tokenizer:
        loaded = _fresh(model, preset, seed, tokenizer_folder)
    else:
        if model.path is not None:
            folder = Path(model.path).expanduser()
        else:
            hub_id = preset.hub if isinstance(preset, presets.HubPreset) else str(model.hub)
            commit = digest.rpartition("@")[2] if digest is not None else resolve_commit(hub_id, model.revision)
            folder = download(hub_id, commit, with_code=model.trust_remote_code)
        loaded = load_folder(
            folder,
            model.pooling or (preset.pooling if isinstance(preset, presets.HubPreset) else None),
            dropout=model.dropout,
            layers=model.layers,
            trust_remote_code=model.trust_remote_code,
        )
    settings = TextSettings(
        query_prefix=model.query_prefix,
        passage_prefix=model.passage_prefix,
        max_query_tokens=model.max_query_tokens,
        max_passage_tokens=model.max_passage_tokens,
        pooling=loaded.settings.pooling,
    )
    _check_length(loaded.encoder, settings)
    return replace(loaded, settings=settings)


def load_folder(
    folder: Path,
    pooling: Pooling | None = None,
    *,
    dropout: float | None = None,
    layers: int | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Read a Hugging Face or sentence-transformers folder, or one :func:`save_folder` wrote.

    A folder that is not ours gives its prompts named query and document (or passage) as prefixes,
    and the longest text it takes as both token limits. No pickle of the folder is run, nor any code.

    Args:
        folder: the folder; its own pooling (mean where it names none) is used unless given.
        pooling: in place of the folder's own.
        dropout: probability to set in place of the folder's own.
        layers: how many of the first layers are kept; all unless given.
        trust_remote_code: do run the modelling code that the folder brings.

    Raises:
        CheckpointError: a file is missing or cut, a module or architecture is not supported.
    """
    layout = read_layout(folder, pooling_given=pooling is not None)
    with quiet(), torch.random.fork_rng(devices=[]):
        config = read_config(layout.transformer, dropout=dropout, layers=layers, trust_remote_code=trust_remote_code)
        backbone = read_backbone(layout.transformer, config, trust_remote_code=trust_remote_code)
        encoder = DualEncoder(backbone, pooling or layout.pooling or "mean", _projection(layout, backbone)).eval()
        rows = backbone.get_input_embeddings().num_embeddings
        tokenizer = read_tokenizer(
            layout.transformer, layout.lower_case, rows=rows, trust_remote_code=trust_remote_code
        )
    if layout.settings is not None:
        settings = replace(layout.settings, pooling=encoder.pooling)
    else:
        limits = (layout.max_tokens, encoder.max_tokens, tokenizer.model_max_length, 8192)
        longest = min(limit for limit in limits if limit is not None)
        settings = TextSettings(layout.query_prefix, layout.passage_prefix, longest, longest, encoder.pooling)
    _check_length(encoder, settings)
    return LoadedModel(encoder, tokenizer, settings)


def load_hub(model: str, *, trust_remote_code: bool = False) -> LoadedModel:
    """A preset on the hub as a sweep with it begins, whether it is named or its hub id; else what the model says of
    itself, as :func:`load_folder` reads it.

    Raises:
        CheckpointError: it cannot be had, or as :func:`load_folder`.
    """
    preset = presets.find(model) or presets.of_hub(model)
    if isinstance(preset, presets.HubPreset):
        return load_start(ModelConfig(preset=preset.name), seed=0)
    folder = download(model, resolve_commit(model), with_code=trust_remote_code)
    return load_folder(folder, trust_remote_code=trust_remote_code)


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


def _projection(layout: Layout, backbone: PreTrainedModel) -> Projection | None:
    if layout.dense is None or layout.dense_folder is None:
        return None
    return read_projection(layout.dense_folder, layout.dense, int(backbone.config.hidden_size))


def _fresh(model: ModelConfig, preset: presets.Preset | None, seed: int, tokenizer_folder: Path | None) -> LoadedModel:
    """Fresh weights of a built preset, a hub preset's architecture or a folder's."""
    assert tokenizer_folder is not None, "fresh weights need their tokenizer's folder"
    tokenizer = load_tokenizer(tokenizer_folder)
    if isinstance(preset, presets.BuiltPreset):
        backbone = build_backbone(
            preset if model.layers is None else replace(preset, layers=model.layers),
            vocab_size=len(tokenizer),
            positions=preset.positions(max(model.max_query_tokens, model.max_passage_tokens)),
            pad_id=tokenizer.pad_token_id,
            dropout=model.dropout,
            seed=seed,
        )
        encoder = DualEncoder(backbone, model.pooling or "mean").eval()
        return LoadedModel(encoder, tokenizer, TextSettings(pooling=encoder.pooling))
    if preset is not None:
        config, dense, pooling = architecture_config(preset.shape), dense_of(preset.shape), preset.pooling
        adapt_config(config, dropout=model.dropout, layers=model.layers, name=f"preset {preset.name!r}")
    else:
        folder = Path(str(model.path)).expanduser()
        layout = read_layout(folder, pooling_given=model.pooling is not None, architecture_only=True)
        dense, pooling = layout.dense, layout.pooling or "mean"
        config = read_config(
            layout.transformer,
            dropout=model.dropout,
            layers=model.layers,
            trust_remote_code=model.trust_remote_code,
        )
    with quiet(), torch.random.fork_rng(devices=[]):
        encoder = fresh_encoder(
            config,
            tokenizer,
            model.pooling or pooling,
            dense,
            seed=seed,
            trust_remote_code=model.trust_remote_code,
        )
        if preset is None and not model.trust_remote_code:
            require_readable(encoder.backbone.config, tokenizer)
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
