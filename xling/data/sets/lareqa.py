"""XQuAD-R and MLQA-R: sentence retrieval over parallel questions (LAReQA, arXiv 2004.05484).

``{folder}/{language}.json`` is SQuAD with ``sentence_breaks`` for every paragraph:
``[[start, end), …]`` in code points of the untouched context. Each sentence is a candidate,
its paragraph the context it is encoded with; the sentence in which the answer starts is the
relevant one. Nothing is deduplicated, stripped, or found by searching for a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from xling.config.schema import DatasetConfig
from xling.data.fingerprint import fingerprint_retrieval
from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.data.registry import Adapter, Problem, register, unknown
from xling.data.squad_format import read_json
from xling.errors import DataError

SOURCE = "github.com/google-research-datasets/lareqa"


class Lareqa(Adapter):
    """What the two sets share."""

    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "titles"})
    splits: ClassVar[tuple[str, ...]] = ("test",)
    can_train: ClassVar[bool] = False
    files: ClassVar[str] = f"{{language}}.json of {SOURCE}"
    all_languages: ClassVar[tuple[str, ...]]

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        """Languages whose file is in the folder; all that were published when no path is given."""
        if config.path is None:
            return self.all_languages
        folder = Path(config.path).expanduser()
        return tuple(language for language in self.all_languages if (folder / f"{language}.json").is_file())

    def check(self, config: DatasetConfig) -> list[Problem]:
        try:
            languages = self._languages(config)
        except DataError as error:
            return [("path", str(error))]
        missing = list(config.titles or ())
        known: dict[str, None] = {}
        for language in languages:  # one file is enough where all languages have the same titles
            if not missing:
                break
            known.update(dict.fromkeys(_titles(read_json(_folder(self, config) / f"{language}.json"))))
            missing = [title for title in missing if title not in known]
        return [("titles", unknown(title, known)) for title in missing]

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        """Queries ``ar/<question id>`` and passages ``ar/<paragraph>.<sentence>``, numbered from 0
        over the whole file also when ``titles`` restricts it.

        Raises:
            DataError: a file is missing, cut short or breaks the format (which file, where, what).
        """
        languages = self._languages(config)
        folder = _folder(self, config)
        files = {language: _parse(folder / f"{language}.json", language) for language in languages}
        self._require_titles(config, files)
        relevant: dict[str, dict[str, int]] = {}  # by question id, over all languages
        queries: dict[str, list[Query]] = {}
        passages: dict[str, list[Passage]] = {}
        for language, paragraphs in files.items():
            kept = [part for part in paragraphs if config.titles is None or part.title in config.titles]
            passages[language] = sorted_passages([passage for part in kept for passage in part.passages])
            questions = [question for part in kept for question in part.questions]
            queries[language] = [Query(f"{language}/{q.id}", language, q.text) for q in questions]
            for question in questions:
                relevant.setdefault(question.id, {})[question.passage_id] = 1
        qrels = {
            query.id: relevant[query.id.removeprefix(f"{language}/")]
            for language in languages
            for query in queries[language]
        }
        digest = fingerprint_retrieval(languages, queries, passages, qrels)
        return RetrievalSet(self.name, languages, queries, passages, qrels, digest)

    def _languages(self, config: DatasetConfig) -> tuple[str, ...]:
        folder = _folder(self, config)
        if not folder.is_dir():
            raise DataError(f"{folder}: is not a folder, must be {self.path_needed}")
        available = self.available_languages(config)
        if not available:
            names = ", ".join(f"{language}.json" for language in self.all_languages)
            raise DataError(f"{folder}: holds none of {names}; it must be {self.path_needed}")
        for code in config.languages or ():
            if code not in self.all_languages:
                raise DataError(f"{self.name}: `languages` {unknown(code, self.all_languages)}")
            if code not in available:
                raise DataError(f"{folder}: has no {code}.json; add it or take {code!r} out of `languages`")
        return tuple(code for code in available if config.languages is None or code in config.languages)

    def _require_titles(self, config: DatasetConfig, files: dict[str, list[_Paragraph]]) -> None:
        if config.titles is None:
            return
        found = {language: {part.title for part in paragraphs} for language, paragraphs in files.items()}
        known = dict.fromkeys(part.title for paragraphs in files.values() for part in paragraphs)
        for title in config.titles:
            if title not in known:
                raise DataError(f"{self.name}: `titles` {unknown(title, known)}")
        for language, titles in found.items():
            if not titles & set(config.titles):
                raise DataError(
                    f"{_folder(self, config) / language}.json: has no article with one of the `titles`; "
                    f"add one it has or take {language!r} out of `languages`"
                )


@register
class XquadR(Lareqa):
    """240 paragraphs of 48 articles in 11 languages, 1,190 questions in every language."""

    name: ClassVar[str] = "xquad-r"
    summary: ClassVar[str] = "XQuAD-R: sentence retrieval over 1,190 questions in 11 languages (CC BY-SA 4.0)"
    all_languages: ClassVar[tuple[str, ...]] = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
    licence: ClassVar[str] = "CC BY-SA 4.0"
    path_needed: ClassVar[str] = f"the folder with LAReQA's xquad-r files ar.json … zh.json, from {SOURCE}"


@register
class MlqaR(Lareqa):
    """Questions that exist in two to four of 7 languages."""

    name: ClassVar[str] = "mlqa-r"
    summary: ClassVar[str] = "MLQA-R: sentence retrieval, 500 to 1,148 questions in 7 languages (CC BY-NC 4.0)"
    all_languages: ClassVar[tuple[str, ...]] = ("ar", "de", "en", "es", "hi", "vi", "zh")
    licence: ClassVar[str] = "CC BY-NC 4.0; may not be passed on"
    path_needed: ClassVar[str] = f"the folder with LAReQA's mlqa-r files ar.json … zh.json, from {SOURCE}"


@dataclass(frozen=True, slots=True)
class _Question:
    id: str
    text: str
    passage_id: str  # of the sentence its answer starts in


@dataclass(frozen=True, slots=True)
class _Paragraph:
    title: str
    passages: list[Passage]
    questions: list[_Question]


class _Malformed(Exception):
    """Where in a file and which rule it breaks; the file is added above."""


def _folder(adapter: Lareqa, config: DatasetConfig) -> Path:
    if config.path is None:
        raise DataError(f"dataset {adapter.name!r} needs `path`: {adapter.path_needed}")
    return Path(config.path).expanduser()


def _titles(content: Any) -> Iterator[str]:
    """Titles of a file that may be malformed: loading it says how."""
    articles = content.get("data") if isinstance(content, dict) else None
    for article in articles if isinstance(articles, list) else []:
        if isinstance(article, dict) and isinstance(article.get("title"), str):
            yield article["title"]


def _parse(path: Path, language: str) -> list[_Paragraph]:
    content = read_json(path)
    parsed: list[_Paragraph] = []
    seen: set[str] = set()
    try:
        for a, article in enumerate(_get(content, "data", list, "the file")):
            where = f"data[{a}]"
            title = _get(article, "title", str, where)
            for p, paragraph in enumerate(_get(article, "paragraphs", list, where)):
                part = _paragraph(paragraph, title, f"{language}/{len(parsed)}", language, f"{where}.paragraphs[{p}]")
                for question in part.questions:
                    if question.id in seen:
                        raise _Malformed(f"{where}.paragraphs[{p}]: question id {question.id!r} occurs twice")
                    seen.add(question.id)
                parsed.append(part)
    except _Malformed as error:
        raise DataError(f"{path}: {error}") from None
    if not seen:
        raise DataError(f"{path}: holds no questions, must hold at least one")
    return parsed


def _paragraph(paragraph: Any, title: str, prefix: str, language: str, where: str) -> _Paragraph:
    context = _get(paragraph, "context", str, where)
    breaks = [
        _span(pair, len(context), f"{where}.sentence_breaks[{s}]")
        for s, pair in enumerate(_get(paragraph, "sentence_breaks", list, where))
    ]
    passages = [
        Passage(f"{prefix}.{s}", language, context[start:end], context, title) for s, (start, end) in enumerate(breaks)
    ]
    questions = []
    for q, entry in enumerate(_get(paragraph, "qas", list, where)):
        at = f"{where}.qas[{q}]"
        question_id = _get(entry, "id", str, at)
        if not question_id or question_id.split() != [question_id]:
            raise _Malformed(f"{at}.id is {question_id!r}, must be a text without white space")
        answers = _get(entry, "answers", list, at)
        if len(answers) != 1:
            raise _Malformed(f"{at} (id {question_id}) has {len(answers)} answers, must have exactly one")
        begin = _get(answers[0], "answer_start", int, f"{at}.answers[0]")
        inside = [s for s, (start, end) in enumerate(breaks) if start <= begin < end]
        if len(inside) != 1:
            raise _Malformed(
                f"{at} (id {question_id}): answer_start {begin} lies in {len(inside)} sentences of sentence_breaks, "
                "must lie in exactly one (start <= answer_start < end); do both count characters, not bytes?"
            )
        text = _get(entry, "question", str, at)
        if not text.strip():
            raise _Malformed(f"{at} (id {question_id}): question is {text!r}, must be a text that is not empty")
        questions.append(_Question(question_id, text, passages[inside[0]].id))
    return _Paragraph(title, passages, questions)


def _span(pair: Any, length: int, where: str) -> tuple[int, int]:
    if not (isinstance(pair, list) and len(pair) == 2 and all(type(offset) is int for offset in pair)):
        raise _Malformed(f"{where} is {pair!r}, must be two character offsets [start, end)")
    start, end = pair
    if not 0 <= start <= end <= length:
        raise _Malformed(f"{where} is {pair!r}, must lie within the context's {length} characters, start not after end")
    return start, end


def _get(owner: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(owner, dict):
        raise _Malformed(f"{where} is not a JSON object")
    if key not in owner:
        raise _Malformed(f"{where} has no {key!r}, which the LAReQA format asks for")
    value = owner[key]
    if type(value) is not kind:
        raise _Malformed(f"{where}.{key} is a {type(value).__name__}, must be a {kind.__name__}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Malformed(f"{where}.{key} holds half of a surrogate pair; write the file as UTF-8") from None
    return value
