"""Pair matrices for the page: what its script needs to draw any of them, and the first one drawn.

Shape suffix: L languages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import matplotlib
import numpy as np

from xling.report.blocks import PairMaps
from xling.report.page.views import View
from xling.report.tables import number

_STEPS = 33  # colours of a palette
_ORANGE, _MIDDLE, _BLUE = np.array([[179, 88, 6], [247, 247, 247], [33, 102, 172]], float)


@cache
def palettes() -> dict[str, list[str]]:
    """``value``: cividis, dark to light; ``difference``: orange to blue. The colour-blind tell both apart."""
    shares = np.linspace(0, 1, _STEPS)
    of_values = matplotlib.colormaps["cividis"](shares)[:, :3] * 255
    ends = np.where((shares < 0.5)[:, None], _ORANGE, _BLUE)
    of_differences = _MIDDLE + (ends - _MIDDLE) * np.abs(2 * shares - 1)[:, None]
    return {"value": _hex(of_values), "difference": _hex(of_differences)}


def map_view(maps: PairMaps) -> View:
    """All matrices as numbers, and the first as a table with texts and colours.

    The numbers are whole: of two that were rounded, and of their difference, other last digits would be shown than
    other tables have.
    """
    values = np.stack(list(maps.values_LL.values()))
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    span = _largest_difference(values)
    first = next(iter(maps.values_LL.values()))
    colours = palettes()["value"][:: -1 if maps.less_is_better else 1]
    return View(
        "map",
        {
            "systems": list(maps.values_LL),
            "languages": maps.languages,
            "measure": maps.measure,
            "ends": [_text(low, high), _text(high, high)],
            "gradient": ",".join(colours),
            "first": [[_cell(value, low, high, colours) for value in row] for row in first.tolist()],
            "data": {
                "measure": maps.measure,
                "low": low,
                "high": high,
                "span": span,
                "less": maps.less_is_better,
                "digits": _digits(high),
                "palettes": palettes(),
                "values": [
                    [[None if math.isnan(value) else value for value in row] for row in matrix]
                    for matrix in values.tolist()
                ],
            },
        },
    )


def _cell(value: float, low: float, high: float, colours: Sequence[str]) -> dict[str, str]:
    if math.isnan(value):
        return {"text": "–", "background": "", "colour": ""}
    share = (value - low) / (high - low) if high > low else 0.5
    colour = colours[round(share * (_STEPS - 1))]
    return {"text": _text(value, high), "background": colour, "colour": _ink(colour)}


def _text(value: float, highest: float) -> str:
    return number(value, _digits(highest))


def _digits(highest: float) -> int:
    """Decimals that are shown: of shares three, of ranks one."""
    return 3 if highest < 10 else 1


def _largest_difference(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Between any two systems on any pair; 0 where nothing is known of two."""
    known = ~np.isnan(values)
    highest = np.where(known, values, -np.inf).max(axis=0)
    lowest = np.where(known, values, np.inf).min(axis=0)
    return float(np.where(known.any(axis=0), highest - lowest, 0.0).max(initial=0.0))


def _ink(background: str) -> str:
    """Black or white, whichever is read better on a colour (WCAG's relative luminance)."""
    channels = [int(background[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return "#000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#fff"


def _hex(colours: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in np.rint(colours).astype(int).tolist()]
