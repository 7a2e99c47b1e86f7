"""Token ids of a training set: questions, passages and hard negatives, each distinct text once.

Index legend: I items, L languages, N hard negatives of all pairs; -1 where an item lacks a language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xling.data.records import ParallelItem, TrainingSet
from xling.data.token_table import Int32Array, TokenTable
from xling.data.tokenize import Row, TextLimits, tokenize
from xling.errors import DataError
from xling.storage import Storage

IndexArray = npt.NDArray[np.int64]


class TrainingRows(NamedTuple):
    """Which row of the two token tables each text of a training set is.

    The hard negatives of item i in language j are ``negatives_N[offsets[i * L + j] : offsets[i * L + j + 1]]``;
    without any, both are empty.
    """

    queries_IL: IndexArray  # -1 for none, as below
    passages_IL: IndexArray
    negatives_N: IndexArray = np.zeros(0, np.int64)  # rows of the passages' table
    offsets: IndexArray = np.zeros(0, np.int64)  # I * L + 1


class TrainingTokens:
    """Token ids of a training set's questions, passages and hard negatives, by item and language index.

    Attributes:
        rows: where each text is in its table.
        truncated: texts cut, by ``query/<language>`` and ``passage/<language>``.
    """

    def __init__(self, queries: TokenTable, passages: TokenTable, rows: TrainingRows) -> None:
        self._queries, self._passages, self.rows = queries, passages, rows
        self.truncated: dict[str, int] = {**queries.truncated, **passages.truncated}

    def mean_tokens_per_pair(self, hard_negatives: int = 0) -> float:
        """Tokens of a query, its passage and the hard negatives it brings, over all items and languages.

        Args:
            hard_negatives: K, so many a pair at most; one that has fewer brings fewer.
        """
        used_IL = self.rows.queries_IL >= 0
        if not used_IL.any():
            return 0.0
        queries = self._queries.lengths[self.rows.queries_IL[used_IL]].mean()
        passages = self._passages.lengths[self.rows.passages_IL[used_IL]].mean()
        return float(queries + passages) + self._negative_tokens(hard_negatives) / int(used_IL.sum())

    def _negative_tokens(self, most: int) -> float:
        """Tokens of the hard negatives that all pairs bring, at most so many each; a pair's are drawn alike often."""
        offsets, negatives_N = self.rows.offsets, self.rows.negatives_N
        if not most or not len(negatives_N):
            return 0.0
        ends = np.concatenate([[0], np.cumsum(self._passages.lengths[negatives_N], dtype=np.int64)])[offsets]
        counts = np.diff(offsets)
        return float((np.diff(ends) * np.minimum(counts, most) / np.maximum(counts, 1)).sum())

    def query(self, item: int, language: int) -> Int32Array:
        """Token ids of an item's question. Raises KeyError when it lacks the language."""
        return self._queries[_row(self.rows.queries_IL, item, language)]

    def passage(self, item: int, language: int) -> Int32Array:
        """Token ids of an item's passage. Raises KeyError when it lacks the language."""
        return self._passages[_row(self.rows.passages_IL, item, language)]

    def negative_rows(self, item: int, language: int) -> range:
        """Indices (N) of an item's hard negatives, into ``rows.negatives_N`` and the keys of ``batching.passages``."""
        if not len(self.rows.negatives_N):
            return range(0)
        pair = item * self.rows.queries_IL.shape[1] + language
        return range(int(self.rows.offsets[pair]), int(self.rows.offsets[pair + 1]))

    def negative(self, row: int) -> Int32Array:
        """Token ids of one hard negative, by its index N."""
        return self._passages[int(self.rows.negatives_N[row])]

    def negatives(self, item: int, language: int) -> list[Int32Array]:
        """Token ids of an item's hard negatives, in the data set's order; empty where it has none."""
        return [self.negative(n) for n in self.negative_rows(item, language)]


