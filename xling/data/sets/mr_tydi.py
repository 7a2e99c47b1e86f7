"""Mr. TyDi v1.1 (Zhang et al. 2021): monolingual retrieval over Wikipedia passages in 11 languages.

``mrtydi-v1.1-{language}/corpus.jsonl.gz`` and ``…/ir-format-data/{topics,qrels}.{split}.txt``, with
full language names; topics and qrels also under the names that Anserini gives them,
``topics.mrtydi-v1.1-sw.test.txt.gz``. To train on: ``mrtydi-v1.1-{language}/train.jsonl.gz``,
``query_id, query, positive_passages[{docid, title, text}], negative_passages[…]``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from xling.config.schema import DatasetConfig
from xling.data.files import BadRow, BadRows, id_of, list_of, read_jsonl, text_of
from xling.data.hub import fetch, find
from xling.data.records import ParallelItem, TextPair
from xling.data.registry import Problem, Role, register
from xling.data.sets.collection import CollectionAdapter, CollectionFiles, raw_passage
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.errors import DataError

LANGUAGES = {
    "ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian", "ja": "japanese",
    "ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu", "th": "thai",
}  # fmt: skip
HUB = "castorini/mr-tydi"
CORPUS_HUB = "castorini/mr-tydi-corpus"
HARD_NEGATIVES = 1  # of an item, unless the configuration says more or fewer


@register
class MrTydi(CollectionAdapter, ItemAdapter):
    """Its test and dev splits against the whole corpus of a language; its training questions as items of one language.

    An item is a question with its first positive passage; its hard negatives are the first of the
    row's negative passages, which stand in BM25's order.
    """

    name: ClassVar[str] = "mr-tydi"
    summary: ClassVar[str] = "Mr. TyDi v1.1: monolingual passage retrieval over Wikipedia in 11 languages"
    licence: ClassVar[str] = "Apache-2.0"
    files: ClassVar[str] = f"topics, qrels and train.jsonl.gz of {HUB}, corpus.jsonl.gz of {CORPUS_HUB}"
    options: ClassVar[frozenset[str]] = CollectionAdapter.options | {"hard_negatives"}
    splits: ClassVar[tuple[str, ...]] = ("test", "dev")
    can_train: ClassVar[bool] = True
    path_needed: ClassVar[str] = f"a folder with mrtydi-v1.1-*, from {HUB} and {CORPUS_HUB}"
    path_optional: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("MRR@100", "R@100")
    all_languages: ClassVar[tuple[str, ...]] = tuple(LANGUAGES)

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        """Those with a corpus, to be scored on, or with training questions."""
        with_corpus = self.with_corpus(config)
        return tuple(code for code in self.all_languages if code in with_corpus or _training_file(config, code))

    def check_for(self, role: Role, config: DatasetConfig) -> list[Problem]:
        if role == "evaluate" or config.path is None:
            return self.check(config)
        try:
            _training_files(config)
        except DataError as error:
            return [("path", str(error))]
        return []

    def has_language(self, config: DatasetConfig, language: str) -> bool:
        return find(_root(config), [f"{_name(language)}/corpus.jsonl{end}" for end in (".gz", "")]) is not None

    def read_items(self, config: DatasetConfig) -> Items:
        bad = BadRows.of(config)
        count = HARD_NEGATIVES if config.hard_negatives is None else config.hard_negatives
        items: dict[str, ParallelItem] = {}
        negatives: dict[str, str] = {}
        for language, path in _training_files(config).items():
            for line, row in read_jsonl(path, bad):
                try:
                    item, texts = _item(row, language, count)
                    if item.id in items:
                        raise BadRow(f"`query_id` is {item.id!r}, which an earlier row has too; give each its own")
                except BadRow as error:
                    bad.report(path, line, str(error))
                    continue
                items[item.id] = item
                negatives |= texts
        bad.tell(self.name)
        if not items:
            raise DataError(f"{config.path or HUB}: holds no training questions, must hold at least one")
        languages = tuple(code for code in LANGUAGES if any(code in item.texts for item in items.values()))
        return Items(languages, [items[key] for key in sorted(items)], negatives)

    def locate(self, config: DatasetConfig, language: str, split: str) -> CollectionFiles:
        folder = _name(language)
        paths = []
        for role in ("topics", "qrels"):
            file = f"{role}.{split}.txt"
            anserini = f"{role}.mrtydi-v1.1-{language}.{split}.txt"
            names = (f"{folder}/{file}", anserini, f"{folder}/{anserini}")
            paths.append(_fetch(config, HUB, f"{folder}/ir-format-data/{file}", *names))
        corpus = _fetch(config, CORPUS_HUB, f"{folder}/corpus.jsonl.gz", f"{folder}/corpus.jsonl")
        return CollectionFiles(paths[0], paths[1], (corpus,))


def _name(language: str) -> str:
    return f"mrtydi-v1.1-{LANGUAGES[language]}"


def _fetch(config: DatasetConfig, repo: str, filename: str, *names: str) -> Path:
    zipped = [f"{name}.gz" for name in (filename, *names)]
    return fetch(config, repo, filename, names=(*names, *zipped), bare=False)


def _root(config: DatasetConfig) -> Path:
    return Path(str(config.path)).expanduser()


def _training_file(config: DatasetConfig, language: str) -> Path | None:
    """A language's training questions below ``path``."""
    if config.path is None:
        return None
    return find(_root(config), [f"{_name(language)}/train.jsonl{end}" for end in (".gz", "")])


def _training_files(config: DatasetConfig) -> dict[str, Path]:
    if config.path is None:
        return {code: fetch(config, HUB, f"{_name(code)}/train.jsonl.gz") for code in config.languages or LANGUAGES}
    found = {code: path for code in LANGUAGES if (path := _training_file(config, code))}
    for code in config.languages or ():
        if code not in found:
            name = f"{_name(code)}/train.jsonl.gz" if code in LANGUAGES else f"training questions in {code!r}"
            raise DataError(f"{config.path}: has no {name}; put that file there (from {HUB}) or leave the language out")
    if not found:
        raise DataError(f"{config.path}: has no mrtydi-v1.1-*/train.jsonl.gz; put them there (from {HUB})")
    return {code: path for code, path in found.items() if config.languages is None or code in config.languages}


def _item(row: dict[str, Any], language: str, count: int) -> tuple[ParallelItem, dict[str, str]]:
    """A row's item and the texts of its hard negatives by passage id."""
    query_id, question = id_of(row, "query_id"), text_of(row, "query")
    positives = list_of(row, "positive_passages", dict)
    if not positives:
        raise BadRow("`positive_passages` is empty, must hold at least one passage")
    relevant = [_passage(entry, language) for entry in positives]
    passage_id, passage, title = relevant[0]
    known = {identifier for identifier, _, _ in relevant}
    others: dict[str, str] = {}
    for entry in list_of(row, "negative_passages", dict):
        if len(others) == count:
            break
        identifier, text, _ = _passage(entry, language)
        if identifier not in known:
            others[identifier] = text
    article = title or passage_id.partition("#")[0]
    pair = TextPair(question, passage, passage_id, tuple(others))
    return ParallelItem(f"{language}/{query_id}", article, {language: pair}), others


def _passage(entry: dict[str, Any], language: str) -> tuple[str, str, str]:
    """Id, text and title."""
    title, text = text_of(entry, "title", optional=True), text_of(entry, "text", optional=True)
    if not text.strip():
        raise BadRow(f"passage {entry.get('docid')!r} has no text; training rows must have theirs")
    passage = raw_passage(language, 0, id_of(entry, "docid"), title, text)
    return passage.id, passage.text, passage.article
