"""The grid: axes over dotted paths, and the cells they multiply to.

Each entry of ``grid`` is an axis. The paths within one entry are *linked*: they take their
first values together, then their second ones, and so on. Axes are multiplied with each other,
the first one slowest. A path that names a section takes mappings, each of which replaces that
section whole, or null where the section is optional; a longer path of another entry is then
set within it. What the schema derives (``mix.cross_lingual`` from ``mix.monolingual``) is
derived anew in every cell, as the values go into the raw file before it is validated.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xling.config import dotted
from xling.config.document import OVERRIDDEN, Document
from xling.config.dotted import Parts
from xling.config.identity import training_key
from xling.config.labels import axis_labels, make_unique, model_names, whole
from xling.config.messages import show
from xling.config.schema import CellConfig, SweepConfig

MAX_CELLS = 10_000
SWEEP_WIDE = ("name", "storage", "grid", "tracking", "retries", "early_stopping")  # one for all cells: never on an axis

Position = tuple[int, ...]  # one index into each axis


class MisplacedError(Exception):
    """A swept path leads into something that is no section."""

    def __init__(self, parts: Parts, text: str) -> None:
        self.parts = parts
        super().__init__(text)


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    label: str  # short, unique in the sweep: tiny/a0.5/s0
    model_name: str  # the model's short name, unique among the sweep's models
    axes: dict[str, Any]  # the swept values as written, by dotted path
    config: CellConfig
    tuned: tuple[str, ...] = ()  # early stopping: the swept paths in which it differs from cells it is compared with


def size_of(cell: Cell) -> str:
    """The model's short name: what tables call its size."""
    return cell.model_name


def alpha_of(cell: Cell) -> float:
    """The share of monolingual batches; of a schedule, its mean over the budget."""
    return cell.config.mix.alpha


@dataclass(frozen=True)
class Axis:
    """One entry of the grid: linked paths, all with equally many values."""

    entry: int  # its place in the file's list
    values: dict[Parts, list[Any]]

    def __len__(self) -> int:
        return min(len(values) for values in self.values.values())

    def source(self, parts: Parts, position: int) -> Parts:
        """Where in the file a value of this axis stands."""
        return ("grid", self.entry, dotted.join(parts), position)


@dataclass
class Grid:
    """The axes that could be read, and the paths of those that could not."""

    axes: list[Axis]
    broken: list[Parts]

    def positions(self) -> Iterator[Position]:
        """Every cell's position, the first axis slowest; one empty position without a grid."""
        return itertools.product(*(range(len(axis)) for axis in self.axes))

    def swept(self, position: Position) -> list[tuple[Axis, int, Parts, Any]]:
        """The values at a position, each with its axis, its index there and its path."""
        return [
            (axis, index, parts, values[index])
            for axis, index in zip(self.axes, position, strict=True)
            for parts, values in axis.values.items()
        ]


def read_grid(document: Document) -> Grid:
    """Read the axes of a raw sweep file; what is wrong goes to ``document.problems``."""
    raw = document.data.get("grid", [])
    grid = Grid([], [])
    if not isinstance(raw, list):
        document.report(("grid",), f"grid is {show(raw)}, must be a list of entries such as - seed: [0, 1]")
        return grid
    seen: dict[Parts, Parts] = {}
    for index, entry in enumerate(raw):
        if not isinstance(entry, dict) or not entry:
            text = f"grid: entry {index + 1} is {show(entry)}, must map dotted paths to lists, as in seed: [0, 1]"
            document.report(("grid", index), text)
            continue
        values = {}
        for path, listed in entry.items():
            parts = dotted.split(str(path))
            if text := _path_problem(parts, listed, seen, document):
                document.report(("grid", index, path), f"grid: {text}")
                grid.broken.append(parts)
                continue
            seen[parts] = ("grid", index, path)
            values[parts] = listed
        if values:
            grid.axes.append(Axis(index, values))
            _check_linked(grid.axes[-1], document)
    _check_overlap(grid, document)
    size = math.prod(len(axis) for axis in grid.axes)
    if size > MAX_CELLS:
        document.report(("grid",), f"grid makes {size:,} cells, must make at most {MAX_CELLS:,}")
        return Grid([Axis(axis.entry, {p: v[:1] for p, v in axis.values.items()}) for axis in grid.axes], grid.broken)
    return grid


