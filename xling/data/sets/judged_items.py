"""Collections with a judged training split: its questions are trained on, with passages out of the corpus."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.files import BadRows
from xling.data.registry import Problem, Role
from xling.data.sets.collection import CollectionAdapter
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.data.sets.questions import Question, Relevant, make_items
from xling.errors import DataError

SPLIT = "train"


class JudgedItems(CollectionAdapter, ItemAdapter):
    """A collection to train on too: an item is a question of the training split with a passage judged relevant.

    Passages judged not relevant (a grade of 0 or less) are its hard negatives, in the order of the file.
    """

    options: ClassVar[frozenset[str]] = CollectionAdapter.options | {"hard_negatives"}
    can_train: ClassVar[bool] = True
    only_scored: ClassVar[frozenset[str]] = frozenset()  # languages that were published without a training split

    @abstractmethod
    def has_training(self, config: DatasetConfig, language: str) -> bool:
        """Whether a language has judgements to train on, below ``path`` or on the hub."""

    def check_for(self, role: Role, config: DatasetConfig) -> list[Problem]:
        if role == "evaluate":
            return self.check(config)
        if only_scored := self._only_scored(config):
            return [("languages", only_scored)]
        if config.path is None:  # nothing is downloaded to check
            return []
        try:
            for language in self._trained(config):
                self.locate(config, language, SPLIT)
        except DataError as error:
            return [("path", str(error))]
        return []

    def read_items(self, config: DatasetConfig) -> Items:
        bad = BadRows.of(config)
        questions = [found for language in self._trained(config) for found in self._questions(config, language, bad)]
        bad.tell(self.name)
        return make_items(questions)

    def _only_scored(self, config: DatasetConfig) -> str:
        """What to say of languages that are asked for and cannot be trained on; empty without any."""
        found = [code for code in config.languages or () if code in self.only_scored]
        return f"names {', '.join(found)}, of which {self.name} has no training split; leave that out" if found else ""

    def _trained(self, config: DatasetConfig) -> tuple[str, ...]:
        """The languages to train on: those asked for, else all that have judgements to train on."""
        if only_scored := self._only_scored(config):
            raise DataError(f"{self.name}: `languages` {only_scored}")
        chosen = self.chosen_languages(config)
        found = chosen if config.languages else tuple(code for code in chosen if self.has_training(config, code))
        if not found:
            raise DataError(f"{config.path}: has no judgements of the split {SPLIT!r}, which is trained on; add them")
        return found

    def _questions(self, config: DatasetConfig, language: str, bad: BadRows) -> list[Question]:
        files, queries, corpus, qrels = self.judged(config, language, SPLIT, bad)
        places = corpus.positions(passage_id for grades in qrels.values() for passage_id in grades)
        passages = {name: corpus[place] for name, place in sorted(places.items(), key=lambda found: found[1])}
        questions = []
        for name, query in queries.items():
            grades = qrels.get(query.id, {})
            relevant = [passages[passage_id] for passage_id, grade in grades.items() if grade > 0]
            others = [passages[passage_id] for passage_id, grade in grades.items() if grade <= 0]
            if not relevant:
                continue
            questions.append(
                Question(
                    language,
                    name,
                    query.text,
                    [Relevant(passage.id, passage.text, passage.article) for passage in relevant],
                    [(passage.id, passage.text) for passage in others[: config.hard_negatives]],
                )
            )
        if not questions:
            raise DataError(f"{files.qrels}: judges no passage as relevant, must do so for at least one question")
        return questions
