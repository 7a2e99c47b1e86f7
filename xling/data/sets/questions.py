"""Questions of one language each, with all passages that answer them and some that do not, as items to train on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xling.data.dev_split import linked
from xling.data.records import ParallelItem, TextPair
from xling.data.sets.item_adapter import Items
from xling.errors import DataError

Passages = Sequence[tuple[str, str]]  # id within all languages, text


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what is known of passages for it."""

    language: str
    name: str  # unique within the language, without white space
    text: str
    titles: tuple[str, ...]  # of its passages, as far as they have some
    relevant: Passages  # at least one
    negatives: Passages = ()

    @property
    def id(self) -> str:
        return f"{self.language}/{self.name}"


def make_items(questions: Sequence[Question]) -> Items:
    """An item for each relevant passage of a question, with all the question's hard negatives.

    The first has the question's id, further ones a number behind it. What is held out for dev together is what has a
    title in common or, of questions without titles, a passage.

    Raises:
        DataError: a question has the id of another one's further item.
    """
    articles = _articles(questions)
    items: dict[str, ParallelItem] = {}
    asked: dict[str, str] = {}
    for question in questions:
        others = tuple(passage_id for passage_id, _ in question.negatives)
        for number, (passage_id, passage) in enumerate(question.relevant, start=1):
            item_id = question.id if number == 1 else f"{question.id}#{number}"
            if item_id in items:
                raise DataError(
                    f"two items would have the id {item_id}, as further passages of a question are numbered so; "
                    "give the question of this id another"
                )
            pair = TextPair(question.text, passage, passage_id, others)
            items[item_id] = ParallelItem(item_id, articles[question.id], {question.language: pair})
            asked[item_id] = question.name
    return Items(
        languages=tuple(sorted({question.language for question in questions})),
        items=[items[item_id] for item_id in sorted(items)],
        negatives=dict(passage for question in questions for passage in question.negatives),
        questions=asked,
    )


def _articles(questions: Iterable[Question]) -> dict[str, str]:
    """By question id: a title, the smallest where passages of several join them, else the smallest passage id."""
    mark = "\0"  # tells a title from an id, and sorts before any
    groups = {
        question.id: [f"{mark}{title}" for title in question.titles]
        or [passage_id for passage_id, _ in question.relevant]
        for question in questions
    }
    return {key: name.removeprefix(mark) for key, name in linked(groups).items()}
