"""User data: parallel questions and passages as JSON Lines, one question a row.

``{"id", "title"?, "paragraph"?, "texts": {"en": {"question", "passage", "answer"?}, "es": {…}}}``,
plain or gzipped. Every row is checked; what is wrong is reported by line, all at once.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.fingerprint import fingerprint, fingerprint_items, fingerprint_retrieval
from xling.data.parallel_rows import Row, read_rows
from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, TextPair, TrainingSet, sorted_passages
from xling.data.registry import Adapter, Problem, register, unknown
from xling.errors import DataError

DEV_SHARE = 10  # one article in ten is held out for dev
DEV_SEED = "xling dev split 1"  # another seed is another split: never change it, trained cells depend on it


@register
class ParallelJsonl(Adapter):
    """The user's own parallel file."""

    name: ClassVar[str] = "parallel-jsonl"
    summary: ClassVar[str] = "your own parallel questions and passages, one JSON object a line"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "titles"})
    splits: ClassVar[tuple[str, ...]] = ("dev",)
    can_train: ClassVar[bool] = True
    path_needed: ClassVar[str] = "a .jsonl or .jsonl.gz file of parallel rows"

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return _survey(config)[0] if config.path else ()

    def check(self, config: DatasetConfig) -> list[Problem]:
        if not _file(config).is_file():
            return [("path", f"is {config.path!r}, a folder; it must name {self.path_needed}")]
        titles = _survey(config)[1] if config.titles else ()
        return [("titles", unknown(title, titles)) for title in config.titles or () if title not in titles]

    def load_training(self, config: DatasetConfig) -> TrainingSet:
        languages, items = read_items(config)
        held_out = dev_articles(items)
        kept = [item for item in items if item.article not in held_out]
        if not kept:
            raise DataError(
                f"{config.path}: all rows are of one article, which the dev split holds out whole; "
                "give rows of at least two articles (`title`)"
            )
        present = tuple(language for language in languages if any(language in item.texts for item in kept))
        return TrainingSet(self.name, present, kept, fingerprint_items(present, kept))

    def load_dev(self, config: DatasetConfig) -> RetrievalSet:
        languages, items = read_items(config)
        held_out = dev_articles(items)
        return _retrieval(f"{self.name}-dev", languages, [item for item in items if item.article in held_out])

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        return self.load_dev(config)


def dev_articles(items: list[ParallelItem]) -> frozenset[str]:
    """The articles held out for dev: those in the lowest tenth by seeded hash, at least one."""
    ranked = sorted({item.article for item in items}, key=lambda article: fingerprint([DEV_SEED, article]))
    return frozenset(ranked[: max(1, round(len(ranked) / DEV_SHARE))])


def read_items(config: DatasetConfig) -> tuple[tuple[str, ...], list[ParallelItem]]:
    """All items of a file, dev articles included, after ``titles`` and ``languages``.

    Items are sorted by id, so that the order of the file's lines changes nothing. An item left
    with no language is dropped. Within a language, equal passage texts are one passage.

    Returns:
        The languages, sorted, and the items.

    Raises:
        DataError: the file cannot be read, rows are wrong, or a title or language is not in it.
    """
    rows = read_rows(_file(config))
    found_titles = sorted({row.title for row in rows if row.title})
    found_languages = sorted({language for row in rows for language in row.texts})
    for field, wanted, found in (
        ("titles", config.titles, found_titles),
        ("languages", config.languages, found_languages),
    ):
        for value in wanted or ():
            if value not in found:
                raise DataError(f"{config.path}: `{field}` {unknown(value, found)}")
    if config.titles is not None:
        rows = [row for row in rows if row.title in config.titles]
    languages = tuple(code for code in found_languages if config.languages is None or code in config.languages)
    articles = _articles(rows)
    items = []
    for row in sorted(rows, key=lambda row: row.id):
        texts = {
            language: TextPair(question, passage, f"{language}/{fingerprint([passage])}")
            for language in languages
            if language in row.texts
            for question, passage in [row.texts[language]]
        }
        if texts:
            items.append(ParallelItem(row.id, articles[row.id], texts))
    if not items:
        raise DataError(f"{config.path}: no row is left after `titles` and `languages`; widen them")
    return languages, items


def _articles(rows: list[Row]) -> dict[str, str]:
    """Article by row id: the title, else a name shared by all untitled rows linked by a passage.

    Without titles a passage is its own article. A row joins its passages in all its languages,
    so that holding one out never leaves a translation of it, or itself, in training.
    """
    parents: dict[str, str] = {}

    def root(node: str) -> str:
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    nodes = {
        row.id: [f"text-{fingerprint([language, passage])}" for language, (_, passage) in sorted(row.texts.items())]
        for row in rows
        if not row.title
    }
    for linked in nodes.values():
        roots = sorted({root(node) for node in linked})
        for other in roots[1:]:
            parents[other] = roots[0]
    return {row.id: row.title or root(nodes[row.id][0]) for row in rows}


def _retrieval(name: str, languages: tuple[str, ...], items: list[ParallelItem]) -> RetrievalSet:
    """Items as queries over their distinct passages; a language in which no item exists is left out."""
    present = tuple(language for language in languages if any(language in item.texts for item in items))
    queries: dict[str, list[Query]] = {language: [] for language in present}
    passages: dict[str, dict[str, Passage]] = {language: {} for language in present}
    qrels: dict[str, dict[str, int]] = {}
    for item in items:
        relevant = {pair.passage_id: 1 for pair in item.texts.values()}
        for language, pair in item.texts.items():
            query = Query(f"{language}/{item.id}", language, pair.question)
            queries[language].append(query)
            qrels[query.id] = relevant
            passage = Passage(pair.passage_id, language, pair.passage, article=item.article)
            passages[language].setdefault(passage.id, passage)
    candidates = {language: sorted_passages(list(passages[language].values())) for language in present}
    digest = fingerprint_retrieval(present, queries, candidates, qrels)
    return RetrievalSet(name, present, queries, candidates, qrels, digest)


def _file(config: DatasetConfig) -> Path:
    if config.path is None:
        raise DataError(f"dataset 'parallel-jsonl' needs `path`: {ParallelJsonl.path_needed}")
    return Path(config.path).expanduser()


def _survey(config: DatasetConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Languages and titles of the file, sorted; read again only when the file has changed."""
    path = _file(config)
    state = path.stat()
    return _survey_file(path.resolve(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _survey_file(path: Path, size: int, modified_ns: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = read_rows(path)
    languages = {language for row in rows for language in row.texts}
    return tuple(sorted(languages)), tuple(sorted({row.title for row in rows if row.title}))
