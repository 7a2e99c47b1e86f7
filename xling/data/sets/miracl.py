"""MIRACL (Zhang et al. 2023): monolingual retrieval over Wikipedia passages in 18 languages.

``miracl-v1.0-{l}/topics/topics.miracl-v1.0-{l}-dev.tsv``, ``…/qrels/qrels.miracl-v1.0-{l}-dev.tsv``
(with explicit zeros) and the shards ``miracl-corpus-v1.0-{l}/docs-{i}.jsonl.gz``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.hub import fetch, find
from xling.data.registry import register
from xling.data.sets.collection import CollectionFiles
from xling.data.sets.judged_items import SPLIT, JudgedItems
from xling.errors import DataError

# Shards of each language's corpus, as published.
SHARDS = {
    "ar": 5, "bn": 1, "de": 32, "en": 66, "es": 21, "fa": 5, "fi": 4, "fr": 30, "hi": 2,
    "id": 3, "ja": 14, "ko": 3, "ru": 20, "sw": 1, "te": 2, "th": 2, "yo": 1, "zh": 10,
}  # fmt: skip
HUB = "miracl/miracl"
CORPUS_HUB = "miracl/miracl-corpus"


@register
class Miracl(JudgedItems):
    """Its dev split to score, as judgements of the test splits are not public; its training split to train on."""

    name: ClassVar[str] = "miracl"
    summary: ClassVar[str] = "MIRACL: monolingual passage retrieval over Wikipedia in 18 languages"
    licence: ClassVar[str] = "Apache-2.0"
    files: ClassVar[str] = f"topics and qrels of {HUB}, docs-*.jsonl.gz of {CORPUS_HUB}"
    splits: ClassVar[tuple[str, ...]] = ("dev",)
    path_needed: ClassVar[str] = (
        f"a folder with miracl-v1.0-*/topics and qrels (from {HUB}) and miracl-corpus-v1.0-* (from {CORPUS_HUB})"
    )
    path_optional: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("nDCG@10", "R@100")
    all_languages: ClassVar[tuple[str, ...]] = tuple(SHARDS)
    only_scored: ClassVar[frozenset[str]] = frozenset({"de", "yo"})

    def has_language(self, config: DatasetConfig, language: str) -> bool:
        return any(_shard(Path(str(config.path)).expanduser(), language, i) for i in range(SHARDS[language]))

    def has_training(self, config: DatasetConfig, language: str) -> bool:
        if config.path is None:
            return language not in self.only_scored
        names = [name for end in ("", ".gz") for name in _names("qrels", language, SPLIT, end)]
        return find(Path(config.path).expanduser(), names) is not None

    def locate(self, config: DatasetConfig, language: str, split: str) -> CollectionFiles:
        paths = []
        for role in ("topics", "qrels"):
            file, _ = _names(role, language, split)
            paths.append(fetch(config, HUB, file, names=_names(role, language, split, ".gz")))
        return CollectionFiles(paths[0], paths[1], _corpus(config, language))


def _names(role: str, language: str, split: str, end: str = "") -> tuple[str, str]:
    """Where topics or judgements are on the hub and below its folders, and by themselves."""
    name = f"{role}.miracl-v1.0-{language}-{split}.tsv{end}"
    return f"miracl-v1.0-{language}/{role}/{name}", name


def _corpus(config: DatasetConfig, language: str) -> tuple[Path, ...]:
    """All shards of a language; that one is missing is an error and not a smaller corpus."""
    count = SHARDS[language]
    if config.path is None:
        name = f"miracl-corpus-v1.0-{language}"
        return tuple(fetch(config, CORPUS_HUB, f"{name}/docs-{i}.jsonl.gz") for i in range(count))
    folder = Path(config.path).expanduser()
    found = [_shard(folder, language, i) for i in range(count)]
    missing = [f"docs-{i}.jsonl.gz" for i, file in enumerate(found) if file is None]
    if missing:
        raise DataError(
            f"{folder}/miracl-corpus-v1.0-{language}: lacks {len(missing)} of the {count} shards that were published "
            f"for {language!r}: {', '.join(missing[:5])}{', …' * (len(missing) > 5)}; add them (from {CORPUS_HUB})"
        )
    return tuple(file for file in found if file is not None)


def _shard(folder: Path, language: str, number: int) -> Path | None:
    name = f"miracl-corpus-v1.0-{language}/docs-{number}.jsonl"
    return find(folder, [f"{name}.gz", name])
