"""Questions of one language each, with all passages that answer them and some that do not, as items to train on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xling.data.dev_split import linked
from xling.data.fingerprint import fingerprint
from xling.data.overlap import article_key, compared_as
from xling.data.records import ParallelItem, TextPair
from xling.data.sets.item_adapter import Items
from xling.errors import DataError


@dataclass(frozen=True, slots=True)
class Relevant:
    """A passage that answers a question."""

    id: str  # within all languages
    text: str
    title: str  # of its article; "" where it is not known


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what is known of passages for it."""

    language: str
    name: str  # unique within the language, without white space
    text: str
    relevant: Sequence[Relevant]  # at least one
    negatives: Sequence[tuple[str, str]] = ()  # id within all languages, text

    @property
    def id(self) -> str:
        return f"{self.language}/{self.name}"


def make_items(questions: Sequence[Question]) -> Items:
    """An item for each relevant passage of a question, with all the question's hard negatives.

    The first has the question's id, further ones a number behind it. An item's article is its passage's title, else
    the passage itself.

    Raises:
        DataError: a question has the id of another one's further item.
    """
    together = _together(questions)
    items: dict[str, ParallelItem] = {}
    asked: dict[str, str] = {}
    groups: dict[str, str] = {}
    for question in questions:
        others = tuple(passage_id for passage_id, _ in question.negatives)
        for number, passage in enumerate(question.relevant, start=1):
            item_id = question.id if number == 1 else f"{question.id}#{number}"
            if item_id in items:
                raise DataError(
                    f"two items would have the id {item_id}, as further passages of a question are numbered so; "
                    "give the question of this id another"
                )
            pair = TextPair(question.text, passage.text, passage.id, others)
            items[item_id] = ParallelItem(item_id, passage.title or passage.id, {question.language: pair})
            asked[item_id], groups[item_id] = question.name, together[question.id]
    return Items(
        languages=tuple(sorted({question.language for question in questions})),
        items=[items[item_id] for item_id in sorted(items)],
        negatives=dict(passage for question in questions for passage in question.negatives),
        questions=asked,
        together=groups,
    )


def _together(questions: Iterable[Question]) -> dict[str, str]:
    """By question id, a name for what is held out together, directly or over others: a title's where there is one.

    That is what has a passage or a title in common, as the zero-shot check compares them; of questions without titles
    also what asks the same. With titles it is not: a question may be asked of many articles, and would join them all.
    """
    groups = {}
    for question in questions:
        titles = [f"\0{article_key(passage.title)}" for passage in question.relevant if passage.title]
        texts = [passage.text for passage in question.relevant] + ([] if titles else [question.text])
        groups[question.id] = titles + [fingerprint(compared_as(question.language, text)) for text in texts]
    return linked(groups)
