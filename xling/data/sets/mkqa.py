"""MKQA (Longpre et al. 2021): 10,000 questions in 26 languages with short answers.

``mkqa.jsonl(.gz)``: ``{"example_id", "query", "queries": {language: text}, "answers": {language:
[{"type", "text" | null, …}]}}``. There are no passages: the answer stands for one. Where several
answers are right the first is taken. Questions without a short answer (unanswerable, or answered
at length) have nothing to train on; they are left out and counted.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from xling.config.schema import DatasetConfig
from xling.data.files import BadRow, BadRows, id_of, read_jsonl, shown, text_of
from xling.data.fingerprint import fingerprint
from xling.data.hub import fetch
from xling.data.records import ParallelItem, TextPair
from xling.data.registry import register
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.errors import DataError
from xling.languages import normalise

LANGUAGES = (
    *("ar", "da", "de", "en", "es", "fi", "fr", "he", "hu", "it", "ja", "km", "ko", "ms", "nl"),
    *("no", "pl", "pt", "ru", "sv", "th", "tr", "vi", "zh_cn", "zh_hk", "zh_tw"),
)
FILE = "mkqa.jsonl.gz"

log = logging.getLogger(__name__)


@register
class Mkqa(ItemAdapter):
    """Questions paired with their short answers."""

    name: ClassVar[str] = "mkqa"
    summary: ClassVar[str] = "MKQA: questions in 26 languages with their short answers, no passages"
    licence: ClassVar[str] = "CC BY-SA 3.0"
    files: ClassVar[str] = f"{FILE} of github.com/apple/ml-mkqa (dataset/)"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "bad_rows"})
    path_needed: ClassVar[str] = f"{FILE} or mkqa.jsonl (from github.com/apple/ml-mkqa), or the folder with it"

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return LANGUAGES

    def read_items(self, config: DatasetConfig) -> Items:
        languages = tuple(sorted(config.languages or LANGUAGES))
        path, bad = _file(config), BadRows.of(config)
        items: dict[str, ParallelItem] = {}
        unanswered = 0
        for number, row in read_jsonl(path, bad):
            with bad.row(path, number):
                item = _item(row, languages)
                if item.id in items:
                    raise BadRow(f"`example_id` is {item.id}, which an earlier row has too; keep one")
                if item.texts:
                    items[item.id] = item
                else:
                    unanswered += 1
        bad.tell(self.name)
        if unanswered:
            log.warning("%s: %d questions without a short answer left out, %d kept", self.name, unanswered, len(items))
        if not items:
            raise DataError(f"{path}: holds no question with a short answer in {', '.join(languages)}")
        present = tuple(code for code in languages if any(code in item.texts for item in items.values()))
        return Items(present, [items[key] for key in sorted(items)])


def _file(config: DatasetConfig) -> Path:
    if config.path is not None and not (path := Path(config.path).expanduser()).is_dir():
        return path
    return fetch(config, "", FILE, names=("mkqa.jsonl",))


def _item(row: dict[str, Any], languages: tuple[str, ...]) -> ParallelItem:
    item_id = id_of(row, "example_id")
    questions, answers = _by_language(row, "queries"), _by_language(row, "answers")
    texts = {}
    for language in languages:
        if language not in questions or language not in answers:
            continue
        question = text_of(questions, language)
        answer = _first_answer(answers[language], language)
        if answer:
            texts[language] = TextPair(question, answer, f"{language}/{fingerprint([answer])}")
    return ParallelItem(item_id, f"mkqa-{item_id}", texts)


def _by_language(row: dict[str, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    if not isinstance(value, dict) or not value:
        raise BadRow(f"`{key}` is {shown(value)}, must be an object with at least one language")
    try:
        return {normalise(language): entry for language, entry in value.items()}
    except ValueError as error:
        raise BadRow(f"`{key}`: {error}") from None


def _first_answer(answers: Any, language: str) -> str:
    """The first answer that is a text; "" where there is none."""
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise BadRow(f"`answers.{language}` is {shown(answers)}, must be a list of objects")
    for answer in answers:
        if text := text_of(answer, "text", optional=True).strip():
            return text
    return ""
