"""What a batch can be drawn from: the sources of each kind, and how often each is drawn.

Of several training sets each has sources of its own, so a batch is of one set.

Shape suffixes: I items, L languages, S sources of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xling.batching.pairs import BoolArray, passages_to_draw
from xling.batching.shares import KINDS, most_of
from xling.config.schema import MixConfig, PairsConfig
from xling.errors import DataError
from xling.languages import LangPair

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

    def members(self, has_IL: BoolArray, pairs_LL: BoolArray) -> npt.NDArray[np.intp]:
        """Indices of its items, ascending.

        Args:
            has_IL: which languages each item has.
            pairs_LL: the pairs that its kind may hold.
        """
        own_IL = has_IL[self.start : self.stop]
        if self.query_language == DRAWN:
            found = passages_to_draw(own_IL, pairs_LL).any(axis=1)
        else:
            found = own_IL[:, self.query_language] & own_IL[:, self.passage_language]
        return np.flatnonzero(found) + self.start


def divide(
    has_IL: BoolArray,
    languages: Sequence[str],
    mix: MixConfig,
    pairs: Mapping[str, BoolArray],
    batch_size: int,
    sets: Sequence[SetShare] = (),
) -> tuple[tuple[Source, ...], tuple[Source, ...]]:
    """All sources of the kinds that have a share in ``mix``: those to draw from, and the excluded.

    Sources with fewer items than a batch are excluded. Both tuples are ordered by kind, then by
    set, then by language.

    Args:
        pairs: of each kind, which pairs of languages it may hold, LL.
        sets: where the items are of several training sets: these, in the items' order.

    Raises:
        DataError: a kind with a share, or a pair that ``mix`` lists, has no source of at least
            ``batch_size`` items.
    """
    eligible: list[Source] = []
    excluded: list[Source] = []
    for kind in KINDS:
        if most_of(mix, kind) <= 0:
            continue
        drawn = kind == "mixed_monolingual" or (kind == "cross_lingual" and mix.cross_lingual_by == "example")
        sources = _sources_of(kind, has_IL, languages, pairs[kind], drawn=drawn) if not sets else []
        start = 0
        for share in sets:
            own = slice(start, start := start + share.items)
            sources += [
                replace(source, label=f"{share.name}/{source.label}", set=share.name, start=own.start, stop=own.stop)
                for source in _sources_of(kind, has_IL[own], languages, pairs[kind], drawn=drawn)
            ]
        large = [source for source in sources if source.items >= batch_size]
        if not large:
            raise DataError(_no_source(kind, sources, mix, batch_size))
        if kind == "cross_lingual":
            _require_listed(mix, has_IL, languages, sources, batch_size)
        weights = {share.name: share.weight for share in sets}
        weights_S = [weights.get(source.set, 1.0) for source in large]
        probabilities = _probabilities([source.items for source in large], weights_S, mix.sampling_temperature)
        eligible += [
            replace(source, probability=probability) for source, probability in zip(large, probabilities, strict=True)
        ]
        excluded += [source for source in sources if source.items < batch_size]
    return tuple(eligible), tuple(excluded)


def _sources_of(
    kind: str, has_IL: BoolArray, languages: Sequence[str], pairs_LL: BoolArray, *, drawn: bool
) -> list[Source]:
    """The sources of one kind; one source where languages are ``drawn`` for each item."""
    short = {"monolingual": "mono", "cross_lingual": "cross", "mixed_monolingual": "mixed"}[kind]
    if drawn:
        return [Source(kind, f"{short}:*", int(passages_to_draw(has_IL, pairs_LL).any(axis=1).sum()), DRAWN, DRAWN)]
    ones_IL = has_IL.astype(np.float64)
    shared_LL = ones_IL.T @ ones_IL  # items having both languages; exact, counts are far below 2^53
    return [
        Source(kind, f"{short}:{_named(languages[q], languages[p])}", int(shared_LL[q, p]), q, p)
        for q, p in np.argwhere(pairs_LL).tolist()
    ]


def _named(query: str, passage: str) -> str:
    return query if query == passage else f"{query}->{passage}"


def _probabilities(sizes_S: Sequence[int], weights_S: Sequence[float], temperature: float) -> list[float]:
    """p_s in proportion to weight x size^(1/T); relative to the largest, so that no power overflows."""
    drawn_S = (np.asarray(sizes_S, dtype=np.float64) / max(sizes_S)) ** (1.0 / temperature)
    drawn_S *= np.asarray(weights_S, dtype=np.float64) / max(weights_S)
    return [float(share) for share in drawn_S / drawn_S.sum()]


def _require_listed(
    mix: MixConfig, has_IL: BoolArray, languages: Sequence[str], sources: Sequence[Source], batch_size: int
) -> None:
    """Refuse a listed pair that nothing could be drawn of: who lists it means it to be trained on."""
    only = mix.pairs.only if isinstance(mix.pairs, PairsConfig) else None
    for pair in map(LangPair.parse, only or ()):
        query, passage = languages.index(pair.query), languages.index(pair.passage)
        by_example, least = mix.cross_lingual_by == "example", 1 if mix.cross_lingual_by == "example" else batch_size
        of_pair = [s.items for s in sources if (s.query_language, s.passage_language) == (query, passage)]
        if by_example:
            drawn_from = [has_IL[s.start : s.stop] for s in sources if s.items >= batch_size]
            of_pair = [int((own_IL[:, query] & own_IL[:, passage]).sum()) for own_IL in drawn_from]
        if (most := max(of_pair)) < least:
            fix = f"lower the batch size to {most}, or remove {pair}" if most >= 2 else f"remove {pair}"
            raise DataError(
                f"mix.pairs.only names {pair}, needs a source of at least {least} items in both, found {most}; {fix}"
            )


def _no_source(kind: str, sources: Sequence[Source], mix: MixConfig, batch_size: int) -> str:
    field = f"mix.{kind}"
    value = f"{field} {'reaches' if mix.schedule else 'is'} {most_of(mix, kind):g}"
    without = f"set {field} to 0"
    if mix.schedule and kind == "cross_lingual":  # it is what the others leave
        without = f"set mix.monolingual to {1 - mix.mixed_monolingual:g}"
    if not any(source.items for source in sources):
        needed = "items in two languages" if kind == "cross_lingual" else "items"
        if kind == "cross_lingual" and mix.pairs != "all":
            needed = "items in two languages that mix.pairs allows"
        return f"{value}, needs training {needed}: there are none; train on other data or {without}"
    largest = max(sources, key=lambda source: source.items)
    sizes = ", ".join(f"{source.label} {source.items}" for source in sources[:8])
    more = f", and {len(sources) - 8} smaller or equal to {largest.items}" if len(sources) > 8 else ""
    fix = f"lower the batch size to {largest.items}, train on more data, or {without}"
    if largest.items < 2:
        fix = f"train on more data, or {without}"
    return f"{value}, needs a source of at least one batch of {batch_size} items, found {sizes}{more}; {fix}"
