"""Sets that are judged by answers: from the passages that each query found to values, and to a predictions file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from xling.data.records import RetrievalSet
from xling.data.sets.collection import body
from xling.evaluate.layout import Layout
from xling.evaluate.measures import Values
from xling.evaluate.scoring import LanguageScores, RunRequest
from xling.evaluate.xor import TOKENS, Prediction, hit_values, predictions_json
from xling.storage import Storage

PREDICTIONS = "predictions.json"


def answer_values(retrieval: RetrievalSet, layout: Layout, scores: Sequence[LanguageScores]) -> list[dict[str, Values]]:
    """By query language, whether an answer is in the first tokens that each query found."""
    found = _Found(retrieval, layout, scores)
    return [
        hit_values(judged.ids, partial(found.texts, language), retrieval.answers)
        for language, judged in enumerate(layout.queries)
    ]


def save_predictions(
    runs: RunRequest | None, retrieval: RetrievalSet, layout: Layout, scores: Sequence[LanguageScores]
) -> None:
    """Where run files are asked for, write XOR-Retrieve's predictions file beside them; of other sets nothing.

    A question has as many passages as hold its first 5,000 words: what the measures can read.
    """
    if runs is None or not retrieval.answers:
        return
    found = _Found(retrieval, layout, scores)
    predictions = (
        Prediction(name.removeprefix(f"{code}/"), code, tuple(_head(found.texts(language, row))))
        for language, code in enumerate(layout.languages)
        for row, name in enumerate(layout.queries[language].ids)
    )
    Storage(runs.url).write(PREDICTIONS, predictions_json(predictions))


def _head(texts: Iterator[str]) -> Iterator[str]:
    words = 0  # no more than there are tokens
    for text in texts:
        yield text
        words += len(text.split())
        if words >= max(TOKENS.values()):
            return


class _Found:
    """The texts of the passages that queries found."""

    def __init__(self, retrieval: RetrievalSet, layout: Layout, scores: Sequence[LanguageScores]) -> None:
        corpus = next(code for code in layout.languages if len(retrieval.passages[code]))
        self._passages = retrieval.passages[corpus]
        self._first = layout.columns(layout.languages.index(corpus)).start
        self._scores = scores

    def texts(self, language: int, row: int) -> Iterator[str]:
        """Best first."""
        found_QK = self._scores[language].found_QK
        assert found_QK is not None, "a set that is judged by answers is scored with the passages that were found"
        return (body(self._passages[column - self._first]) for column in found_QK[row].tolist() if column >= 0)
