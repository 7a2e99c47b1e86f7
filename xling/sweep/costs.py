"""What training took: a cell's steps on storage, and the costs that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired

from typing_extensions import TypedDict

from xling.storage import Storage
from xling.stored_json import DamagedFile, pass_over
from xling.train.metrics import stored_steps

Costs = dict[str, Any]  # the fields of CellValues that cost, by name

_SAMPLED = 2000  # steps of a cell that are kept; a curve has far fewer points
_BERTS = ("bert", "roberta", "xlm-roberta")  # whose embedding tables are as config.json says


class _ModelConfig(TypedDict):
    """What is read of a model's ``config.json``."""

    model_type: NotRequired[str]
    vocab_size: NotRequired[int]
    max_position_embeddings: NotRequired[int]
    type_vocab_size: NotRequired[int]
    hidden_size: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Trace:
    """Every n-th record of a cell's steps, and what the cell cost; no costs of one that is not done."""

    steps: Sequence[Mapping[str, Any]]
    costs: Costs


def read_trace(cell: Storage, about: Mapping[str, Any] | None, batch_size: int) -> Trace:
    """Read a cell's steps; ``about``: of its model, where it is done."""
    steps = stored_steps(cell)
    costs = {} if about is None else training_costs(cell, about, steps, batch_size)
    return Trace(steps[:: -(-len(steps) // _SAMPLED) or 1], costs)


def training_costs(
    cell: Storage, about: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], batch_size: int
) -> Costs:
    """What a trained cell has and took: the costs of ``CellValues``, by name.

    Tokens and seconds are summed over the steps on storage; not known where some are missing.
    """
    made, inner = about["step"], about.get("parameters_non_embedding")
    if inner is None:  # trained before models told
        inner = _non_embedding(cell, about)
    costs: Costs = {
        "parameters": about.get("parameters"),
        "parameters_non_embedding": inner,
        "examples": made * batch_size,
    }
    counted = [step for step in steps if step["step"] < made]
    if len(counted) == made and made and all(step.get("pairs_per_s", 0) > 0 for step in counted):
        seconds = [batch_size / step["pairs_per_s"] for step in counted]
        tokens = sum(step["tokens_per_s"] * time for step, time in zip(counted, seconds, strict=True))
        costs |= {"tokens": tokens, "wall_seconds": sum(seconds)}
        costs["flops"] = None if inner is None else 6.0 * inner * tokens
    return costs


def _non_embedding(cell: Storage, about: Mapping[str, Any]) -> int | None:
    """Parameters outside the embedding tables, by what ``config.json`` says of these; None of another kind of model."""
    try:
        config: _ModelConfig = cell.read_json("model/config.json", _ModelConfig)
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        pass_over(error, "its parameters outside the embeddings are not counted")
        return None
    tables = (config.get("vocab_size"), config.get("max_position_embeddings"), config.get("type_vocab_size"))
    parameters, width = about.get("parameters"), config.get("hidden_size")
    if config.get("model_type") not in _BERTS or parameters is None or width is None or None in tables:
        return None
    return int(parameters) - sum(rows for rows in tables if rows is not None) * width
