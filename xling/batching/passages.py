"""Which items ask about the same passage: by its id or by its text.

Shape suffixes: I items, L languages, N hard negatives.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xling.data.records import ParallelItem, TrainingSet


class PassageKeys(NamedTuple):
    """Keys of the passages and of the hard negatives: equal numbers for equal passages."""

    passages_IL: npt.NDArray[np.int64]  # -1 where the item lacks the language
    negatives_N: npt.NDArray[np.int64]  # item by item, language by language, in the order that pairs name them


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
    return all_passage_keys(training, names=names).passages_IL


def all_passage_keys(training: TrainingSet, *, names: bool = False) -> PassageKeys:
    """The keys of :func:`passage_keys_for`, and those of the hard negatives beside them.

    A negative with the key of a query's positive is no negative for that query.
    """
    return _passage_keys(training.names if names else training.items, training.languages, training.negatives)


def _passage_keys(items: Sequence[ParallelItem], languages: Sequence[str], texts: Mapping[str, str]) -> PassageKeys:
    keys_IL = np.full((len(items), len(languages)), -1, dtype=np.int64)
    groups = _Groups()
    by_id: dict[str, tuple[int, str]] = {}  # a group of the id, and the text last seen with it
    by_text: dict[bytes, int] = {}

    def group_of(passage_id: str, passage: str) -> int:
        group, text = by_id.get(passage_id, (-1, ""))
        if group < 0 or text != passage:  # comparing texts is much cheaper than normalising them
            digest = text_key(passage)
            found = by_text.get(digest)
            if found is None:
                found = by_text[digest] = groups.add()
            if group >= 0:
                groups.join(group, found)
            group = found
            by_id[passage_id] = (group, passage)
        return group

    for i, item in enumerate(items):
        for column, language in enumerate(languages):
            pair = item.texts.get(language)
            if pair is not None:
                keys_IL[i, column] = group_of(pair.passage_id, pair.passage)
    negatives = [
        group_of(passage_id, texts[passage_id])
        for item in (items if texts else ())
        for language in languages
        if language in item.texts
        for passage_id in item.texts[language].negatives
    ]
    roots, has_IL = groups.roots(), keys_IL >= 0
    keys_IL[has_IL] = roots[keys_IL[has_IL]]
    return PassageKeys(keys_IL, roots[np.asarray(negatives, dtype=np.int64)])


def text_key(text: str) -> bytes:
    """Equal for texts that are equal up to case, white space and Unicode compatibility (NFKC)."""
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
