"""What a report is made of, whatever shows it: sections of sentences, tables, pictures, pair matrices, texts.

Shape suffix: L languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xling.report.tables import Grid


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``name`` is that of its file (CSV), and unique within a report."""

    name: str
    title: str
    grid: Grid
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with its text for those who do not see it, and the numbers it is drawn from."""

    name: str
    title: str
    figure: Figure
    alt: str
    data: Grid | None = None


@dataclass(frozen=True, slots=True)
class PairMaps:
    """Pair matrices of several systems, shown one at a time or as a difference of two; the query's language down.

    All are of one measure; ``less_is_better`` says which end of the colours is the good one.
    """

    name: str
    title: str
    measure: str
    languages: tuple[str, ...]
    values_LL: Mapping[str, NDArray[np.float64]]  # by a system's label; NaN where nothing is judged
    less_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Text shown as it stands: commands, a file."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """A text of the data, in its language, with what is said of it (its rank, say)."""

    text: str
    language: str
    note: str = ""
    relevant: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A query with passages, one list a system: (what it is a list of, its passages in their order)."""

    title: str
    query: Quote
    lists: tuple[tuple[str, tuple[Quote, ...]], ...]


@dataclass(frozen=True, slots=True)
class Examples:
    """Queries of one kind."""

    name: str
    title: str
    items: tuple[Example, ...]


Block = Table | Picture | PairMaps | Listing | Examples


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: a heading, what the numbers say, and the numbers."""

    name: str
    title: str
    says: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = field(default=())
