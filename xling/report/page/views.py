"""What the template is given of a block: plain values, nothing to compute."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xling.report.blocks import Picture
from xling.report.tables import Grid

_CSS_DPI = 96  # pixels an inch
MOST_ROWS = 400  # of the numbers behind a picture that the page shows; the file has them all

# A number as tables write it: .803±.010, +.3, <.001, 1,234, 12 %, 49.8 (50.0), .5 [.4, .6]; no date, no range.
_NUMBER = re.compile(r"[<>≤≥~]?[+\-−]?(?=[\d.])[\d,]*(\.\d+)?(e[+-]?\d+)?(?=$|[±%\s(\[/*])")
_NOTHING = ("", "–")
_LONG = 40  # characters; longer texts are broken into lines, of a width that can be read on a phone too


@dataclass(frozen=True, slots=True)
class Cell:
    """``again``: said in the row above, and here only so that rows can be sorted."""

    text: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A block of some kind; which fields it has is the template's and the maker's business."""

    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """A block on the page: its view, and the files that lie beside the page."""

    name: str
    title: str
    view: View
    files: tuple[str, ...]


def table_view(grid: Grid, note: str = "") -> View:
    """A table that can be sorted: every row names what it is of."""
    headings, body = grid
    numeric = [_is_numeric([row[column] for row in body]) for column in range(len(headings))]
    long = [any(len(row[column]) > _LONG for row in body) for column in range(len(headings))]
    return View("table", {"headings": headings, "rows": _filled(body), "numeric": numeric, "long": long, "note": note})


def picture_view(picture: Picture, svg: bytes) -> View:
    """A picture within the page; its numbers, where they are few enough to be read."""
    data = picture.data
    shown = table_view(data) if data is not None and len(data[1]) <= MOST_ROWS else None
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    width = round(picture.figure.get_figwidth() * _CSS_DPI)
    return View("picture", {"source": source, "alt": picture.alt, "table": shown, "width": width})


def _filled(body: Sequence[Sequence[str]]) -> list[list[Cell]]:
    """Rows of a group name it once, in the first: here all do."""
    rows: list[list[Cell]] = []
    for row in body:
        again = not row[0] and bool(rows)
        first = Cell(rows[-1][0].text, again=True) if again else Cell(row[0])
        rows.append([first, *map(Cell, row[1:])])
    return rows


def _is_numeric(texts: Sequence[str]) -> bool:
    known = [text for text in texts if text not in _NOTHING]
    return bool(known) and all(_NUMBER.match(text) for text in known)
