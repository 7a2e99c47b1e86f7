"""Published figures beside ours: for cells of the same checkpoint and the same shares of batches on the same data set.

They stand in ``published.yaml``, each with its source. The same checkpoint and shares do not make the same
training: data, lengths, temperature and steps may differ, so figures stand beside each other and are not ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import Field

from xling.config import presets
from xling.config.schema import MixConfig, ModelConfig, Section
from xling.report.rows import ScoreRow, Shares, in_order
from xling.report.tables import Grid, as_texts, digits_of, figures_of, headings_of


class PublishedLine(Section):
    """What was published of one model."""

    model: str = Field(description="Id of the checkpoint on the hub, or a system's name.")
    mix: MixConfig | None = Field(None, description="How its batches were mixed; none for what is shown everywhere.")
    figures: dict[str, float] = Field(min_length=1, description="By the evaluator's names: mAP/Mo, rank_distance.")


class PublishedTable(Section):
    """What one source published on one data set."""

    source: str = Field(description="Where it was published.")
    dataset: str = Field(description="Name of the registered data set.")
    languages: int = Field(ge=1, description="How many its means are over.")
    about: str = Field(description="What else must be the same for figures to be comparable.")
    lines: tuple[PublishedLine, ...] = Field(min_length=1, description="One for each model and mix.")


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All of ``published.yaml``."""
    text = files(__package__).joinpath("published.yaml").read_text("utf-8")
    return tuple(PublishedTable.model_validate(table) for table in yaml.safe_load(text))


def checkpoint_of(model: ModelConfig) -> str:
    """The hub's id of the published weights a model starts from; empty where it does not start from such, or is cut."""
    if model.init == "random" or model.layers is not None:
        return ""
    preset = presets.find(model.preset)
    return preset.hub if isinstance(preset, presets.HubPreset) else model.hub or ""


def shares_of(mix: MixConfig) -> Shares | None:
    """Monolingual, cross-lingual and mixed monolingual batches; None of a mix that nobody publishes by these alone."""
    if mix.schedule or mix.pairs != "all":
        return None
    return mix.alpha, mix.cross_lingual or 0.0, mix.mixed_monolingual


def beside(
    rows: Sequence[ScoreRow], texts: Callable[[ScoreRow, str, int], str] | None = None
) -> list[tuple[str, Grid]]:
    """Tables of one data set's published figures with ours, one a source: (title, table).

    A source none of whose lines is shown is left out.

    Args:
        texts: what is said of a figure at a row's size and mix, by the figure's name and decimals; its mean and
            deviation over seeds by default.
    """
    found = []
    for table in _of_set(rows):
        body: list[list[str]] = []
        names = in_order(name for line in table.lines for name in line.figures)
        for line in table.lines:
            theirs = [table.source, *as_texts(line.figures, names)]
            if line.mix is None:
                body.append([line.model, "", *theirs])
            for ours in _same(rows, line):
                size, alpha, *figures = figures_of(rows, ours.size, ours.ratio, names)
                if texts is not None:
                    figures = [texts(ours, name, digits_of(name)) for name in names]
                body += [[size, alpha, _whose(ours, table), *figures], ["", "", *theirs]]
        if body:
            headings = ["size", "alpha", "whose", *headings_of(names)]
            found.append((f"ours and published ({table.languages} languages, {table.about})", (headings, body)))
    return found


def as_published_records(rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """For JSON: each published line that is shown, with the sizes and alphas of ours it stands beside."""
    return [
        {
            "dataset": table.dataset,
            "model": line.model,
            "figures": dict(line.figures),
            "source": table.source,
            "languages": table.languages,
            "about": table.about,
            "beside": [
                {"size": ours.size, "alpha": ours.alpha, "languages": ours.languages, "part": ours.part}
                for ours in _same(rows, line)
            ],
        }
        for table in _of_set(rows)
        for line in table.lines
        if line.mix is None or _same(rows, line)
    ]


def _of_set(rows: Sequence[ScoreRow]) -> Iterator[PublishedTable]:
    names = {row.dataset for row in rows}
    return (table for table in published_tables() if table.dataset in names)


def _whose(ours: ScoreRow, table: PublishedTable) -> str:
    """``ours``, with what keeps it from being comparable."""
    notes = ["part of the set"] if ours.part else []
    if ours.languages != table.languages:
        notes.append(f"{ours.languages} languages")
    return f"ours ({', '.join(notes)})" if notes else "ours"


def _same(rows: Sequence[ScoreRow], line: PublishedLine) -> list[ScoreRow]:
    """Of each size and alpha that a line is compared with, the first row."""
    if line.mix is None:
        return []
    shares = shares_of(line.mix)
    matching = [row for row in rows if row.shares is not None and row.shares == shares and row.checkpoint == line.model]
    return list({(row.size, row.alpha): row for row in reversed(matching)}.values())[::-1]
