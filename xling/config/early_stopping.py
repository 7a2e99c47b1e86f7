"""Which of a sweep's cells early stopping may compare (design decision 12).

An entry of the grid is a *tuning axis* when every path in it is marked ``tuning`` in the schema.
Cells are compared when they differ in tuning axes alone, or as ``compare_within`` says: whatever
it leaves out may differ, but never what the study is about.
"""

from __future__ import annotations

from collections.abc import Sequence

from xling.config import dotted
from xling.config.document import Document
from xling.config.dotted import Parts
from xling.config.grid import Axis, Grid
from xling.config.messages import show
from xling.config.schema import CellConfig, EarlyStoppingConfig, SweepConfig

# Cells that differ in one of these are never compared.
UNLIKE = {
    ("model",): "the size is what the study compares",
    ("mix",): "the mix is what the study compares",
    ("data",): "other data make another dev measure",
    ("train", "budget"): "cells of other budgets have made other numbers of steps",
    ("train", "dev_measure"): "a loss cannot be held against an mAP",
    ("train", "dev_pool"): "a loss over another pool is another measure",
    ("seed",): "stopping all seeds but the best would pick the lucky ones",
}
_PLACE: Parts = ("early_stopping", "compare_within")


def tuned_paths(
    document: Document, grid: Grid, settings: EarlyStoppingConfig | None, *, grid_is_whole: bool
) -> tuple[str, ...]:
    """The swept paths in which cells that are compared may differ; none without early stopping.

    What is wrong goes to ``document.problems``. A grid that could not be read whole is not judged.
    """
    if settings is None or not grid_is_whole:
        return ()
    if settings.compare_within is None:
        tuned = [axis for axis in grid.axes if all(map(is_tuning, axis.values))]
    else:
        tuned = _left_out(document, grid, settings.compare_within)
    if max(map(len, tuned), default=1) < 2:
        document.report(("early_stopping",), f"early_stopping {_nothing_to_compare(grid, settings)}")
    return tuple(dotted.join(parts) for axis in tuned for parts in axis.values)


def refuse_other_scales(document: Document, tuned: Sequence[str], configs: Sequence[CellConfig]) -> None:
    """A dev loss is computed at the cell's own temperature: cells of two temperatures have two measures."""
    if "train.temperature" in tuned and any(config.train.dev_measure == "loss" for config in configs):
        text = (
            "early_stopping compares cells of several train.temperature by train.dev_measure 'loss', which is computed "
            "at a cell's own; set train.dev_measure: mAP, or name train.temperature in compare_within"
        )
        document.report(("early_stopping",), text)


def is_tuning(parts: Parts) -> bool:
    """Whether a path leads to a field marked ``tuning``, or into one."""
    slots = (dotted.slot_at(SweepConfig, parts[:end]) for end in range(1, len(parts) + 1))
    return any(slot is not None and slot.tuning for slot in slots)


def _left_out(document: Document, grid: Grid, compare_within: Sequence[str]) -> list[Axis]:
    """The axes of which ``compare_within`` names no path; linked paths count together."""
    swept = [dotted.join(parts) for axis in grid.axes for parts in axis.values]
    for number, path in enumerate(compare_within):
        if path not in swept:
            text = f"is {show(path)}, must be a path of the grid: {', '.join(swept) or 'it has none'}"
            document.report((*_PLACE, number), f"{dotted.join((*_PLACE, number))} {text}")
    left_out = []
    for axis in grid.axes:
        paths = [dotted.join(parts) for parts in axis.values]
        if set(paths) & set(compare_within):
            continue
        left_out.append(axis)
        if why := [reason for parts in axis.values for kept, reason in UNLIKE.items() if _touch(parts, kept)]:
            text = f"leaves out {', '.join(paths)}: {why[0]}; add {paths[0]}, or remove compare_within for the default"
            document.report(_PLACE, f"{dotted.join(_PLACE)} {text}")
    return left_out


def _touch(parts: Parts, kept: Parts) -> bool:
    return dotted.starts_with(parts, kept) or dotted.starts_with(kept, parts)


def _nothing_to_compare(grid: Grid, settings: EarlyStoppingConfig) -> str:
    swept = ", ".join(dotted.join(parts) for axis in grid.axes for parts in axis.values)
    if settings.compare_within is not None and swept:
        return "has no two cells to compare: compare_within names all that the grid varies; take out a tuning field"
    differ = f"differ in {swept}, and stopping some of those would lose the very cells that the study compares"
    return (
        "has no two cells to compare, they must differ in tuning fields alone: the cells of this sweep "
        f"{differ if swept else 'do not differ, there is no grid'}; "
        "sweep a tuning field such as train.lr in an entry of its own, or remove early_stopping"
    )
