"""The projection after pooling: sentence-transformers' Dense module, a linear layer and an activation.

Shape suffixes: B texts, W dimensions of the transformer, D dimensions of the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from xling.errors import CheckpointError

# A folder names its activation by an import path. It is looked up here, never imported; all are
# without arguments and weights, since a path carries neither.
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}
_INPUT_NAMES = (None, "sentence_embedding")


@dataclass(frozen=True, slots=True)
class DenseConfig:
    """What a Dense module's ``config.json`` says."""

    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Tanh"

    def to_json(self) -> dict[str, Any]:
        """The object sentence-transformers reads."""
        kind = _ACTIVATIONS[self.activation]
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias,
            "activation_function": f"{kind.__module__}.{kind.__name__}",
        }


class Projection(nn.Module):
    """``activation(W x + b)``; its state has sentence-transformers' names, ``linear.weight`` and ``linear.bias``."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.in_features, config.out_features, bias=config.bias)
        self.activation = _ACTIVATIONS[config.activation]()

    def forward(self, pooled_BW: Tensor) -> Tensor:
        """``[B, D]`` in the weights' precision, also where autocast runs the transformer in bf16."""
        with torch.autocast(pooled_BW.device.type, enabled=False):
            projected_BD: Tensor = self.activation(self.linear(pooled_BW.to(self.linear.weight.dtype)))
        return projected_BD


def dense_config(values: dict[str, Any], file: Path) -> DenseConfig:
    """Check what ``file``, a Dense module's ``config.json``, holds.

    Raises:
        CheckpointError: a size is not one, the activation is not among the supported, or the module
            reads or adds something else than the pooled vector.
    """
    for field in ("in_features", "out_features"):
        value = values.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointError(
                f"{file} has {field} {value!r}, must be a positive number; copy the whole folder again"
            )
    bias = values.get("bias", True)
    if not isinstance(bias, bool):
        raise CheckpointError(f"{file} has bias {bias!r}, must be true or false; copy the whole folder again")
    for field in ("module_input_name", "module_output_name"):
        if values.get(field) not in _INPUT_NAMES:
            raise CheckpointError(
                f"{file} has {field} {values[field]!r}, must be 'sentence_embedding', the pooled vector; "
                "choose another model"
            )
    if values.get("use_residual", False) is not False:
        raise CheckpointError(
            f"{file} has use_residual {values['use_residual']!r}, must be false: residual projections are not "
            "supported; choose another model"
        )
    activation = _activation(values.get("activation_function", "torch.nn.Tanh"), file)
    return DenseConfig(values["in_features"], values["out_features"], bias, activation)


def save_projection(folder: Path, projection: Projection) -> None:
    """Write the weights; ``config.json`` beside them is the layout's."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in projection.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def _activation(path: Any, file: Path) -> str:
    for name, kind in _ACTIVATIONS.items():
        if path in (f"{kind.__module__}.{name}", f"torch.nn.{name}"):
            return name
    raise CheckpointError(
        f"{file} has activation_function {path!r}, must be one of torch.nn's {', '.join(_ACTIVATIONS)}; "
        "choose another model"
    )
