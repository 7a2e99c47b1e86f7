"""Tables for the terminal, within 80 columns, and the same as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from xling.report.rows import (
    START,
    Mean,
    Ratio,
    ScoreRow,
    headline,
    in_order,
    mean_of,
    measured_on_dev,
    ratios_of,
    sizes_of,
)

# Heading, the evaluator's name, decimals.
FIGURES = (
    ("Mo.", "mAP/Mo", 3),
    ("Cr.", "mAP/Cr", 3),
    ("Mul.", "mAP/Mul", 3),
    ("rank dist.", "rank_distance", 0),
    ("own lang.", "own_language_share", 3),
)
MEANS = (("Mo.", "Mo"), ("Cr.", "Cr"), ("Mul.", "Mul"))  # macro means: heading, the evaluator's name
Grid = tuple[list[str], list[list[str]]]  # headings, rows
WIDTH = 80  # columns of a terminal
GAP = 2  # columns between two of a table's


def size_by_alpha(rows: Sequence[ScoreRow]) -> Grid:
    """Every size by alpha, its baseline first: Mo., Cr., Mul. (mAP), rank distance, own-language share.

    Before them the measures that the data set is published with.
    """
    figures = [figure for figure in (*_published(rows), *FIGURES) if any(figure[1] in row.headline for row in rows)]
    measures = in_order(measure.title for measure in measured_on_dev(rows)) or ["dev"]
    headings = ["size", "alpha", *(title for title, _, _ in figures), *(title.replace(" ", "\n") for title in measures)]
    body = []
    for size, ratio, first in lines(rows):
        cells = [mean_text(mean_of(rows, size, ratio, headline(name)), digits) for _, name, digits in figures]
        devs = [mean_text(mean_of(rows, size, ratio, _dev(title)), 3) for title in measures]
        body.append([size if first else "", alpha_text(ratio), *cells, *devs])
    return headings, body


def _dev(title: str) -> Callable[[ScoreRow], float | None]:
    """Reads the dev measure of a title."""
    return lambda row: row.dev if row.measure.title == title else None


def _published(rows: Sequence[ScoreRow]) -> list[tuple[str, str, int]]:
    """Figures of the published measures but mAP, which is among FIGURES."""
    names = [name for name in in_order(name for row in rows for name in row.published) if name != "mAP"]
    return [(f"{name}\n{title}", f"{name}/{mean}", 3) for name in names for title, mean in MEANS]


def headings_of(names: Sequence[str]) -> list[str]:
    """What stands above figures, by the evaluator's names."""
    known = {name: title for title, name, _ in FIGURES}
    of_means = {mean: title for title, mean in MEANS}
    parts = [(name, *name.partition("/")[::2]) for name in names]
    return [known.get(name, f"{measure}\n{of_means.get(mean, mean)}") for name, measure, mean in parts]


def figures_of(rows: Sequence[ScoreRow], size: str, ratio: Ratio | None, names: Sequence[str]) -> list[str]:
    """Size, alpha and figures of one line."""
    means = [mean_of(rows, size, ratio, headline(name)) for name in names]
    return [
        size,
        alpha_text(ratio),
        *(mean_text(mean, digits_of(name)) for name, mean in zip(names, means, strict=True)),
    ]


def as_texts(figures: Mapping[str, float], names: Sequence[str]) -> list[str]:
    """Figures without a spread, as those of other lines; a dash for one that there is not."""
    return [number(figures.get(name, math.nan), digits_of(name)) for name in names]


def digits_of(name: str) -> int:
    """The decimals that a figure is shown with, by the evaluator's name."""
    return next((digits for _, known, digits in FIGURES if known == name), 3)


def by_stratum(rows: Sequence[ScoreRow], key: str) -> Grid | None:
    """The groups of one key (``wording``) side by side; None where the set has no such groups."""
    groups = sorted({label for row in rows for label in row.strata if label.startswith(f"{key}=") and "," not in label})
    if not groups:
        return None
    names = [(group, title, name, digits) for group in groups for title, name, digits in FIGURES[:4]]
    headings = ["size", "alpha", *(f"{title}\n{group.partition('=')[2]}" for group, title, _, _ in names)]
    body = []
    for size, ratio, first in lines(rows):
        cells = [
            mean_text(mean_of(rows, size, ratio, headline(name, group)), digits) for group, _, name, digits in names
        ]
        body.append([size if first else "", alpha_text(ratio), *cells])
    return headings, body


def by_script(rows: Sequence[ScoreRow]) -> Grid | None:
    """Cross-lingual mAP over pairs of one script and of two; None where the set has one kind only."""
    names = ("mAP/Cr_same_script", "mAP/Cr_different_script")
    if not all(name in row.headline for row in rows for name in names):
        return None
    headings = ["size", "alpha", "Cr.\nsame script", "Cr.\ndifferent script"]
    body = []
    for size, ratio, first in lines(rows):
        cells = [mean_text(mean_of(rows, size, ratio, headline(name)), 3) for name in names]
        body.append([size if first else "", alpha_text(ratio), *cells])
    return headings, body