def _path_problem(parts: Parts, listed: Any, seen: dict[Parts, Parts], document: Document) -> str:
    path = dotted.join(parts)
    if dotted.slot_at(SweepConfig, parts) is None:
        return dotted.unknown(SweepConfig, parts)
    if parts[0] in SWEEP_WIDE:
        return f"{path} cannot be swept, it is one for the whole sweep; give it outside the grid"
    if not isinstance(listed, list):
        return f"{path} is {show(listed)}, must be a list of the values to sweep; write [{show(listed)}]"
    if not listed:
        return f"{path} is an empty list, must hold at least one value; remove it to take the file's own"
    if parts in seen:
        return f"{path} is swept by two entries, first in line {document.line(seen[parts])}; keep one"
    for given in (known for known, line in document.lines.items() if line == OVERRIDDEN):
        within = dotted.starts_with(parts, given) and dotted.has_in(document.data, parts)
        if within or dotted.starts_with(given, parts):
            return f"{path} is swept, so --set {dotted.join(given)} would have no effect; --set the grid instead"
    return ""


def _check_linked(axis: Axis, document: Document) -> None:
    """Linked paths need equally many values, and a combination may stand there only once."""
    (first, values), *others = axis.values.items()
    for parts, linked in others:
        if len(linked) != len(values):
            document.report(
                axis.source(parts, 0)[:3],
                f"grid: {dotted.join(parts)} has {_values(len(linked))}, must have as many as "
                f"{dotted.join(first)}, which it is linked to ({len(values)}); to multiply them, make two entries",
            )
    taken: list[str] = []
    for position in range(len(axis)):
        combination = repr([listed[position] for listed in axis.values.values()])
        if combination in taken:
            text = " with ".join(f"{dotted.join(parts)} {show(v[position])}" for parts, v in axis.values.items())
            document.report(axis.source(first, position), f"grid: {text} is listed twice; keep one")
        taken.append(combination)


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def _check_overlap(grid: Grid, document: Document) -> None:
    """A mapping for a section must not give what a longer path of the grid sets in it anyway."""
    every = [(axis, parts) for axis in grid.axes for parts in axis.values]
    for (axis, section), (_, inner) in itertools.permutations(every, 2):
        if not dotted.starts_with(inner, section):
            continue
        for position, value in enumerate(axis.values[section]):
            if dotted.has_in(value, inner[len(section) :]):
                text = (
                    f"grid: {dotted.join(section)} gives {dotted.join(inner)}, which is swept by itself too; keep one"
                )
                document.report(axis.source(section, position), text)


def fill(data: dict[str, Any], grid: Grid, position: Position) -> dict[str, Any]:
    """The raw file of one cell: without the grid, its values put in, sections before what is in them.

    Raises:
        MisplacedError: a value cannot be put there.
    """
    cell = {key: copy.deepcopy(value) for key, value in data.items() if key != "grid"}
    for _, _, parts, value in sorted(grid.swept(position), key=lambda swept: len(swept[2])):
        try:
            dotted.set_in(cell, parts, copy.deepcopy(value))
        except ValueError as error:
            raise MisplacedError(parts, str(error)) from None
    return cell


def expand(grid: Grid, configs: Sequence[CellConfig], document: Document, tuned: tuple[str, ...] = ()) -> list[Cell]:
    """Name the grid's valid configurations, given in the order of its positions.

    Two that would train the same are a problem, noted in ``document``.
    """
    positions = list(grid.positions())
    names = model_names([config.model for config in configs])
    columns = []
    for number, axis in enumerate(grid.axes):
        at = [[i for i, position in enumerate(positions) if position[number] == index] for index in range(len(axis))]
        models = [names[same[0]] for same in at]
        if any(len({names[i] for i in same}) > 1 for same in at):  # another axis cuts the model, and says so itself
            models = model_names([whole(configs[same[0]].model) for same in at])
        columns.append(axis_labels(axis.values, models))
    labels = make_unique(
        ["/".join(column[index] for column, index in zip(columns, position, strict=True)) for position in positions]
        if columns
        else names
    )
    cells = []
    for position, label, name, config in zip(positions, labels, names, configs, strict=True):
        axes = {dotted.join(parts): value for _, _, parts, value in grid.swept(position)}
        cells.append(Cell(label, name, axes, config, tuned))
    _check_distinct(cells, document)
    return cells


def _check_distinct(cells: list[Cell], document: Document) -> None:
    first: dict[str, Cell] = {}
    for cell in cells:
        same = first.setdefault(training_key(cell.config), cell)
        if same is not cell:
            differing = [path for path, value in cell.axes.items() if repr(value) != repr(same.axes[path])]
            text = f"cells {same.label} and {cell.label} would train the same, as they differ only in "
            document.report(("grid",), f"grid: {text}{', '.join(differing)}; keep one")