def tokenize_training(
    storage: Storage,
    tokenizer: Any,
    tokenizer_digest: str,
    training: TrainingSet,
    model: TextLimits,
    *,
    names: bool = False,
) -> TrainingTokens:
    """Tokenise a training set, or with ``names`` its short parallel names. Passages are encoded once each."""
    items = training.names if names else training.items
    digest = training.names_fingerprint if names else training.fingerprint
    languages = training.languages
    numbers: dict[str, int] = {}
    queries_IL, query_sides = _number(items, languages, {}, lambda item, language: item.id + "\0" + language)
    passages_IL, passage_sides = _number(items, languages, numbers, lambda item, code: item.texts[code].passage_id)
    negatives_N, offsets, alone = _number_negatives(items, languages, numbers)
    rows = TrainingRows(queries_IL, passages_IL, negatives_N, offsets)

    def queries() -> Iterator[Row]:
        return (Row(items[i].texts[code].question, group=f"query/{code}") for i, code in query_sides)

    def passages() -> Iterator[Row]:
        yield from (Row(items[i].texts[code].passage, group=f"passage/{code}") for i, code in passage_sides)
        yield from (Row(training.negatives[key], group=f"passage/{code}") for key, code in alone)

    return _training_tokens(storage, tokenizer, tokenizer_digest, digest, model, (queries, passages), rows)


def open_training(
    storage: Storage,
    tokenizer: Any,
    tokenizer_digest: str,
    data_fingerprint: str,
    rows: TrainingRows,
    model: TextLimits,
) -> TrainingTokens:
    """What :func:`tokenize_training` built before, found again without the texts.

    Raises:
        DataError: it was never built with this tokenizer and these limits.
    """

    def missing() -> Iterator[Row]:
        raise DataError(
            f"the tokens of training data {data_fingerprint} are not below {storage.url}/tokens, "
            "or are damaged there; launch the sweep again, which builds them"
        )

    return _training_tokens(storage, tokenizer, tokenizer_digest, data_fingerprint, model, (missing, missing), rows)


def _training_tokens(
    storage: Storage,
    tokenizer: Any,
    tokenizer_digest: str,
    data_fingerprint: str,
    model: TextLimits,
    texts: tuple[Callable[[], Iterable[Row]], Callable[[], Iterable[Row]]],
    rows: TrainingRows,
) -> TrainingTokens:
    def table(side: str, side_rows: Callable[[], Iterable[Row]], max_tokens: int, prefix: str) -> TokenTable:
        key = f"training {side} {data_fingerprint}"
        return tokenize(storage, tokenizer, tokenizer_digest, key, side_rows, max_tokens, prefix)

    return TrainingTokens(
        table("queries", texts[0], model.max_query_tokens, model.query_prefix),
        table("passages", texts[1], model.max_passage_tokens, model.passage_prefix),
        rows,
    )


def _number(
    items: Sequence[ParallelItem],
    languages: Sequence[str],
    numbers: dict[str, int],
    key: Callable[[ParallelItem, str], str],
) -> tuple[IndexArray, list[tuple[int, str]]]:
    """Number the distinct keys in order of appearance, in ``numbers``.

    Returns:
        the number by item and language (I, L), and for every number the item and language it
        was first seen with.
    """
    sides: list[tuple[int, str]] = []
    numbers_IL = np.full((len(items), len(languages)), -1, np.int64)
    for i, item in enumerate(items):
        for j, language in enumerate(languages):
            if language not in item.texts:
                continue
            number = numbers.setdefault(key(item, language), len(sides))
            if number == len(sides):
                sides.append((i, language))
            numbers_IL[i, j] = number
    return numbers_IL, sides


def _number_negatives(
    items: Sequence[ParallelItem], languages: Sequence[str], numbers: dict[str, int]
) -> tuple[IndexArray, IndexArray, list[tuple[str, str]]]:
    """Rows and offsets of the hard negatives.

    Those that are nobody's passage get the next numbers; they are returned with their language.
    """
    rows: list[int] = []
    alone: list[tuple[str, str]] = []
    if not any(pair.negatives for item in items for pair in item.texts.values()):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), alone
    offsets = np.zeros(len(items) * len(languages) + 1, np.int64)
    for i, item in enumerate(items):
        for j, language in enumerate(languages):
            for key in item.texts[language].negatives if language in item.texts else ():
                if key not in numbers:
                    numbers[key] = len(numbers)
                    alone.append((key, language))
                rows.append(numbers[key])
            offsets[i * len(languages) + j + 1] = len(rows)
    return np.asarray(rows, np.int64), offsets, alone


def _row(numbers_IL: IndexArray, item: int, language: int) -> int:
    number = int(numbers_IL[item, language])
    if number < 0:
        raise KeyError(f"item {item} has no text in language {language}")
    return number
