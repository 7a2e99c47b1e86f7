"""Folders in BEIR's layout (Thakur et al. 2021), one a language: the user's own or published ones.

``{path}/{language}/corpus.jsonl`` (``_id, title, text``), ``queries.jsonl`` (``_id, text``) and
``qrels/{split}.tsv`` (query, passage, grade, under a header), plain or gzipped; or one such folder
itself, whose language ``languages`` then names. Queries are those that the split judges. Judgements
hold within a language. Grades count in nDCG. Nothing is left out of a ranking: sets whose queries
are themselves passages (ArguAna, Quora) need that for their published figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.corpus_build import Reader
from xling.data.files import BadRow, BadRows, id_of, read_jsonl, text_of
from xling.data.hub import find
from xling.data.records import Query
from xling.data.registry import Problem, register
from xling.data.sets.collection import CollectionFiles, Judgement, passage_reader, read_beir_qrels
from xling.data.sets.judged_items import SPLIT, JudgedItems
from xling.errors import DataError
from xling.languages import normalise


@register
class Beir(JudgedItems):
    """Any set in this layout."""

    name: ClassVar[str] = "beir"
    summary: ClassVar[str] = "a retrieval set in BEIR's layout, one folder a language: your own or a published one"
    licence: ClassVar[str] = "that of the folder"
    files: ClassVar[str] = "{language}/corpus.jsonl, queries.jsonl, qrels/{split}.tsv"
    splits: ClassVar[tuple[str, ...]] = ("test", "dev", "train")
    path_needed: ClassVar[str] = (
        "a folder with {language}/corpus.jsonl, queries.jsonl and qrels/test.tsv, or one such folder itself"
    )
    measures: ClassVar[tuple[str, ...]] = ("nDCG@10", "R@100")

    def with_corpus(self, config: DatasetConfig) -> tuple[str, ...]:
        if config.path is None:
            return ()
        if _is_single(config):
            return config.languages or ()
        return tuple(_folders(config))

    def check(self, config: DatasetConfig) -> list[Problem]:
        if _is_single(config) and len(config.languages or ()) != 1:
            return [("languages", f"must name the one language of {config.path}, as in [de]")]
        return super().check(config)

    def chosen_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        if _is_single(config) and len(config.languages or ()) != 1:
            raise DataError(f"{self.name}: `languages` must name the one language of {config.path}, as in [de]")
        return super().chosen_languages(config)

    def has_language(self, config: DatasetConfig, language: str) -> bool:
        return language in self.with_corpus(config)

    def has_training(self, config: DatasetConfig, language: str) -> bool:
        file = f"qrels/{SPLIT}.tsv"
        return find(self._folder(config, language), [file, f"{file}.gz"]) is not None

    def locate(self, config: DatasetConfig, language: str, split: str) -> CollectionFiles:
        folder = self._folder(config, language)
        names = ("queries.jsonl", f"qrels/{split}.tsv", "corpus.jsonl")
        paths = []
        for name in names:
            path = find(folder, [name, f"{name}.gz"])
            if path is None:
                raise DataError(f"{folder}: has no {name}; BEIR's layout asks for {', '.join(names)}")
            paths.append(path)
        return CollectionFiles(paths[0], paths[1], (paths[2],))

    def _folder(self, config: DatasetConfig, language: str) -> Path:
        return Path(str(config.path)).expanduser() if _is_single(config) else _folders(config)[language]

    def topics(self, path: Path, language: str, bad: BadRows) -> Iterator[tuple[int, str, str]]:
        for line, row in read_jsonl(path, bad):
            try:
                query = line, id_of(row, "_id"), text_of(row, "text")
            except BadRow as error:
                bad.report(path, line, str(error))
                continue
            yield query

    def judgements(self, path: Path, bad: BadRows) -> Iterator[Judgement]:
        return read_beir_qrels(path, bad)

    def passages(self, language: str) -> tuple[str, Reader]:
        return "_id", passage_reader(language, "_id")

    def scored(self, queries: list[Query], judged: dict[str, dict[str, int]]) -> list[Query]:
        return [query for query in queries if query.id in judged]


def _is_single(config: DatasetConfig) -> bool:
    return find(Path(str(config.path)).expanduser(), ["corpus.jsonl", "corpus.jsonl.gz"]) is not None


def _folders(config: DatasetConfig) -> dict[str, Path]:
    """Folders below ``path`` by language; other folders and files there are nobody's business."""
    found: dict[str, Path] = {}
    root = Path(str(config.path)).expanduser()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if find(folder, ["corpus.jsonl", "corpus.jsonl.gz"]) is None:
            continue
        try:
            language = normalise(folder.name)
        except ValueError as error:
            raise DataError(f"{folder}: has a corpus, but its name {error}") from None
        if language in found:
            raise DataError(f"{folder}: is of language {language!r}, as {found[language]} is; give each language one")
        found[language] = folder
    return found
