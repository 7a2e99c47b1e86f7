"""What a batch can be drawn from: the sources of each kind, and how often each is drawn.

Of several training sets each has sources of its own, so a batch is of one set.

Shape suffixes: I items, L languages, S sources of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xling.config.schema import MixConfig
from xling.errors import DataError

KINDS = ("monolingual", "cross_lingual", "mixed_monolingual")

DRAWN = -1  # in place of a language: drawn for each item, at each step


class SetShare(NamedTuple):
    """One of several training sets: its items follow those of the sets before it."""

    name: str
    items: int
    weight: float


@dataclass(frozen=True, slots=True)
class Source:
    """Items that a batch of one kind is drawn from, and in which languages."""

    kind: str
    label: str  # "mono:en", "cross:en->de", "cross:*", "mixed:*"; of several sets "mkqa/mono:en"
    items: int  # how many there are
    query_language: int  # index, or DRAWN
    passage_language: int  # index, or DRAWN
    probability: float = 0.0  # within its kind; 0 when excluded
    set: str = ""  # its training set's name, where there are several
    start: int = 0  # index of that set's first item
    stop: int | None = None  # and of the next set's

    def members(self, has_IL: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        """Indices of its items, ascending. ``has_IL`` says which languages each item has."""
        own_IL = has_IL[self.start : self.stop]
        if self.kind == "mixed_monolingual":
            found = own_IL.any(axis=1)
        elif self.query_language == DRAWN:
            found = own_IL.sum(axis=1) >= 2
        else:
            found = own_IL[:, self.query_language] & own_IL[:, self.passage_language]
        return np.flatnonzero(found) + self.start


def share_of(mix: MixConfig, kind: str) -> float:
    """The share of steps that ``mix`` gives to a kind."""
    shares = {
        "monolingual": mix.monolingual,
        "cross_lingual": mix.cross_lingual,
        "mixed_monolingual": mix.mixed_monolingual,
    }
    return shares[kind]


def divide(
    has_IL: npt.NDArray[np.bool_],
    languages: Sequence[str],
    mix: MixConfig,
    batch_size: int,
    sets: Sequence[SetShare] = (),
) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """All sources of the kinds that have a share in ``mix``: those to draw from, and the excluded.

    Sources with fewer items than a batch are excluded. Both tuples are ordered by kind, then by
    set, then by language.

    Args:
        sets: where the items are of several training sets: these, in the items' order.

    Raises:
        DataError: a kind with a share has no source of at least ``batch_size`` items.
    """
    eligible: list[Source] = []
    excluded: list[Source] = []
    for kind in KINDS:
        if share_of(mix, kind) <= 0:
            continue
        sources = _sources_of(kind, has_IL, languages, mix) if not sets else []
        start = 0
        for share in sets:
            own = slice(start, start := start + share.items)
            sources += [
                replace(source, label=f"{share.name}/{source.label}", set=share.name, start=own.start, stop=own.stop)
                for source in _sources_of(kind, has_IL[own], languages, mix)
            ]
        large = [source for source in sources if source.items >= batch_size]
        if not large:
            raise DataError(_no_source(kind, sources, mix, batch_size))
        weights = {share.name: share.weight for share in sets}
        weights_S = [weights.get(source.set, 1.0) for source in large]
        probabilities = _probabilities([source.items for source in large], weights_S, mix.sampling_temperature)
        eligible += [
            replace(source, probability=probability) for source, probability in zip(large, probabilities, strict=True)
        ]
        excluded += [source for source in sources if source.items < batch_size]
    return tuple(eligible), tuple(excluded)


def _sources_of(kind: str, has_IL: npt.NDArray[np.bool_], languages: Sequence[str], mix: MixConfig) -> list[Source]:
    if kind == "mixed_monolingual":
        return [Source(kind, "mixed:*", int(has_IL.any(axis=1).sum()), DRAWN, DRAWN)]
    if kind == "cross_lingual" and mix.cross_lingual_by == "example":
        return [Source(kind, "cross:*", int((has_IL.sum(axis=1) >= 2).sum()), DRAWN, DRAWN)]
    ones_IL = has_IL.astype(np.float64)
    shared_LL = ones_IL.T @ ones_IL  # items having both languages; exact, counts are far below 2^53
    if kind == "monolingual":
        return [Source(kind, f"mono:{code}", int(shared_LL[i, i]), i, i) for i, code in enumerate(languages)]
    return [
        Source(kind, f"cross:{query}->{passage}", int(shared_LL[q, p]), q, p)
        for q, query in enumerate(languages)
        for p, passage in enumerate(languages)
        if q != p
    ]


def _probabilities(sizes_S: Sequence[int], weights_S: Sequence[float], temperature: float) -> list[float]:
    """p_s in proportion to weight x size^(1/T); relative to the largest, so that no power overflows."""
    drawn_S = (np.asarray(sizes_S, dtype=np.float64) / max(sizes_S)) ** (1.0 / temperature)
    drawn_S *= np.asarray(weights_S, dtype=np.float64) / max(weights_S)
    return [float(share) for share in drawn_S / drawn_S.sum()]


def _no_source(kind: str, sources: Sequence[Source], mix: MixConfig, batch_size: int) -> str:
    field = f"mix.{kind}"
    value = f"{field} is {share_of(mix, kind):g}"
    without = f"set {field} to 0"
    if not any(source.items for source in sources):
        needed = "items in two languages" if kind == "cross_lingual" else "items"
        return f"{value}, needs training {needed}: there are none; train on other data or {without}"
    largest = max(sources, key=lambda source: source.items)
    sizes = ", ".join(f"{source.label} {source.items}" for source in sources[:8])
    more = f", and {len(sources) - 8} smaller or equal to {largest.items}" if len(sources) > 8 else ""
    fix = f"lower the batch size to {largest.items}, train on more data, or {without}"
    if largest.items < 2:
        fix = f"train on more data, or {without}"
    return f"{value}, needs a source of at least one batch of {batch_size} items, found {sizes}{more}; {fix}"
