"""Weights and tokenizer of a Hugging Face folder, read without running anything that lies in it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from xling.errors import CheckpointError
from xling.model.projection import DenseConfig, Projection

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# What the libraries raise on files they cannot read or will not run.
_LOAD_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
    pickle.UnpicklingError,
)
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
)


def read_backbone(folder: Path, dropout: float | None) -> PreTrainedModel:
    """The transformer in a folder, float32, with ``dropout`` in place of its own where given.

    Raises:
        CheckpointError: it cannot be read, lacks weights, or is no encoder.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if getattr(config, "is_encoder_decoder", False):
            raise CheckpointError(f"{folder} is an encoder-decoder, must be an encoder; choose another model")
        if dropout is not None:
            _set_dropout(config, dropout, folder)
        backbone, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
        )
    except _LOAD_ERRORS as error:
        raise CheckpointError(
            f"model folder {folder} cannot be loaded ({type(error).__name__}: {error}); its config.json and weights "
            "must be whole and of an architecture transformers knows; copy the folder again or choose another model"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise CheckpointError(
            f"model folder {folder} lacks {len(missing)} of the weights config.json asks for ({shown}), must hold "
            "all; copy the whole folder again"
        )
    return backbone


def read_projection(folder: Path, config: DenseConfig, width: int) -> Projection:
    """The Dense module in a folder, float32; ``width`` is the transformer's.

    Raises:
        CheckpointError: it does not fit the transformer, or its weights are not what ``config`` says.
    """
    if config.in_features != width:
        raise CheckpointError(
            f"{folder / 'config.json'} has in_features {config.in_features}, must be {width}, the transformer's width; "
            "copy the Dense module that belongs to the transformer"
        )
    projection = Projection(config)
    file = folder / "model.safetensors"
    try:
        if file.exists():
            state = load_file(file)
        else:
            file = folder / "pytorch_model.bin"
            state = torch.load(file, map_location="cpu", weights_only=True)
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    except _LOAD_ERRORS as error:
        raise CheckpointError(
            f"{file} cannot be loaded ({type(error).__name__}: {error}), must hold the Dense module's tensors; "
            "copy the whole folder again"
        ) from error
    expected = {name: tuple(tensor.shape) for name, tensor in projection.state_dict().items()}
    if found != expected:
        raise CheckpointError(f"{file} holds {found}, must hold {expected}; copy the whole folder again")
    projection.load_state_dict(state)
    return projection


def read_tokenizer(folder: Path, lower_case: bool, *, rows: int) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder; ``rows`` is how many tokens the weights have, ``lower_case`` what the folder asks for.

    Raises:
        CheckpointError: it cannot be read or does not fit.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises Exception itself
        raise CheckpointError(
            f"tokenizer in {folder} cannot be loaded ({error}); copy the whole folder again"
        ) from error
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise CheckpointError(f"tokenizer in {folder} must be a fast one with a padding token; save it again as one")
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"tokenizer in {folder} has {len(tokenizer)} tokens, must not exceed the weights' {rows}; "
            "copy the tokenizer that belongs to the weights"
        )
    if lower_case and tokenizer.tokenize("A") != tokenizer.tokenize("a"):
        raise CheckpointError(
            f"{folder} asks for lower-cased text but its tokenizer keeps capitals, must lower-case itself; "
            "set its normalizer and save it again"
        )
    return tokenizer


def _set_dropout(config: Any, dropout: float, folder: Path) -> None:
    fields = [name for name in _DROPOUTS if hasattr(config, name)]
    if not fields:
        raise CheckpointError(
            f"`model.dropout` is {dropout}, but the configuration in {folder} has none to set; leave it out"
        )
    for name in fields:
        setattr(config, name, dropout)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' and the hub's bars and reports off the terminal, for this call only."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
