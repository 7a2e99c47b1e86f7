"""Short names for models and cells, made of letters, digits, ``.``, ``_`` and ``-``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from xling.config.dotted import Parts
from xling.config.schema import ModelConfig, ShareSchedule

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
LONGEST = 40  # characters a value may take in a label; longer ones are numbered instead

_MODEL_SOURCES = (("model",), ("model", "preset"), ("model", "path"), ("model", "hub"))
_ALPHA: Parts = ("mix", "monolingual")
_SHORT: dict[Parts, str] = {_ALPHA: "a", ("seed",): "s"}


def axis_labels(values: Mapping[Parts, Sequence[Any]], models: Sequence[str]) -> list[str]:
    """Labels of an axis' positions, all different: of the model or the first path, and of more where needed.

    Args:
        values: the axis' values by path; the paths are linked.
        models: the model's short name at each position.
    """
    size = len(models)
    paths = sorted(values, key=lambda parts: parts not in _MODEL_SOURCES)  # stable: the file's order otherwise
    labels = [""] * size
    for parts in paths:
        if labels[0] and len(set(labels)) == size:
            break
        by_model = parts in _MODEL_SOURCES
        if by_model and labels[0]:
            continue
        added = list(models) if by_model else _value_labels(parts, values[parts][:size], list(values))
        labels = [f"{label}-{more}" if label else more for label, more in zip(labels, added, strict=True)]
    return make_unique(labels)


def _value_labels(parts: Parts, listed: Sequence[Any], siblings: Sequence[Parts]) -> list[str]:
    name = _SHORT.get(parts) or _slug(str(parts[-1]))
    if sum(other[-1] == parts[-1] for other in siblings) > 1:
        name = _slug("-".join(map(str, parts[-2:])))
    labels = []
    for number, value in enumerate(listed, start=1):
        scheduled = parts == _ALPHA and isinstance(value, dict)
        text = ShareSchedule.model_validate(value).text if scheduled else _value_text(value)
        glued = text[:1].isdigit() and (scheduled or not isinstance(value, str | list | dict))
        label = f"{name}{text}" if glued else f"{name}-{text}"
        labels.append(label if text and len(text) <= LONGEST else f"{name}-{number}")
    return labels


def _value_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | tuple):
        return "-".join(map(_value_text, value))
    if isinstance(value, dict):
        texts = {_slug(str(key)): (item, _value_text(item)) for key, item in value.items()}
        return "-".join(
            f"{key}{text}" if text[:1].isdigit() and not isinstance(item, str) else f"{key}-{text}"
            for key, (item, text) in texts.items()
        )
    return _slug(str(value))


def _number(value: int | float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    short = f"{value:g}"
    mantissa, exponent, power = (short if float(short) == value else repr(value)).partition("e")
    return f"{mantissa}e{int(power)}" if exponent else mantissa


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def model_names(models: Sequence[ModelConfig]) -> list[str]:
    """A short name for each configuration's model: preset, folder or hub name.

    Different models get different names, if need be with the folders or the organisation before them.
    """
    spelled = {_source(model): _spellings(model) for model in models}
    depth = dict.fromkeys(spelled, 0)
    while True:
        names = {source: spellings[min(depth[source], len(spellings) - 1)] for source, spellings in spelled.items()}
        taken = list(names.values())
        longer = [s for s in spelled if taken.count(names[s]) > 1 and depth[s] < len(spelled[s]) - 1]
        if not longer:
            break
        for source in longer:
            depth[source] += 1
    unique = dict(zip(names, make_unique(list(names.values())), strict=True))
    return [unique[_source(model)] for model in models]


def whole(model: ModelConfig) -> ModelConfig:
    """The model that a short name tells first, before what is done to it."""
    return model.model_copy(update={"init": "pretrained", "layers": None, "vocab_size": None})


def _source(model: ModelConfig) -> tuple[str | int | None, ...]:
    return model.preset, model.path, model.hub, model.revision, model.init, model.layers, model.vocab_size


def _spellings(model: ModelConfig) -> list[str]:
    """Names for a model, the shortest first."""
    name = model.hub or model.preset or model.path or ""
    parts = name.split("/") if model.hub is not None else [part for part in PurePosixPath(name).parts if part != "/"]
    endings = [
        *([model.revision] if model.revision else []),
        *(["random"] if model.init == "random" else []),
        *([f"{model.layers}layers"] if model.layers else []),
        *([f"{model.vocab_size}tokens"] if model.vocab_size else []),
    ]
    joined = [_slug("-".join(parts[start:])) for start in reversed(range(len(parts)))]
    longest = [_slug("-".join([joined[-1], *endings]))] if endings and joined else []
    return [name or "model" for name in [*joined, *longest]] or ["model"]


def is_name(text: str) -> bool:
    """Whether a text is made as these names are, so that a file can be named by it."""
    return _NAME.fullmatch(text) is not None


def make_unique(labels: Sequence[str]) -> list[str]:
    """The same labels, those that came before with ``-2``, ``-3``, … behind them."""
    taken: set[str] = set()
    unique = []
    for label in labels:
        candidate, number = label, 1
        while candidate in taken:
            number += 1
            candidate = f"{label}-{number}"
        taken.add(candidate)
        unique.append(candidate)
    return unique
