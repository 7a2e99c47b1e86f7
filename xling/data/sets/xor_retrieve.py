"""XOR-Retrieve (XOR-TyDi QA, Asai et al. 2021): questions in 7 languages, answered from English passages.

``xor_dev_retrieve_eng_span_v1_1.jsonl`` (``id, question, answers[], lang``) and the English corpus
of 100-word passages, as JSON Lines (``id`` or ``_id`` or ``docid``, ``title``, ``text``) or as DPR's
``psgs_w100.tsv`` (``id, text, title``, quoted as CSV is). A passage is right when it holds an
answer's text, so the set has answers and no qrels. The answers are given as published; which of
them and which questions count is the measure's business (R@2kt, R@5kt). A passage's text begins
with its title: what the measure reads is ``collection.body``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from xling.config.schema import DatasetConfig
from xling.data.corpus_build import RawPassage, ensure_corpus
from xling.data.files import BadRow, BadRows, decoded, id_of, list_of, open_lines, read_jsonl, shown, text_of
from xling.data.fingerprint import fingerprint_retrieval
from xling.data.hub import find
from xling.data.records import Query, RetrievalSet
from xling.data.registry import Adapter, Problem, register, unknown
from xling.data.sets.collection import raw_passage
from xling.errors import DataError
from xling.languages import normalise

LANGUAGES = ("ar", "bn", "fi", "ja", "ko", "ru", "te")
CORPUS_LANGUAGE = "en"
QUESTIONS = "xor_dev_retrieve_eng_span_v1_1.jsonl"
_CORPORA = ("psgs_w100.tsv", "corpus.jsonl", "passages.jsonl", "passages.tsv", "corpus.tsv")
_ID_KEYS = ("docid", "_id", "id")
_COLUMNS = ("id", "text", "title")


@register
class XorRetrieve(Adapter):
    """Its dev split; the test questions are published without answers."""

    name: ClassVar[str] = "xor-retrieve"
    summary: ClassVar[str] = "XOR-Retrieve dev: 2,110 questions in 7 languages against English passages"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    files: ClassVar[str] = f"{QUESTIONS} (github.com/AkariAsai/XORQA) and a corpus: {', '.join(_CORPORA)}"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "bad_rows"})
    splits: ClassVar[tuple[str, ...]] = ("dev",)
    can_train: ClassVar[bool] = False
    path_needed: ClassVar[str] = f"a folder with {QUESTIONS} and the English corpus, one of {', '.join(_CORPORA)}"

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        """Those of the questions, and that of the passages, which come along whether it is asked for or not."""
        return (*LANGUAGES, CORPUS_LANGUAGE)

    def check(self, config: DatasetConfig) -> list[Problem]:
        try:
            _files(config)
        except DataError as error:
            return [("path", str(error))]
        return []

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        """Queries ``ar/<id>``, passages ``en/<id>``. Raises DataError when the files are wrong (which line)."""
        known = self.available_languages(config)
        for code in config.languages or ():
            if code not in known:
                raise DataError(f"{self.name}: `languages` {unknown(code, known)}")
        questions, corpus_file = _files(config)
        bad = BadRows.of(config)
        chosen = tuple(code for code in LANGUAGES if config.languages is None or code in config.languages)
        if not chosen:
            raise DataError(f"{self.name}: `languages` names none with questions; add one of {', '.join(LANGUAGES)}")
        corpus = ensure_corpus(f"{self.name} 100w", CORPUS_LANGUAGE, [corpus_file], _read_passages, bad)
        languages = (*chosen, CORPUS_LANGUAGE)
        queries: dict[str, list[Query]] = {language: [] for language in languages}
        answers: dict[str, list[str]] = {}
        for query, texts in read_questions(questions, bad):
            if query.language in chosen:
                queries[query.language].append(query)
                answers[query.id] = texts
        bad.tell(self.name)
        if not answers:
            raise DataError(f"{questions}: holds no question in {', '.join(chosen)}")
        passages: dict[str, Any] = {**dict.fromkeys(chosen, ()), CORPUS_LANGUAGE: corpus}
        digest = fingerprint_retrieval(languages, queries, passages, {}, answers)
        return RetrievalSet(
            self.name, languages, queries, passages, {}, digest,
            zero_shot_levels=("question",), answers=answers,
        )  # fmt: skip


def read_questions(path: Path, bad: BadRows) -> Iterator[tuple[Query, list[str]]]:
    """Questions with their answers, as published: repeated ones, "yes" and "no" included."""
    seen: set[str] = set()
    for line, row in read_jsonl(path, bad):
        try:
            query, answers = _question(row)
            if query.id in seen:
                raise BadRow(f"`id` is {shown(row['id'])}, which an earlier row has too; give each its own")
        except BadRow as error:
            bad.report(path, line, str(error))
            continue
        seen.add(query.id)
        yield query, answers


def _question(row: dict[str, Any]) -> tuple[Query, list[str]]:
    try:
        language = normalise(text_of(row, "lang"))  # " ar" occurs
    except ValueError as error:
        raise BadRow(f"`lang`: {error}") from None
    if language not in LANGUAGES:
        raise BadRow(f"`lang` {unknown(language, LANGUAGES)}")
    return Query(f"{language}/{id_of(row, 'id')}", language, text_of(row, "question")), list_of(row, "answers", str)


def _files(config: DatasetConfig) -> tuple[Path, Path]:
    folder = Path(str(config.path)).expanduser()
    questions = find(folder, [QUESTIONS, f"{QUESTIONS}.gz"])
    if questions is None:
        raise DataError(f"{folder}: has no {QUESTIONS}; put that file there (from github.com/AkariAsai/XORQA)")
    corpus = find(folder, [name + zipped for name in _CORPORA for zipped in ("", ".gz")])
    if corpus is None:
        raise DataError(f"{folder}: has no corpus; put one of {', '.join(_CORPORA)} there, plain or gzipped")
    return questions, corpus


def _read_passages(path: Path, bad: BadRows) -> Iterator[RawPassage]:
    is_table = path.name.removesuffix(".gz").endswith(".tsv")
    rows = _table_rows(path, bad) if is_table else read_jsonl(path, bad)
    for line, row in rows:
        try:
            key = next((key for key in _ID_KEYS if key in row), _ID_KEYS[-1])
            title, text = text_of(row, "title", optional=True), text_of(row, "text", optional=True)
            passage = raw_passage(CORPUS_LANGUAGE, line, id_of(row, key), title, text)
        except BadRow as error:
            bad.report(path, line, str(error))
            continue
        yield passage


def _table_rows(path: Path, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of DPR's table by column name; its first line may be a header in another order."""
    names: tuple[str, ...] = _COLUMNS
    for line, content in open_lines(path):
        if not content or content.isspace():
            continue
        try:
            (values,) = csv.reader([decoded(content)], delimiter="\t")
            if line == 1 and sorted(values) == sorted(_COLUMNS):
                names = tuple(values)
                continue
            if len(values) != len(names):
                raise BadRow(f"has {len(values)} columns separated by tabs, must have {len(names)}: {', '.join(names)}")
        except BadRow as error:
            bad.report(path, line, str(error))
        except (ValueError, csv.Error) as error:  # two rows or none for the line; a NUL
            bad.report(path, line, f"is not a row of a quoted table ({error})")
        else:
            yield line, dict(zip(names, values, strict=True))
