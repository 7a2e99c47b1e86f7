"""A row a cell, or a language, however narrow the terminal: each row keeps its name, and no value is cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_LABEL = 20  # columns that a label has at the least; a longer one goes on below


def show_cells(
    headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, *, right: Collection[str]
) -> None:
    """A table; without its lines where it would be too wide, and where it still is, a bare line a cell.

    Args:
        headings: of the columns, the row's label first; may be of several lines.
        right: headings of the columns that are set to the right.
    """
    parts = [heading.splitlines() for heading in headings]
    widths = [max(map(cell_len, [*part, *column])) for part, *column in zip(parts, *rows, strict=True)]
    least = min(widths[0], _LABEL) + sum(widths[1:])
    count = len(headings)
    if least + 3 * count + 1 <= console.width:
        table = Table()
    elif least + 2 * (count - 1) <= console.width:
        table = Table(box=None, pad_edge=False, padding=(0, 1))
    else:
        for label, *values in rows:
            told = [f"{' '.join(part)} {value}" for part, value in zip(parts[1:], values, strict=True) if value]
            console.print(f"{label}: {', '.join(told)}", soft_wrap=True)
        return
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
