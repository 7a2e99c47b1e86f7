"""What an evaluation's result says of its search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xling.stored_json import checker


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """How the passages of a set were searched that was not ranked whole.

    Attributes:
        depth: passages found a query and language; the others are unranked.
        parameters: of the index, by FAISS's names (those of its largest segment); empty for ``flat``.
        recall: by k the share of the exact best k passages that the index's own best k held, mean over
            ``recall_queries`` lists, a sample by ``recall_seed``; None for ``flat``, which is exact.
    """

    kind: str
    depth: int
    parameters: Mapping[str, int]
    recall: Mapping[int, float] | None
    recall_queries: int
    recall_seed: int

    def to_json(self) -> dict[str, Any]:
        recall = None if self.recall is None else {str(k): value for k, value in self.recall.items()}
        return {**asdict(self), "parameters": dict(self.parameters), "recall": recall}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SearchRecord:
        """Raises ValueError when it is no such record."""
        record: SearchRecord = checker(cls).validate_python(values)  # which turns the keys of ``recall`` to numbers
        return record
