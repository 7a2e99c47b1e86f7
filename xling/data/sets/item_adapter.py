"""Data sets to train on: their items are read once, a part is held out as dev, the rest is trained on."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, overload

from xling.config.schema import DatasetConfig
from xling.data.dev_split import as_retrieval, dev_articles
from xling.data.fingerprint import fingerprint_items
from xling.data.records import ParallelItem, RetrievalSet, TrainingSet
from xling.data.registry import Adapter, unknown
from xling.errors import DataError


@dataclass(frozen=True, slots=True)
class Items:
    """What a data set's files hold, dev articles included."""

    languages: tuple[str, ...]
    items: Sequence[ParallelItem]  # sorted by id, so that the order of rows in a file changes nothing
    negatives: Mapping[str, str] = field(default_factory=dict)  # texts of hard negatives by passage id
    questions: Mapping[str, str] = field(default_factory=dict)  # by item id, where several items ask one question
    together: Mapping[str, str] = field(default_factory=dict)  # by item id, what is held out together; else its article


class ItemAdapter(Adapter):
    """An adapter that only has to read items; see ``dev_split`` for what is held out."""

    splits: ClassVar[tuple[str, ...]] = ("dev",)
    can_train: ClassVar[bool] = True
    largest_dev: ClassVar[int | None] = 1000  # questions; whole articles, so at least one

    def __init__(self) -> None:
        self._last: tuple[object, Items] | None = None

    @abstractmethod
    def read_items(self, config: DatasetConfig) -> Items:
        """All items, after ``languages`` and ``titles``. Raises DataError when the files are wrong."""

    def load_training(self, config: DatasetConfig) -> TrainingSet:
        found = self._items(config)
        held_out = self._held_out(found)
        kept = _chosen(found.items, [i for i, item in enumerate(found.items) if _group(found, item) not in held_out])
        if not kept:
            raise DataError(
                f"{config.path or self.name}: all rows are of one article, which the dev split holds out whole; "
                "give rows of at least two articles (`title`)"
            )
        present = tuple(language for language in found.languages if any(language in item.texts for item in kept))
        digest = fingerprint_items(present, kept, found.negatives)
        return TrainingSet(self.name, present, kept, digest, negatives=found.negatives)

    def load_dev(self, config: DatasetConfig) -> RetrievalSet:
        found = self._items(config)
        held_out = self._held_out(found)
        dev = [item for item in found.items if _group(found, item) in held_out]
        return as_retrieval(f"{self.name}-dev", found.languages, dev, found.questions)

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        return self.load_dev(config)

    def _held_out(self, found: Items) -> frozenset[str]:
        return dev_articles((_group(found, item) for item in found.items), self.largest_dev)

    def _items(self, config: DatasetConfig) -> Items:
        """What was read last is kept: the training set and its dev split are asked for one after the other."""
        key = (config.model_dump_json(exclude={"weight", "mined"}), _state(config.path))
        if self._last is None or self._last[0] != key:
            self._last = None  # frees the old one before the new is read
            self._last = (key, self.read_items(config))
        return self._last[1]


def _group(found: Items, item: ParallelItem) -> str:
    """What an item is held out with."""
    return found.together.get(item.id, item.article)


class _Chosen(Sequence[ParallelItem]):
    """Some of the items of a sequence that makes them when they are asked for."""

    def __init__(self, items: Sequence[ParallelItem], indices: Sequence[int]) -> None:
        self._items, self._indices = items, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> ParallelItem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ParallelItem]: ...
    def __getitem__(self, index: int | slice) -> ParallelItem | Sequence[ParallelItem]:
        if isinstance(index, slice):
            return _Chosen(self._items, self._indices[index])
        return self._items[self._indices[index]]


def _chosen(items: Sequence[ParallelItem], indices: list[int]) -> Sequence[ParallelItem]:
    return [items[i] for i in indices] if isinstance(items, list) else _Chosen(items, indices)


def own_path(config: DatasetConfig, needed: str) -> Path:
    """The path of a set that is the user's own. Raises DataError where there is none."""
    if config.path is None:
        raise DataError(f"dataset {config.dataset!r} needs `path`: {needed}")
    return Path(config.path).expanduser()


def require_there(config: DatasetConfig, found: Mapping[str, Collection[str]]) -> None:
    """Raise DataError when `titles`, or `languages`, name what is not in the files. Args: found: by the field."""
    for field_name, there in found.items():
        for value in getattr(config, field_name) or ():
            if value not in there:
                raise DataError(f"{config.path}: `{field_name}` {unknown(value, sorted(there))}")


def _state(path: str | None) -> object:
    """What shows that files have changed, of a file or of all below a folder."""
    if path is None:
        return None
    root = Path(path).expanduser()
    return file_states(sorted(root.rglob("*")) if root.is_dir() else [root])


def file_states(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of those files that are there."""
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file in files if (stat := _stat(file)) is not None]


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:  # a broken link, or gone meanwhile
        return None
