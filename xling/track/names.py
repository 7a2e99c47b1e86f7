"""What things are called in MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from xling.errors import TrackingError
from xling.languages import LangPair

_NAME = re.compile(r"[\w.\- :]+(/[\w.\- :]+)*")


def metric_name(dataset: str, measure: str, group: LangPair | str | None = None) -> str:
    """MLflow's name for an evaluation figure (it refuses ``@`` and ``>``).

    ``metric_name("xquad-r", "mAP", LangPair("ar", "de"))`` is ``eval/xquad-r/mAP/pair/ar-de``,
    ``metric_name("geo", "R@10", "Mo")`` is ``eval/geo/R_at_10/Mo``.

    Raises:
        TrackingError: a part holds a character MLflow refuses.
    """
    parts = ["eval", dataset, measure.replace("@", "_at_")]
    if isinstance(group, LangPair):
        parts += ["pair", str(group)]
    elif group:
        parts.append(group)
    name = "/".join(parts)
    if not is_metric_name(name):
        raise TrackingError(f"{name!r} cannot name a metric: MLflow takes letters, digits and _ - . / : and space only")
    return name


def is_metric_name(name: str) -> bool:
    """Whether MLflow takes ``name`` for a metric."""
    return _NAME.fullmatch(name) is not None and len(name) <= 250 and not {".", ".."} & set(name.split("/"))


def flatten(config: Mapping[str, Any] | Sequence[Any], prefix: str = "") -> dict[str, str]:
    """A resolved configuration as dotted paths: ``{"mix": {"monolingual": 1.0}}`` is ``{"mix.monolingual": "1.0"}``.

    Lists of sections are numbered (``data.evaluate.0.dataset``), lists of values stay one value.
    """
    flat: dict[str, str] = {}
    for key, value in config.items() if isinstance(config, Mapping) else enumerate(config):
        path = f"{prefix}{key}"
        has_sections = isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)
        if has_sections or (isinstance(value, Mapping) and value):
            flat |= flatten(value, f"{path}.")
        else:
            flat[path] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return flat


def as_name(text: str) -> str:
    """A text as one part of a metric's name: what MLflow refuses in it is an underscore."""
    return re.sub(r"[^\w.\- :]", "_", text)
