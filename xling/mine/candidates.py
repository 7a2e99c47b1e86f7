"""A training set as questions and candidate passages, and which of these are no negatives of an item.

Shapes: I items, L languages, N candidates of a language, Q questions of a language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from xling.batching.passages import PassageKeys, all_passage_keys, text_key
from xling.data.fingerprint import fingerprint_retrieval
from xling.data.records import Passage, Query, RetrievalSet, TrainingSet, sorted_passages
from xling.errors import DataError
from xling.evaluate.layout import Indices
from xling.languages import LangPair


class OfLanguage(NamedTuple):
    """The candidates of a language, in the order of ``retrieval.passages``: a position there is a *place*."""

    groups_N: Indices
    articles_N: Indices  # of the first item that has the passage; -1 for none


@dataclass(frozen=True, slots=True)
class Candidates:
    """Questions and passages of a training set, with what tells negatives from positives beside them.

    Candidates of a language are its items' passages and the set's own hard negatives, each id once. Passages
    are of one *group* when they have one id or text, as ``batching.passages`` compares them in any
    language, or belong to items that share one, or that ask one question (mMARCO has an item for each positive
    passage of a query): none of an item's group is a negative for it.
    """

    retrieval: RetrievalSet
    items: Mapping[str, Indices]  # by language: the item of each question, Q
    places_IL: Indices  # of the items' passages; -1 where the item lacks the language, or none is searched in it
    groups_I: Indices
    articles_I: Indices  # -1 for none
    passages: Mapping[str, OfLanguage]  # by language

    def asked(self, pair: LangPair) -> Indices:
        """The questions of the pair's first language, as rows of it, whose items have a passage in the second."""
        column = self.retrieval.languages.index(pair.passage)
        rows: Indices = np.flatnonzero(self.places_IL[self.items[pair.query], column] >= 0)
        return rows


class _Found(NamedTuple):
    text: str
    item: int  # the first that has it; -1 for a hard negative that is nobody's passage
    key: int


def candidates_of(training: TrainingSet, pairs: Sequence[LangPair]) -> Candidates:
    """Lay a training set out; only languages that a pair asks in hold questions, only those it searches passages.

    Raises:
        DataError: no item has both languages of a pair.
    """
    keys = all_passage_keys(training)
    groups_I, groups_K = _groups(keys, _questions(training))
    articles_I = _articles(training)
    found = _passages(training, keys, {pair.passage for pair in pairs})
    retrieval, items, places_IL = _retrieval(training, {pair.query for pair in pairs}, found)
    passages = {}
    for code, candidates in retrieval.passages.items():
        rows = [found[code][passage.id] for passage in candidates]
        key_N = np.array([row.key for row in rows], np.int64)
        item_N = np.array([row.item for row in rows], np.int64)
        passages[code] = OfLanguage(groups_K[key_N], np.where(item_N < 0, -1, articles_I[item_N]))
    made = Candidates(retrieval, items, places_IL, groups_I, articles_I, passages)
    for asked in pairs:
        if not len(made.asked(asked)):
            raise DataError(f"{training.name}: no item has both languages of {asked}; ask for pairs that items have")
    return made


def _retrieval(
    training: TrainingSet, asking: set[str], found: Mapping[str, Mapping[str, _Found]]
) -> tuple[RetrievalSet, dict[str, Indices], Indices]:
    """The set with its items' passages as judgements; the items of its queries by language; places IL."""
    languages = training.languages
    passages = {
        code: sorted_passages([Passage(key, code, of.text) for key, of in found[code].items()]) for code in languages
    }
    places = {code: {passage.id: place for place, passage in enumerate(passages[code])} for code in languages}
    queries: dict[str, list[Query]] = {code: [] for code in languages}
    qrels: dict[str, dict[str, int]] = {}
    items: dict[str, list[int]] = {code: [] for code in languages}
    places_IL = np.full((len(training.items), len(languages)), -1, np.int64)
    for number, item in enumerate(training.items):
        ids = {code: pair.passage_id for code, pair in item.texts.items() if found[code]}
        for column, code in enumerate(languages):
            if code in ids:
                places_IL[number, column] = places[code][ids[code]]
            if code in asking and code in item.texts:
                query = Query(f"{code}/{item.id}", code, item.texts[code].question)
                queries[code].append(query)
                items[code].append(number)
                qrels[query.id] = dict.fromkeys(ids.values(), 1)
    digest = fingerprint_retrieval(languages, queries, passages, qrels)
    retrieval = RetrievalSet(training.name, languages, queries, passages, qrels, digest, pooled=False)
    return retrieval, {code: np.array(of, np.int64) for code, of in items.items()}, places_IL


def _passages(training: TrainingSet, keys: PassageKeys, searched: set[str]) -> dict[str, dict[str, _Found]]:
    """What there is to find, by language and id."""
    found: dict[str, dict[str, _Found]] = {code: {} for code in training.languages}
    for number, item in enumerate(training.items):
        for column, code in enumerate(training.languages):
            pair = item.texts.get(code)
            if pair is not None and code in searched:
                found[code].setdefault(
                    pair.passage_id, _Found(pair.passage, number, int(keys.passages_IL[number, column]))
                )
    negatives = iter(keys.negatives_N.tolist())
    for item in training.items if training.negatives else ():
        for code in training.languages:
            for passage in item.texts[code].negatives if code in item.texts else ():
                key = next(negatives)
                if code in searched and passage not in found[code]:
                    found[code][passage] = _Found(training.negatives[passage], -1, key)
    return found


def _groups(keys: PassageKeys, questions_IL: Indices) -> tuple[Indices, Indices]:
    """Items, and passage keys, as components of the graph that joins an item to its passages' and questions' keys."""
    count = len(keys.passages_IL)
    passages = 1 + int(max(keys.passages_IL.max(initial=-1), keys.negatives_N.max(initial=-1)))
    size = count + passages + 1 + int(questions_IL.max(initial=-1))
    nodes = np.hstack(
        [
            np.where(of >= 0, of + first, -1)
            for of, first in ((keys.passages_IL, count), (questions_IL, count + passages))
        ]
    )
    items, columns = np.nonzero(nodes >= 0)
    graph = coo_array((np.ones(len(items), np.int8), (items, nodes[items, columns])), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return labels[:count].astype(np.int64), labels[count : count + passages].astype(np.int64)


def _questions(training: TrainingSet) -> Indices:
    """A number for each item's question in each language, IL, equal ones for equal texts of a language; -1 for none."""
    numbers: dict[tuple[str, bytes], int] = {}
    questions_IL = np.full((len(training.items), len(training.languages)), -1, np.int64)
    for row, item in enumerate(training.items):
        for column, code in enumerate(training.languages):
            if (pair := item.texts.get(code)) is not None:
                questions_IL[row, column] = numbers.setdefault((code, text_key(pair.question)), len(numbers))
    return questions_IL


def _articles(training: TrainingSet) -> Indices:
    names: dict[str, int] = {}
    numbers = [names.setdefault(item.article, len(names)) if item.article else -1 for item in training.items]
    return np.array(numbers, np.int64)
