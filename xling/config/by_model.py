"""``resources.by_model`` beside the rest of the file: its names are models of the sweep, and nothing is said twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xling.config import dotted
from xling.config.document import Document
from xling.config.dotted import Parts
from xling.config.grid import Grid
from xling.config.resources import names_of

_PLACE: Parts = ("resources", "by_model")
_SOURCES = ("preset", "path", "hub")


def refuse_unknown_models(document: Document, grid: Grid) -> None:
    """Report names that no cell's model has, and fields that both the grid and ``by_model`` give."""
    models = list(_models(document.data.get("model"), grid))
    known = {name for model in models for name in names_of(model)}
    listed = ", ".join(dict.fromkeys(next(names_of(model)) for model in models))
    judged = known and not any(parts[0] == "model" for parts in grid.broken)  # else it may only follow from those
    swept = {dotted.join(parts) for axis in grid.axes for parts in axis.values}
    for source, name, own in _entries(document.data.get("resources"), grid):
        path = dotted.join((*_PLACE, name))
        if judged and name not in known:
            document.report(source, f"{path} names no model of this sweep, must be one of {listed}")
        for field in own if isinstance(own, dict) else ():
            if f"resources.{field}" in swept:
                text = f"{path} gives {field}, and the grid sweeps resources.{field}; keep one"
                document.report((*source, field), text)


def _entries(resources: Any, grid: Grid) -> Iterator[tuple[Parts, str, Any]]:
    """Where each entry of ``by_model`` stands, its name and its value: the file's, and the grid's."""
    found: list[tuple[Parts, Parts, Any]] = [(("resources",), ("resources",), resources)]
    for axis in grid.axes:
        for parts, values in axis.values.items():
            found += [(axis.source(parts, index), parts, value) for index, value in enumerate(values)]
    for source, parts, value in found:
        if parts == ("resources",) and isinstance(value, dict):
            source, parts, value = (*source, "by_model"), _PLACE, value.get("by_model")
        if parts == _PLACE and isinstance(value, dict):
            yield from (((*source, name), name, own) for name, own in value.items())
        elif parts[:2] == _PLACE and len(parts) > 2:
            yield source, str(parts[2]), value if len(parts) == 3 else {parts[3]: value}


def _models(base: Any, grid: Grid) -> Iterator[dict[str, Any]]:
    """Sections that name a model each: the grid's, or the file's where the grid has none."""
    swept = []
    for axis in grid.axes:
        for parts, values in axis.values.items():
            if parts == ("model",):
                swept += values
            elif parts[0] == "model" and parts[-1] in _SOURCES:
                swept += [{str(parts[-1]): value} for value in values]
    for model in swept or [base]:
        if isinstance(model, dict) and any(names_of(model)):
            yield model
