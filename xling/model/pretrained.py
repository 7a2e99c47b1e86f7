"""Configuration and weights of a Hugging Face folder, read without running anything that lies in it.

Only with ``trust_remote_code``, which the user sets, the modelling code of the folder itself is run.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from xling.errors import CheckpointError
from xling.model.layout import named_code
from xling.model.projection import DenseConfig, Projection

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What the libraries raise on files they cannot read or will not run.
LOAD_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
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


def read_config(folder: Path, *, dropout: float | None, layers: int | None, trust_remote_code: bool) -> Any:
    """The transformers configuration in a folder, with ``dropout`` and the first ``layers`` alone where given.

    Raises:
        CheckpointError: it cannot be read, is of no encoder, or asks for code that is not trusted.
    """
    _require_trust(folder, trust_remote_code)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except LOAD_ERRORS as error:
        raise _unloadable(folder, error) from error
    if getattr(config, "is_encoder_decoder", False):
        raise CheckpointError(f"{folder} is an encoder-decoder, must be an encoder; choose another model")
    adapt_config(config, dropout=dropout, layers=layers, name=str(folder))
    return config


def read_backbone(folder: Path, config: Any, *, trust_remote_code: bool) -> PreTrainedModel:
    """The transformer in a folder, float32, built as ``config`` says (:func:`read_config`).

    Raises:
        CheckpointError: it cannot be read or lacks weights.
    """
    try:
        backbone, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            weights_only=True,
        )
    except LOAD_ERRORS as error:
        raise _unloadable(folder, error) from error
    if not trust_remote_code:
        require_encoder(backbone, str(folder))
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise CheckpointError(
            f"model folder {folder} lacks {len(missing)} of the weights config.json asks for ({shown}), must hold "
            "all; copy the whole folder again"
        )
    return backbone


@torch.no_grad()
def require_encoder(backbone: PreTrainedModel, name: str) -> None:
    """Raise CheckpointError where a transformer does not make hidden states of token ids, as T5's pair does not.

    ``AutoModel`` gives the whole of an architecture, also where a folder holds its encoder alone. Code that comes with
    a folder is not tried: it may need an accelerator.
    """
    ids_BT = torch.zeros((1, 4), dtype=torch.int64)
    try:
        hidden_BTW = backbone.eval()(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).last_hidden_state
        found, expected = tuple(hidden_BTW.shape), (1, 4, backbone.config.hidden_size)
        problem = "" if found == expected else f"it gives {found} for 4 tokens, not {expected}"
    except Exception as error:  # an architecture of images or speech may raise anything here
        problem = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if problem:
        raise CheckpointError(
            f"{name} is loaded as a {type(backbone).__name__}, which does not encode texts ({problem}), must be of an "
            "architecture that is an encoder alone; choose another model"
        )


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
    except LOAD_ERRORS as error:
        raise CheckpointError(
            f"{file} cannot be loaded ({type(error).__name__}: {error}), must hold the Dense module's tensors; "
            "copy the whole folder again"
        ) from error
    expected = {name: tuple(tensor.shape) for name, tensor in projection.state_dict().items()}
    if found != expected:
        raise CheckpointError(f"{file} holds {found}, must hold {expected}; copy the whole folder again")
    projection.load_state_dict(state)
    return projection


def adapt_config(config: Any, *, dropout: float | None, layers: int | None, name: str) -> None:
    """Set what ``model.dropout`` and ``model.layers`` ask for.

    Raises:
        CheckpointError: the configuration has no dropout, not so many layers, or does not allow of the change.
    """
    if dropout is not None:
        fields = [field for field in _DROPOUTS if hasattr(config, field)]
        if not fields:
            raise CheckpointError(
                f"`model.dropout` is {dropout}, but the configuration in {name} has none to set; leave it out"
            )
        for field in fields:
            setattr(config, field, dropout)
    if layers is not None:
        whole = getattr(config, "num_hidden_layers", 0)
        if layers > whole:
            raise CheckpointError(f"`model.layers` is {layers}, must be within 1..{whole}, the layers of {name}")
        config.num_hidden_layers = layers
        if len(kinds := getattr(config, "layer_types", None) or ()) > layers:  # some follow from the number
            config.layer_types = kinds[:layers]
    if layers is not None or dropout is not None:
        _validate(config, name)


def _validate(config: Any, name: str) -> None:
    """Saving a model checks its configuration: what it would refuse is told before training, and not after."""
    try:
        if hasattr(config, "validate"):
            config.validate()
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"`model.layers` or `model.dropout` gives {name} a configuration that cannot be saved ({error}); "
            "leave it out or choose another model"
        ) from error


def _require_trust(folder: Path, trust_remote_code: bool) -> None:
    """Raise CheckpointError where a folder asks for code of its own without trust, or for another place's at all."""
    classes = named_code(folder)
    elsewhere = sorted(name for name in classes if "--" in name)
    if elsewhere:
        raise CheckpointError(
            f"model folder {folder} cannot be loaded: its auto_map names code of another repository ({elsewhere[0]}), "
            "must name files of its own; copy them into the folder and correct auto_map"
        )
    if classes and not trust_remote_code:
        files = ", ".join(sorted({f"{name.rpartition('.')[0]}.py" for name in classes}))
        raise CheckpointError(
            f"model folder {folder} cannot be loaded: its auto_map asks for code of its own ({files}), which is not "
            "run unless trusted; read it, then set `model.trust_remote_code: true`, or choose another model"
        )


def _unloadable(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"model folder {folder} cannot be loaded ({type(error).__name__}: {error}); its config.json and weights "
        "must be whole and of an architecture transformers knows; copy the folder again or choose another model"
    )


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
