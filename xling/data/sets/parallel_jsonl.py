"""User data: parallel questions and passages as JSON Lines, one question a row.

``{"id", "title"?, "paragraph"?, "texts": {"en": {"question", "passage", "answer"?}, "es": {…}}}``,
plain or gzipped. Every row is checked; what is wrong is reported by line, all at once.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.dev_split import linked
from xling.data.files import BadRows
from xling.data.fingerprint import fingerprint
from xling.data.records import ParallelItem, TextPair
from xling.data.registry import Problem, register, unknown
from xling.data.sets.item_adapter import ItemAdapter, Items, own_path, require_there
from xling.data.sets.parallel_rows import Row, read_rows
from xling.errors import DataError


@register
class ParallelJsonl(ItemAdapter):
    """The user's own parallel file."""

    name: ClassVar[str] = "parallel-jsonl"
    summary: ClassVar[str] = "your own parallel questions and passages, one JSON object a line"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "titles", "bad_rows"})
    licence: ClassVar[str] = "your own"
    files: ClassVar[str] = "one .jsonl or .jsonl.gz file"
    largest_dev: ClassVar[int | None] = None
    path_needed: ClassVar[str] = "a .jsonl or .jsonl.gz file of parallel rows"

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return _survey(config)[0] if config.path else ()

    def check(self, config: DatasetConfig) -> list[Problem]:
        if not _file(config).is_file():
            return [("path", f"is {config.path!r}, a folder; it must name {self.path_needed}")]
        titles = _survey(config)[1] if config.titles else ()
        return [("titles", unknown(title, titles)) for title in config.titles or () if title not in titles]

    def read_items(self, config: DatasetConfig) -> Items:
        return Items(*read_items(config))


def read_items(config: DatasetConfig) -> tuple[tuple[str, ...], list[ParallelItem]]:
    """All items of a file, dev articles included, after ``titles`` and ``languages``.

    Items are sorted by id, so that the order of the file's lines changes nothing. An item left
    with no language is dropped. Within a language, equal passage texts are one passage.

    Returns:
        The languages, sorted, and the items.

    Raises:
        DataError: the file cannot be read, rows are wrong, or a title or language is not in it.
    """
    bad = BadRows.of(config)
    rows = read_rows(_file(config), bad)
    bad.tell(ParallelJsonl.name)
    found_titles = sorted({row.title for row in rows if row.title})
    found_languages = sorted({language for row in rows for language in row.texts})
    require_there(config, {"titles": found_titles, "languages": found_languages})
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
    nodes = {
        row.id: [f"text-{fingerprint([language, passage])}" for language, (_, passage) in sorted(row.texts.items())]
        for row in rows
        if not row.title
    }
    return {row.id: row.title for row in rows if row.title} | linked(nodes)


def _file(config: DatasetConfig) -> Path:
    return own_path(config, ParallelJsonl.path_needed)


def _survey(config: DatasetConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Languages and titles of the file, sorted; read again only when the file has changed."""
    path = _file(config)
    state = path.stat()
    return _survey_file(path.resolve(), state.st_size, state.st_mtime_ns, config.bad_rows == "stop")


@lru_cache(maxsize=8)
def _survey_file(path: Path, size: int, modified_ns: int, strict: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = read_rows(path, BadRows(strict))
    languages = {language for row in rows for language in row.texts}
    return tuple(sorted(languages)), tuple(sorted({row.title for row in rows if row.title}))