def stratum_keys(rows: Sequence[ScoreRow]) -> list[str]:
    """The keys queries are grouped by: ``entity``, ``wording``."""
    return sorted({label.partition("=")[0] for row in rows for label in row.strata if "," not in label})


def matrix(values_LL: NDArray[np.float64], languages: Sequence[str], *, signed: bool = False) -> Grid:
    """A figure for each pair, the query's language down, the passage's across; a difference with its sign."""
    show = signed_number if signed else number
    body = [[language, *(show(v, 3) for v in values_LL[i])] for i, language in enumerate(languages)]
    return ["query", *languages], body


def scores(headline_of: Mapping[str, float]) -> Grid:
    """One model's headline: a row a measure, a column a macro mean."""
    measures = list(dict.fromkeys(name.partition("/")[0] for name in headline_of if "/" in name))
    body = [[m, *(number(headline_of.get(f"{m}/{mean}", math.nan), 3) for _, mean in MEANS)] for m in measures]
    for name, digits in (("rank_distance", 1), ("own_language_share", 3), ("own_language_share_expected", 3)):
        if name in headline_of:
            body.append([name.replace("_", " "), "", "", number(headline_of[name], digits)])
    return ["measure", *(title for title, _ in MEANS)], body


@dataclass(frozen=True, slots=True)
class InParts:
    """A grid for a terminal, below its title: see :func:`as_rich`."""

    grid: Grid
    title: str
    lead: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="bold")
        for number, columns in enumerate(_parts(self.grid, self.lead, min(WIDTH, options.max_width))):
            yield from [Text()] * (number > 0)
            yield _table(self.grid, columns)


def as_rich(grid: Grid, title: str, lead: int = 2) -> InParts:
    """For a terminal: the title on a line of its own, then the table.

    One wider than the terminal, or than ``WIDTH``, is shown in parts, each with the first ``lead`` columns again.
    """
    return InParts(grid, title, lead)


def _table(grid: Grid, columns: Sequence[int]) -> Table:
    headings, body = grid
    table = Table(box=None, pad_edge=False, padding=(0, GAP // 2))
    for number, column in enumerate(columns):
        table.add_column(headings[column], justify="left" if number == 0 else "right", overflow="fold")
    for row in body:
        table.add_row(*(row[column] for column in columns))
    return table


def _parts(grid: Grid, lead: int, most: int) -> list[list[int]]:
    """The columns of each part: as few parts as fit, and those of even width."""
    headings, body = grid
    widths = [
        max(cell_len(line) for row in (headings, *body) for line in row[column].split("\n"))
        for column in range(len(headings))
    ]
    first, rest = list(range(lead)), list(range(lead, len(headings)))
    for count in range(1, len(rest) + 1):
        size = math.ceil(len(rest) / count)
        parts = [first + rest[start : start + size] for start in range(0, len(rest), size)]
        if all(sum(widths[column] + GAP for column in part) - GAP <= most for part in parts):
            break
    return parts


def as_markdown(grid: Grid) -> str:
    headings, body = grid
    lines = [[heading.replace("\n", " ") for heading in headings], ["---"] * len(headings), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_records(rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """For JSON: everything a row holds."""
    names = ("label", "size", "alpha", "schedule", "seed", "dataset", "dev", "dev_set")
    return [
        {
            **{name: getattr(row, name) for name in names},
            "dev_measure": row.measure.name,
            "headline": dict(row.headline),
            "strata": dict(row.strata),
            "by_pairs": dict(row.by_pairs),
        }
        for row in rows
    ]


def as_flat_records(rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """For CSV: a record a row, its figures beside what they are of, then one each of its strata."""
    found = []
    for row, record in zip(rows, as_records(rows), strict=True):
        lead = {name: value for name, value in record.items() if name not in ("headline", "strata", "by_pairs")}
        pairs = {f"by_pairs/{group}": value for group, value in row.by_pairs.items()}
        found.append({**lead, "stratum": "", **row.headline, **pairs})
        found += [{**lead, "stratum": label, **headline_of} for label, headline_of in row.strata.items()]
    return found


def lines(rows: Sequence[ScoreRow]) -> list[tuple[str, Ratio | None, bool]]:
    """(size, ratio, whether it is the size's first line), the baseline first."""
    found = []
    for size in sizes_of(rows):
        own = {row.ratio for row in rows if row.size == size}
        found += [
            (size, ratio, number == 0)
            for number, ratio in enumerate(ratio for ratio in (None, *ratios_of(rows)) if ratio in own)
        ]
    return found


def alpha_text(ratio: Ratio | None) -> str:
    return START if ratio is None else str(ratio)


def mean_text(mean: Mean | None, digits: int) -> str:
    if mean is None:
        return "–"
    spread = f"±{number(mean.spread, digits)}" if mean.spread is not None else ""
    return number(mean.value, digits) + spread


def number(value: float, digits: int) -> str:
    """``.123``, without the zero in front; a dash for NaN."""
    if math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def signed_number(value: float, digits: int) -> str:
    """As :func:`number`, with a plus before what is above zero."""
    return ("+" if value > 0 else "") + number(value, digits)
