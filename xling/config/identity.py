"""What makes two cells the same: ids hashed from the fields that change results (design decision 1).

Only fields marked ``identity`` in the schema count, and only where they differ from their
identity default: a field added later leaves all older ids as they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from xling.config.schema import CellConfig, EvaluationConfig, ModelConfig, Section

TRAINING_VERSION = 2  # raise when the same configuration trains to other weights than before
EVALUATION_VERSION = 2  # raise when the same weights score differently than before

ID_BYTES = 10


def identity_fields(config: Section) -> dict[str, Any]:
    """The marked fields of a section and of the marked sections in it, defaults left out.

    An optional section that is given stays even when all in it is default, so that it differs
    from none.
    """
    found: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if not marks.get("identity"):
            continue
        value = getattr(config, name)
        default = marks.get("identity_default", field.default)
        if isinstance(value, Section):
            inside = identity_fields(value)
            if inside or default is None:
                found[name] = inside
        elif _canonical(value) != _canonical(default):
            found[name] = value
    return found


def canonical_json(value: Any) -> str:
    """The one spelling of a value: keys sorted, numbers at their shortest, 2 for 2.0.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, list | tuple) else value


def train_id(config: CellConfig, *, training_fingerprint: str, weights_digest: str, warm_id: str | None) -> str:
    """Id of a trained model: 20 hex digits.

    Args:
        training_fingerprint: of the training data's content.
        weights_digest: of the weights it starts from: a folder's digest, a hub commit, ``preset:tiny``.
        warm_id: the warm start's id; None without one.
    """
    assert (warm_id is None) == (config.model.warm_start is None), "a warm start has an id, and only a warm start"
    return _digest(
        "train",
        version=TRAINING_VERSION,
        config=identity_fields(config),
        training=training_fingerprint,
        weights=weights_digest,
        warm=warm_id,
        **_weights(config),
        **_counted(config),
    )


def _counted(config: CellConfig) -> dict[str, str]:
    """What a budget in FLOPs counts beside queries and passages, where that is anything.

    Hard negatives were once left out, so such cells trained for more steps: theirs are other ids.
    """
    counts_negatives = config.train.budget.flops is not None and config.train.hard_negatives > 0
    return {"flops_of": "hard negatives too"} if counts_negatives else {}


def _weights(config: CellConfig) -> dict[str, list[float]]:
    """Of several training sets, relative to the largest; nothing where all are equal, as with a single one."""
    weights = [entry.weight for entry in config.data.training_sets]
    return {} if len(set(weights)) == 1 else {"set_weights": [weight / max(weights) for weight in weights]}


def warm_id(model: ModelConfig, *, names_fingerprint: str, training_fingerprint: str, weights_digest: str) -> str:
    """Id of a warm start: 20 hex digits, the same for all cells that can share it.

    Only the model's section decides it: whatever else a warm start uses is fixed, so that cells
    of one size share theirs. A preset's tokenizer is trained on the training text, so its
    fingerprint counts for presets, and wherever else the tokenizer is learnt.
    """
    assert model.warm_start is not None, "no warm start is configured"
    return _digest(
        "warm",
        version=TRAINING_VERSION,
        model=identity_fields(model),
        names=names_fingerprint,
        tokenizer=training_fingerprint if model.preset is not None or model.learns_tokenizer else None,
        weights=weights_digest,
    )


def eval_id(train_id: str, retrieval_fingerprint: str, settings: EvaluationConfig) -> str:
    """Id of one trained model's scores on one retrieval set: 20 hex digits."""
    return _digest(
        "eval",
        version=EVALUATION_VERSION,
        train=train_id,
        retrieval=retrieval_fingerprint,
        settings=identity_fields(settings),
    )


def comparison_group(
    config: CellConfig,
    tuned: Iterable[str],
    *,
    training_fingerprint: str,
    weights_digest: str,
    warm_id: str | None,
    dev_fingerprint: str,
) -> str:
    """Id of the cells that early stopping compares: 20 hex digits, from all that makes one but its tuned values.

    Args:
        tuned: dotted paths of the fields in which they may differ.
    """
    left_out = [path.split(".") for path in tuned]
    fields = {
        ".".join(parts): value
        for parts, value in _leaves(identity_fields(config), ())
        if not any(parts[: len(path)] == path[: len(parts)] for path in left_out)
    }
    return _digest(
        "group",
        version=TRAINING_VERSION,
        config=fields,
        training=training_fingerprint,
        weights=weights_digest,
        warm=warm_id,
        dev=dev_fingerprint,
        **_weights(config),
        **_counted(config),
    )


def _leaves(value: Any, parts: tuple[str, ...]) -> Iterator[tuple[list[str], Any]]:
    """The values below a section, by path; a section that is given but holds nothing is one of its own."""
    if isinstance(value, dict) and (value or not parts):
        for name, inner in value.items():
            yield from _leaves(inner, (*parts, name))
    else:
        yield list(parts), value


def training_key(config: CellConfig) -> str:
    """Equal for two configurations that train the same, as far as shows without reading data or weights."""
    sets = [entry.model_dump(exclude={"weight"}) for entry in config.data.training_sets]
    named = {"train": sets, **_weights(config), "path": config.model.path, "revision": config.model.revision}
    return canonical_json({"config": identity_fields(config), **named})


def _digest(kind: str, **parts: Any) -> str:
    return hashlib.blake2b(canonical_json({"kind": kind, **parts}).encode(), digest_size=ID_BYTES).hexdigest()
