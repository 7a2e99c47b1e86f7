"""SQuAD v1.1 (Rajpurkar et al. 2016): English questions over Wikipedia paragraphs.

``train-v1.1.json`` as published, or the hub's flat rows (``plain_text/train-00000-of-00001.parquet``).
The passage of a question is its whole paragraph. Questions without an answer (SQuAD v2 has them) are left out and
counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.dev_split import linked
from xling.data.files import BadRows
from xling.data.fingerprint import fingerprint
from xling.data.hub import fetch
from xling.data.records import ParallelItem, TextPair
from xling.data.registry import register, unknown
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.data.squad_format import SquadQuestion, read_squad, read_squad_parquet
from xling.errors import DataError

HUB = "rajpurkar/squad"
HUB_FILE = "plain_text/train-00000-of-00001.parquet"
FILE = "train-v1.1.json"


log = logging.getLogger(__name__)


@register
class Squad(ItemAdapter):
    """English SQuAD, monolingual training data."""

    name: ClassVar[str] = "squad"
    summary: ClassVar[str] = "SQuAD v1.1 train: 87,599 English questions with their paragraphs"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    files: ClassVar[str] = f"{FILE}, or {HUB_FILE} of {HUB}"
    options: ClassVar[frozenset[str]] = frozenset({"path", "titles", "bad_rows"})
    path_needed: ClassVar[str] = f"{FILE} (.gz), a .parquet file of flat rows, or the folder with it"
    path_optional: ClassVar[bool] = True

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return ("en",)

    def read_items(self, config: DatasetConfig) -> Items:
        bad = BadRows.of(config)
        questions = answered(self.name, list(read_questions(english_file(config), bad)))
        bad.tell(self.name)
        return Items(("en",), items_of({"en": questions}, config))


def english_file(config: DatasetConfig) -> Path:
    """SQuAD's English training file: ``path`` itself, in the folder ``path``, or from the hub."""
    path = Path(config.path).expanduser() if config.path is not None else None
    if path is not None and not path.is_dir():
        return path
    return fetch(config, HUB, HUB_FILE, names=(FILE, f"{FILE}.gz", f"squad/{FILE}"))


def read_questions(path: Path, bad: BadRows, *, check_offsets: bool = True) -> Iterator[SquadQuestion]:
    """Questions of a nested JSON file, or of flat rows in Parquet, as its name says."""
    read = read_squad_parquet if path.suffix == ".parquet" else read_squad
    return read(path, bad, check_offsets=check_offsets)


def answered(name: str, questions: Sequence[SquadQuestion]) -> list[SquadQuestion]:
    """Those that have an answer. What SQuAD v2 marks as unanswerable asks for nothing that its paragraph holds."""
    kept = [question for question in questions if question.answers]
    if left_out := len(questions) - len(kept):
        log.warning("%s: %d questions without an answer left out, %d kept", name, left_out, len(kept))
    return kept


def items_of(questions: Mapping[str, Sequence[SquadQuestion]], config: DatasetConfig) -> list[ParallelItem]:
    """Questions by language as items, joined by id and sorted by it; equal paragraphs of a language are one passage.

    An item's article is its title, English where there is English; without titles, all questions
    that share a paragraph are one article.

    Raises:
        DataError: a title asked for is not there, or nothing is left.
    """
    texts: dict[str, dict[str, TextPair]] = {}
    titles: dict[str, str] = {}
    digests: dict[str, str] = {}  # by paragraph: most questions share theirs with others
    for language in sorted(questions, key=lambda code: (code != "en", code)):
        for question in questions[language]:
            digest = digests.setdefault(question.context, "") or fingerprint([question.context])
            digests[question.context] = digest
            pair = TextPair(question.question, question.context, f"{language}/{digest}")
            texts.setdefault(question.id, {})[language] = pair
            titles.setdefault(question.id, question.title)
    for title in config.titles or ():
        if title not in set(titles.values()):
            raise DataError(f"{config.path or config.dataset}: `titles` {unknown(title, sorted(set(titles.values())))}")
    untitled = {key: [pair.passage_id for pair in texts[key].values()] for key, title in titles.items() if not title}
    articles = titles | linked(untitled)
    items = [
        ParallelItem(key, articles[key], texts[key])
        for key in sorted(texts)
        if config.titles is None or titles[key] in config.titles
    ]
    if not items:
        raise DataError(f"{config.path or config.dataset}: holds no question; is it the right file?")
    return items
