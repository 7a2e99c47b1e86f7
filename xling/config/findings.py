"""What is wrong with a sweep's cells, said once each: of the file, or of the grid's value that causes it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from xling.config import dotted
from xling.config.document import Document
from xling.config.dotted import Parts
from xling.config.grid import Grid, Position
from xling.config.messages import show


@dataclass
class Findings:
    """Sentences found in cells, by path and text, with the cells they were found in."""

    found: dict[tuple[Parts, str], set[Position]] = field(default_factory=dict)

    def add(self, position: Position, parts: Parts, sentence: str) -> None:
        self.found.setdefault((parts, sentence), set()).add(position)

    def report(self, document: Document, grid: Grid) -> None:
        """Put each into ``document.problems``, at the line that causes it."""
        positions = list(grid.positions())
        for (parts, sentence), cells in self.found.items():
            if any(dotted.starts_with(broken, parts) or dotted.starts_with(parts, broken) for broken in grid.broken):
                continue  # it may only follow from a grid path that could not be read
            own = self._swept_values(parts, cells, grid)
            for source in own:
                document.report(source, f"grid: {sentence}")
            if not own:
                _report_caused(document, grid, parts, sentence, sorted(cells), positions)

    def _swept_values(self, parts: Parts, cells: set[Position], grid: Grid) -> list[Parts]:
        """Where the grid gives the very value a sentence is about; empty when the file gives it."""
        for number, axis in sorted(enumerate(grid.axes), key=lambda item: -max(map(len, item[1].values))):
            for path in sorted(axis.values, key=len, reverse=True):
                if dotted.starts_with(parts, path):
                    indexes = sorted({cell[number] for cell in cells})
                    return [(*axis.source(path, index), *parts[len(path) :]) for index in indexes]
        return []


def _report_caused(
    document: Document, grid: Grid, parts: Parts, sentence: str, cells: list[Position], positions: list[Position]
) -> None:
    """Report what no single swept value is about: by the fewest axes that decide whether it is wrong."""
    guilty = _deciding_axes(len(grid.axes), set(cells), positions)
    swept = [item for number in guilty for item in Grid([grid.axes[number]], []).swept((cells[0][number],))]
    if swept:
        axis, index, path, _ = swept[0]
        values = " and ".join(f"{dotted.join(p)} {show(value)}" for _, _, p, value in swept)
        more = len({tuple(cell[number] for number in guilty) for cell in cells}) - 1
        others = f" (and with {more} more of the grid's values)" if more else ""
        document.report(axis.source(path, index), f"grid: with {values}: {sentence}{others}")
        return
    inside = [dotted.join(p) for axis in grid.axes for p in axis.values if parts and dotted.starts_with(p, parts)]
    document.report(parts, sentence + (f" (the grid sets {', '.join(inside)})" if inside else ""))


def _deciding_axes(axes: int, cells: set[Position], positions: Sequence[Position]) -> tuple[int, ...]:
    """The smallest set of axes whose values alone tell the cells in question from the others."""
    for size in range(axes):
        for chosen in itertools.combinations(range(axes), size):
            wrong = {tuple(cell[number] for number in chosen) for cell in cells}
            if all((tuple(cell[number] for number in chosen) in wrong) == (cell in cells) for cell in positions):
                return chosen
    return tuple(range(axes))
