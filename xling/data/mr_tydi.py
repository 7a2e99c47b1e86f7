"""Mr. TyDi v1.1 (Zhang et al. 2021): monolingual retrieval over Wikipedia passages in 11 languages.

``mrtydi-v1.1-{language}/corpus.jsonl.gz`` and ``…/ir-format-data/{topics,qrels}.{split}.txt``, with
full language names; topics and qrels also under the names that Anserini gives them,
``topics.mrtydi-v1.1-sw.test.txt.gz``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.collection import CollectionAdapter, CollectionFiles
from xling.data.hub import fetch, find
from xling.data.registry import register

LANGUAGES = {
    "ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian", "ja": "japanese",
    "ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu", "th": "thai",
}  # fmt: skip
HUB = "castorini/mr-tydi"
CORPUS_HUB = "castorini/mr-tydi-corpus"


@register
class MrTydi(CollectionAdapter):
    """Its test and dev splits against the whole corpus of a language."""

    name: ClassVar[str] = "mr-tydi"
    summary: ClassVar[str] = "Mr. TyDi v1.1: monolingual passage retrieval over Wikipedia in 11 languages"
    licence: ClassVar[str] = "Apache-2.0"
    files: ClassVar[str] = f"topics, qrels and train.jsonl.gz of {HUB}, corpus.jsonl.gz of {CORPUS_HUB}"
    splits: ClassVar[tuple[str, ...]] = ("test", "dev")
    path_needed: ClassVar[str] = f"a folder with mrtydi-v1.1-*, from {HUB} and {CORPUS_HUB}"
    path_optional: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("MRR@100", "R@100")
    all_languages: ClassVar[tuple[str, ...]] = tuple(LANGUAGES)

    def has_language(self, config: DatasetConfig, language: str) -> bool:
        return (
            find(Path(str(config.path)).expanduser(), [f"{_name(language)}/corpus.jsonl{z}" for z in (".gz", "")])
            is not None
        )

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
