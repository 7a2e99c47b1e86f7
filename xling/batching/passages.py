"""Which items ask about the same passage: by its id or by its text.

Shape suffixes: I items, L languages.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xling.data.records import ParallelItem, TrainingSet


def passage_keys_for(training: TrainingSet, *, names: bool = False) -> npt.NDArray[np.int64]:
    """One key for each item's passage in each language, -1 where the item lacks the language.

    Passages of equal id or equal text, up to case, white space and Unicode compatibility (NFKC),
    have equal keys, also across languages: as negatives they would be false. Keys are numbers from
    0 on; only their equality has a meaning.

    Args:
        training: the data; ``training.languages`` fixes the columns.
        names: key ``training.names`` instead of ``training.items``.

    Returns:
        int64 array IL.
    """
    return _passage_keys(training.names if names else training.items, training.languages)


def _passage_keys(items: Sequence[ParallelItem], languages: Sequence[str]) -> npt.NDArray[np.int64]:
    keys_IL = np.full((len(items), len(languages)), -1, dtype=np.int64)
    groups = _Groups()
    by_id: dict[str, tuple[int, str]] = {}  # a group of the id, and the text last seen with it
    by_text: dict[bytes, int] = {}
    for i, item in enumerate(items):
        for column, language in enumerate(languages):
            pair = item.texts.get(language)
            if pair is None:
                continue
            group, text = by_id.get(pair.passage_id, (-1, ""))
            if group < 0 or text != pair.passage:  # comparing texts is much cheaper than normalising them
                digest = _digest(pair.passage)
                found = by_text.get(digest)
                if found is None:
                    found = by_text[digest] = groups.add()
                if group >= 0:
                    groups.join(group, found)
                group = found
                by_id[pair.passage_id] = (group, pair.passage)
            keys_IL[i, column] = group
    has_IL = keys_IL >= 0
    keys_IL[has_IL] = groups.roots()[keys_IL[has_IL]]
    return keys_IL


def _digest(text: str) -> bytes:
    normalised = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.blake2b(normalised.encode(), digest_size=16).digest()


class _Groups:
    """Disjoint sets of numbered members (union-find with path halving)."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def add(self) -> int:
        self._parents.append(len(self._parents))
        return self._parents[-1]

    def join(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self._parents[max(one, other)] = min(one, other)

    def roots(self) -> npt.NDArray[np.int64]:
        return np.asarray([self._root(member) for member in range(len(self._parents))], dtype=np.int64)

    def _root(self, member: int) -> int:
        parents = self._parents
        while parents[member] != member:
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member
