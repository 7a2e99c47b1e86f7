"""What a stretch of the plan was made of, counted after the event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xling.languages import LangPair


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """What one source gave within the steps counted. All but ``items`` add up over adjacent stretches."""

    kind: str
    items: int  # its size
    batches: int
    asked: float  # batches that its probability asks for, none having left the draw
    epochs_begun: int  # epochs whose first batch is within
    repeated: int  # items given again after the source's first epoch
    dropped: int  # items left over, in tails shorter than a batch, by the epochs ending within
    conflicts: int  # items kept in a batch although it holds their passage already
    left: int  # 1 where it gave the last batch that mix.max_epochs lets it give


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Training pairs whose query and passage are in two given languages, or both in one."""

    examples: int
    asked: float  # expected of the sources' probabilities, their items each drawn equally often


@dataclass(frozen=True, slots=True)
class SetCounts:
    """What one of several training sets gave within the steps counted."""

    items: int  # its size
    weight: float
    batches: int
    examples: int


@dataclass(frozen=True, slots=True)
class Composition:
    """Realised counts over the steps [start, stop)."""

    start: int
    stop: int
    batch_size: int
    kinds: Mapping[str, int]  # batches by kind
    asked: Mapping[str, float]  # batches by kind that their shares ask for
    pairs: Mapping[str, PairCounts]  # by language pair, the query's first (ar-en); those asked for or given
    sources: Mapping[str, SourceCounts]  # by label
    excluded: Mapping[str, int]  # items of the sources too small for a batch, by label
    sets: Mapping[str, SetCounts]  # by name, where there are several training sets

    @property
    def conflicts(self) -> int:
        return sum(source.conflicts for source in self.sources.values())

    @property
    def dropped(self) -> int:
        return sum(source.dropped for source in self.sources.values())

    @property
    def repeated(self) -> int:
        return sum(source.repeated for source in self.sources.values())

    @property
    def left(self) -> int:
        return sum(source.left for source in self.sources.values())

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that an example's query or passage was in, sorted."""
        pairs = [LangPair.parse(text) for text, counts in self.pairs.items() if counts.examples]
        return tuple(sorted({code for pair in pairs for code in (pair.query, pair.passage)}))

    def as_json(self) -> dict[str, Any]:
        """Everything above, in types that JSON has."""
        totals = {name: getattr(self, name) for name in ("conflicts", "dropped", "repeated", "left")}
        return asdict(self) | totals
