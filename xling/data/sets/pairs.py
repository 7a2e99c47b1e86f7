"""User data: questions with passages and hard negatives, one question a row, each in one language.

JSON Lines, plain or gzipped, or Parquet, with the names that Sentence Transformers, FlagEmbedding and Tevatron use
(``pair_rows``): one file, or a folder of them. Rows are not parallel: for those there is ``parallel-jsonl``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.files import BadRow, BadRows
from xling.data.fingerprint import fingerprint
from xling.data.registry import Problem, register, unknown
from xling.data.sets.item_adapter import ItemAdapter, Items, file_states, own_path, require_there
from xling.data.sets.pair_rows import Row, files_of, read_pairs
from xling.data.sets.questions import Question, Relevant, make_items
from xling.errors import DataError


@register
class Pairs(ItemAdapter):
    """The user's own questions with passages.

    Rows of one question, by its id or else its text, are joined. Each of its relevant passages is an item, with all its
    hard negatives; on dev they are relevant together.
    """

    name: ClassVar[str] = "pairs"
    summary: ClassVar[str] = "your own questions with passages and hard negatives, each row in one language"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "titles", "hard_negatives", "bad_rows"})
    licence: ClassVar[str] = "your own"
    files: ClassVar[str] = "a .jsonl, .jsonl.gz or .parquet file, or a folder of them"
    path_needed: ClassVar[str] = "a .jsonl, .jsonl.gz or .parquet file of questions with passages, or a folder of them"

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return _survey(config)[0] if config.path else ()

    def check(self, config: DatasetConfig) -> list[Problem]:
        titles = _survey(config)[1] if config.titles else ()
        return [("titles", unknown(title, titles)) for title in config.titles or () if title not in titles]

    def read_items(self, config: DatasetConfig) -> Items:
        bad = BadRows.of(config)
        questions = _read_questions(config, bad)
        bad.tell(self.name)
        languages = {language for language, _ in questions}
        titles = {title for question in questions.values() for title in question.titles}
        require_there(config, {"languages": languages, "titles": titles})
        kept = [
            question.finished(language, name, config.hard_negatives)
            for (language, name), question in questions.items()
            if (config.languages is None or language in config.languages)
            and (config.titles is None or question.titles & set(config.titles))
        ]
        if not kept:
            raise DataError(f"{config.path}: no row is left after `titles` and `languages`; widen them")
        return make_items(kept)


@dataclass(slots=True)
class _Rows:
    """What the rows of one question hold together, whatever their order."""

    text: str
    positives: dict[str, tuple[int, str]] = field(default_factory=dict)  # text -> first place in a row, title
    negatives: dict[str, int] = field(default_factory=dict)

    @property
    def titles(self) -> set[str]:
        return {title for _, title in self.positives.values() if title}

    def add(self, row: Row) -> None:
        for place, (text, title) in enumerate(row.positives):
            before, named = self.positives.get(text, (place, title))
            self.positives[text] = min(place, before), min(filter(None, (title, named)), default="")
        for place, text in enumerate(row.negatives):
            self.negatives[text] = min(place, self.negatives.get(text, place))

    def finished(self, language: str, name: str, count: int | None) -> Question:
        """Args: count: at most so many hard negatives, the first ones; None for all."""
        relevant = _in_order(language, {text: place for text, (place, _) in self.positives.items()})
        others = {text: place for text, place in self.negatives.items() if text not in self.positives}
        return Question(
            language,
            name,
            self.text,
            [Relevant(passage_id, text, self.positives[text][1]) for passage_id, text in relevant],
            _in_order(language, others)[:count],
        )


def _in_order(language: str, places: dict[str, int]) -> list[tuple[str, str]]:
    """Passages with ids, equal ones for equal texts: by their first place in a row and, as of triplets, by the id.

    An id is a digest, and so an order that prefers none.
    """
    named = [(place, f"{language}/{fingerprint([text])}", text) for text, place in places.items()]
    return [(passage_id, text) for _, passage_id, text in sorted(named)]


def _read_questions(config: DatasetConfig, bad: BadRows) -> dict[tuple[str, str], _Rows]:
    """Questions by language and id, sorted.

    Raises:
        DataError: a file cannot be read, there is no row, or in strict mode a row is wrong.
    """
    found: dict[tuple[str, str], _Rows] = {}
    for file, place, row in read_pairs(own_path(config, Pairs.path_needed), _only_language(config), bad):
        key = row.language, row.id or fingerprint([row.question])
        known = found.setdefault(key, _Rows(row.question))
        with bad.row(file, place):
            if known.text != row.question:
                raise BadRow(
                    f"has the id {row.id!r}, which another question in {row.language} has too; give each its own"
                )
            known.add(row)
    if not found:
        why = f"; {bad.count:,} bad rows were left out, the first one: {bad.examples[0]}" if bad.count else ""
        raise DataError(f"{config.path}: holds no rows, must hold at least one{why}")
    return {key: found[key] for key in sorted(found)}


def _only_language(config: DatasetConfig) -> str | None:
    """The one language asked for: of rows that do not tell theirs."""
    return config.languages[0] if config.languages is not None and len(config.languages) == 1 else None


def _survey(config: DatasetConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Languages and titles of the files, sorted; read again only when a file has changed."""
    path = own_path(config, Pairs.path_needed)
    states = tuple(file_states(files_of(path)))
    return _survey_files(path, states, _only_language(config), config.bad_rows == "stop")


@lru_cache(maxsize=8)
def _survey_files(
    path: Path, states: tuple[object, ...], language: str | None, strict: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    languages: set[str] = set()
    titles: set[str] = set()
    for _, _, row in read_pairs(path, language, BadRows(strict)):
        languages.add(row.language)
        titles |= {title for _, title in row.positives if title}
    return tuple(sorted(languages)), tuple(sorted(titles))
