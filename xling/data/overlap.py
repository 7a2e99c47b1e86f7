"""Whether what is evaluated was trained on: the check behind every zero-shot claim."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from xling.data.corpus import Corpus
from xling.data.records import ParallelItem, Passage, RetrievalSet, TrainingSet
from xling.errors import DataError
from xling.languages import base_language

LEVELS = ("article", "paragraph", "question")
EXAMPLES = 5
SHOWN_CHARACTERS = 80  # of an example

Key = tuple[str, str]  # language ("" for articles, whose titles serve all languages), normalised text


@dataclass(frozen=True, slots=True)
class Overlap:
    """What an evaluation set shares with training data, at the levels its claim is about.

    Articles are counted once for all languages, paragraphs and questions once a language.
    """

    counts: Mapping[str, int]  # level -> evaluation entries that are trained on
    totals: Mapping[str, int]  # level -> distinct evaluation entries
    examples: Mapping[str, tuple[str, ...]]  # level -> up to 5 of them, as the evaluation set writes them

    @property
    def any(self) -> bool:
        return any(self.counts.values())

    def __str__(self) -> str:
        """``35 of 48 articles (Normans, …)``, level by level; ``none`` when nothing is shared."""
        parts = [
            f"{count} of {self.totals[level]} {level}s ({', '.join(self.examples[level])}{', …' * (count > EXAMPLES)})"
            for level, count in self.counts.items()
            if count
        ]
        return "; ".join(parts) or "none"


def find_overlap(training: TrainingSet, evaluation: RetrievalSet) -> Overlap:
    """Compare at ``evaluation.zero_shot_levels``.

    Articles are compared by title (underscores as spaces), paragraphs by a candidate's context,
    or its text where it has none, with the training passages of its language, and questions by
    text within a language; all after NFKC, case folding, dropping invisible characters (Cf) and
    collapsing white space. Of a language code region and script do not count. Short parallel names
    (``training.names``) are not compared. Of a big corpus, all of Wikipedia as a rule, only the
    passages that are relevant to a query are compared: what else was trained on answers nothing.
    """
    counts: dict[str, int] = {}
    totals: dict[str, int] = {}
    examples: dict[str, tuple[str, ...]] = {}
    for level in evaluation.zero_shot_levels:
        if level not in LEVELS:
            raise ValueError(f"zero-shot level {level!r} of {evaluation.name} is not one of {', '.join(LEVELS)}")
        trained = {compared_as(language, text) for language, text in _training_texts(training, level)}
        evaluated: dict[Key, str] = {}
        for language, text in dict.fromkeys(_evaluation_texts(evaluation, level)):
            evaluated.setdefault(compared_as(language, text), text)
        shared = [text for key, text in evaluated.items() if key in trained]
        counts[level], totals[level] = len(shared), len(evaluated)
        examples[level] = tuple(_short(text) for text in shared[:EXAMPLES])
    return Overlap(counts, totals, examples)


def overlap_message(training: TrainingSet, evaluation: RetrievalSet, overlap: Overlap) -> str:
    """What to tell a user whose zero-shot claim does not hold, and how to mend it."""
    return (
        f"{evaluation.name} is not zero-shot for a model trained on {training.name}: it shares {overlap}. "
        "Restrict `titles:` of either set to articles the other lacks, or set `allow_overlap: true` to start "
        "all the same, with the overlap shown beside the results"
    )


def require_zero_shot(training: TrainingSet, evaluation: RetrievalSet) -> None:
    """Raise DataError when training and evaluation share anything at the set's zero-shot levels."""
    overlap = find_overlap(training, evaluation)
    if overlap.any:
        raise DataError(overlap_message(training, evaluation, overlap))


def _training_texts(training: TrainingSet, level: str) -> Iterator[Key]:
    if level == "article":
        yield from {("", item.article) for item in training.items if item.article}
        return
    for item in training.items:
        for language, pair in item.texts.items():
            yield language, pair.passage if level == "paragraph" else pair.question


def _evaluation_texts(evaluation: RetrievalSet, level: str) -> Iterable[Key]:
    for language in evaluation.languages:
        if level == "question":
            yield from ((language, query.text) for query in evaluation.queries[language])
            continue
        for passage in _compared(evaluation, language):
            if level == "paragraph":
                yield language, passage.context or passage.text
            elif passage.article:
                yield "", passage.article


def _compared(evaluation: RetrievalSet, language: str) -> Iterable[Passage]:
    passages = evaluation.passages[language]
    if not isinstance(passages, Corpus):
        return passages
    relevant = {name for row in evaluation.qrels.values() for name, grade in row.items() if grade >= 1}
    return (passages[position] for position in sorted(passages.positions(relevant).values()))


def compared_as(language: str, text: str) -> Key:
    """What is equal for texts that the check takes for one. Args: language: "" of a title."""
    if not language:
        return language, article_key(text)
    return base_language(language), _comparable(text)


def article_key(title: str) -> str:
    """What titles of one article have in common: they may differ in Unicode form, case, underscores and blanks."""
    return _comparable(title.replace("_", " "))


def _comparable(text: str) -> str:
    """NFKC, case folded, white space collapsed, without characters that are not seen: a byte order mark within."""
    return " ".join(_unseen().sub("", unicodedata.normalize("NFKC", text).casefold()).split())


@cache
def _unseen() -> re.Pattern[str]:
    """Unicode's format characters (Cf): zero-width ones, marks of direction, soft hyphens."""
    every = map(chr, range(sys.maxunicode + 1))
    return re.compile(f"[{''.join(one for one in every if unicodedata.category(one) == 'Cf')}]+")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a set holds out, as normalised keys by level: articles, paragraphs, questions."""

    keys: Mapping[str, frozenset[Key]]

    @classmethod
    def of(cls, dev: RetrievalSet) -> HeldOut:
        """What the queries and candidates of a dev split are about."""
        found = {level: frozenset(compared_as(*text) for text in _evaluation_texts(dev, level)) for level in LEVELS}
        return cls(found)

    def touches(self, item: ParallelItem) -> bool:
        """Whether an item has the article, a paragraph or a question of what is held out."""
        if item.article and compared_as("", item.article) in self.keys["article"]:
            return True
        return any(
            compared_as(code, pair.question) in self.keys["question"]
            or compared_as(code, pair.passage) in self.keys["paragraph"]
            for code, pair in item.texts.items()
            for level, text in (("question", pair.question), ("paragraph", pair.passage))
        )
