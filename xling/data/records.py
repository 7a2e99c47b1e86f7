"""The shapes all data sets are brought into.

Training needs *parallel items*; evaluation needs a *retrieval set*: queries and candidate
passages per language with relevance judgements. Ids are unique within a whole set, across
languages, and hold no white space (they go into TREC run files as they are).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload


@dataclass(frozen=True, slots=True)
class TextPair:
    """One language's side of a parallel item."""

    question: str
    passage: str
    passage_id: str  # items asking about one passage share it
    negatives: tuple[str, ...] = ()  # ids of hard negatives in this language; TrainingSet.negatives has their texts


@dataclass(frozen=True, slots=True)
class ParallelItem:
    """One question with its passage, in the languages it exists in."""

    id: str
    article: str  # what is held out together; a title, where there is one
    texts: Mapping[str, TextPair]  # by language code


class MadeItems(Sequence[ParallelItem], ABC):
    """Items that are made when they are asked for: a subclass says how many, and makes one."""

    @abstractmethod
    def make(self, index: int) -> ParallelItem:
        """The item of an index, which is within 0..len - 1."""

    @overload
    def __getitem__(self, index: int) -> ParallelItem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ParallelItem]: ...
    def __getitem__(self, index: int | slice) -> ParallelItem | Sequence[ParallelItem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.make(range(len(self))[index])


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Items to train on. ``languages`` fixes the order used by every index into them."""

    name: str
    languages: tuple[str, ...]
    items: Sequence[ParallelItem]
    fingerprint: str  # hex digest of the content, see data/fingerprint.py
    names: Sequence[ParallelItem] = ()  # short parallel names for warm starts; same languages
    names_fingerprint: str = ""
    negatives: Mapping[str, str] = field(default_factory=dict)  # texts of all hard negatives, by passage id
    sets: tuple[tuple[str, int], ...] = ()  # of several sets merged: name and number of items, in the order of items
    notes: tuple[str, ...] = ()  # what was left out in reading it, for the user to see
    unmined: str = ""  # the fingerprint without the negatives that were mined for it; empty where there are none

    @property
    def texts(self) -> str:
        """Fingerprint of what a tokenizer is learnt from and a size starts from: mined negatives change neither."""
        return self.unmined or self.fingerprint


@dataclass(frozen=True, slots=True)
class Query:
    """A question asked in one language. ``strata`` name the groups it is reported in."""

    id: str
    language: str
    text: str
    strata: Mapping[str, str] = field(default_factory=dict)  # {"entity": "unseen", "wording": "seen"}


@dataclass(frozen=True, slots=True)
class Passage:
    """A candidate. ``context`` is encoded behind ``text`` as its second segment, where given."""

    id: str
    language: str
    text: str
    context: str = ""
    article: str = ""


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Queries and candidates per language, with judgements.

    ``passages[l]`` is sorted by id descending, bytewise, so that trec_eval's tie order is a
    function of positions (design decision 8). ``qrels[query id]`` holds grades by passage id,
    over all languages; a pair (l1, l2) uses those among them whose passage is in l2, and skips
    queries left with none. A grade of 0 is a judged non-relevant passage.

    ``measures`` names the measures the set is published with (``nDCG@10``, ``R@100``); they are
    computed besides the usual ones and reported first. A set that is judged by ``answers``, texts
    by query id that a passage must contain, has no qrels (XOR-Retrieve: evaluate/xor.py).
    """

    name: str
    languages: tuple[str, ...]
    queries: Mapping[str, Sequence[Query]]  # by language
    passages: Mapping[str, Sequence[Passage]]  # by language
    qrels: Mapping[str, Mapping[str, int]]
    fingerprint: str
    zero_shot_levels: tuple[str, ...] = ("article", "paragraph", "question")  # what a zero-shot claim on it compares
    cross_lingual: bool = True  # False: judgements exist within a language only (MIRACL, Mr. TyDi)
    measures: tuple[str, ...] = ()
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pooled: bool = True  # False: not scored against the pool of all languages, which some pairs alone do not make up


def sorted_passages(passages: Sequence[Passage]) -> list[Passage]:
    """The order a RetrievalSet keeps its candidates in: id descending, bytewise."""
    return sorted(passages, key=lambda passage: passage.id.encode(), reverse=True)
