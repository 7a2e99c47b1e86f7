"""Which data sets there are, and what is wrong with a data set's configuration.

One adapter a data set, one file each; a new one is written as a subclass of :class:`Adapter`
under :func:`register`, and its module is named in ``MODULES``.
"""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from xling.config.schema import DatasetConfig, TrainingEntry
from xling.data.records import RetrievalSet, TrainingSet
from xling.errors import ConfigError, XlingError
from xling.languages import base_language, check_language

MODULES = (
    "xling.data.sets.beir",
    "xling.data.sets.geo",
    "xling.data.sets.lareqa",
    "xling.data.sets.miracl",
    "xling.data.sets.mkqa",
    "xling.data.sets.mmarco",
    "xling.data.sets.mr_tydi",
    "xling.data.sets.pairs",
    "xling.data.sets.parallel_jsonl",
    "xling.data.sets.squad",
    "xling.data.sets.squad_translated",
    "xling.data.sets.tydiqa",
    "xling.data.sets.xor_retrieve",
)

Role = Literal["train", "evaluate"]
Problem = tuple[str, str]  # the DatasetConfig field, and value / rule / fix


class Adapter(ABC):
    """Reads one data set from its documented files into the shapes of ``records``."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line, shown by `xling data list`
    licence: ClassVar[str]  # of the data, as its source states it
    files: ClassVar[str]  # the files it reads, and where they come from
    options: ClassVar[frozenset[str]]  # DatasetConfig fields it takes; `split` is governed by `splits` alone
    splits: ClassVar[tuple[str, ...]]  # evaluation splits, the default first; () = cannot be evaluated on
    can_train: ClassVar[bool]
    path_needed: ClassVar[str] = ""  # what `path` must name and where to get it; "" = the set needs no path
    path_optional: ClassVar[bool] = False  # True: without `path` the files come from the hub

    @abstractmethod
    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        """Codes of the languages the set offers with this configuration, in the set's order."""

    def check(self, config: DatasetConfig) -> list[Problem]:
        """Problems only this set can see, found without loading it. The path is known to exist."""
        return []

    def check_for(self, role: Role, config: DatasetConfig) -> list[Problem]:
        """As :meth:`check`, for sets whose files to train on are others than those to score on."""
        return self.check(config)

    def load_training(self, config: DatasetConfig) -> TrainingSet:
        """The items to train on, without the dev split. Raises DataError when the files are wrong."""
        raise ConfigError(f"dataset {self.name!r} cannot be trained on, it holds evaluation data only")

    def load_dev(self, config: DatasetConfig) -> RetrievalSet:
        """The dev split that belongs to :meth:`load_training` with the same configuration."""
        raise ConfigError(f"dataset {self.name!r} has no dev split, it holds evaluation data only")

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        """The split to score. Raises DataError when the files are wrong."""
        raise ConfigError(f"dataset {self.name!r} cannot be evaluated on, it holds training data only")


_adapters: dict[str, Adapter] = {}

AdapterClass = TypeVar("AdapterClass", bound=type[Adapter])


def register(adapter_class: AdapterClass) -> AdapterClass:
    """Class decorator: make an adapter known under its name. Raises ValueError when the name is taken."""
    name = adapter_class.name
    if name in _adapters:
        raise ValueError(f"two adapters are named {name!r}: {type(_adapters[name]).__name__}, {adapter_class.__name__}")
    _adapters[name] = adapter_class()
    return adapter_class


@cache
def _load_modules() -> None:
    for module in MODULES:
        importlib.import_module(module)


def names() -> list[str]:
    """Names of all data sets, sorted."""
    _load_modules()
    return sorted(_adapters)


def get(name: str) -> Adapter:
    """The adapter of a data set. Raises ConfigError with the nearest name when there is none."""
    _load_modules()
    if name not in _adapters:
        raise ConfigError(f"dataset {unknown(name, names())}")
    return _adapters[name]


def unknown(value: str, valid: Iterable[str], shown: int = 20, *, meant: str | None = None) -> str:
    """Text for a name that is not among the valid ones: value, rule, and the nearest valid name.

    Args:
        meant: the nearest one where it is valid, in place of the one that is spelled most alike.
    """
    valid = list(valid)
    listed = ", ".join(valid[:shown]) + (f", … ({len(valid)} in all)" if len(valid) > shown else "")
    nearest = [meant] if meant in valid else difflib.get_close_matches(value, valid, n=1, cutoff=0.5)
    return f"is {value!r}, must be one of {listed}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")


def problems(config: DatasetConfig, role: Role) -> list[Problem]:
    """Everything wrong with a data set's configuration that shows without loading the set.

    Returns:
        (field, text) pairs; the text holds value, rule and fix, the caller puts file and
        dotted path before it. Empty when nothing is wrong.
    """
    if config.dataset not in names():
        return [("dataset", unknown(config.dataset, names()))]
    adapter = get(config.dataset)
    found = [*_role_problems(adapter, config, role), *_option_problems(adapter, config), *_list_problems(config)]
    found += _mined_problems(config)
    path_problems = _path_problems(adapter, config)
    if found or path_problems:
        return [*found, *path_problems]
    try:
        languages = _language_problems(adapter, config)
        told = [f"`languages` {text.partition(',')[0]}," for _, text in languages]  # the adapter may find it too
        found = adapter.check_for(role, config)
        return [*languages, *(problem for problem in found if not any(one in problem[1] for one in told))]
    except XlingError as error:  # a file so broken that not even its languages can be read
        return [("path" if config.path else "dataset", str(error))]


def _role_problems(adapter: Adapter, config: DatasetConfig, role: Role) -> list[Problem]:
    if role == "train":
        if not adapter.can_train:
            trainable = ", ".join(name for name in names() if get(name).can_train)
            return [("dataset", f"is {adapter.name!r}, which holds evaluation data only; train on one of {trainable}")]
        if config.split is not None:
            return [("split", f"is {config.split!r}, but only an evaluation set takes a split; remove it")]
        return []
    if not adapter.splits:
        scored = ", ".join(name for name in names() if get(name).splits)
        return [("dataset", f"is {adapter.name!r}, which cannot be evaluated on; use one of {scored}")]
    if config.split is not None and config.split not in adapter.splits:
        return [("split", unknown(config.split, adapter.splits))]
    return []


def _option_problems(adapter: Adapter, config: DatasetConfig) -> list[Problem]:
    taken = ", ".join(sorted(adapter.options - {"split"})) or "none"
    return [
        (field, f"is given, but {adapter.name} does not take it; remove it (it takes: {taken})")
        for field, about in DatasetConfig.model_fields.items()
        if field not in {"dataset", "split", *adapter.options} and getattr(config, field) != about.default
    ]


def _list_problems(config: DatasetConfig) -> list[Problem]:
    found: list[Problem] = []
    for field in ("languages", "titles"):
        values: tuple[str, ...] | None = getattr(config, field)
        if values is None:
            continue
        if not values:
            found.append((field, "is empty, must name at least one; leave it out to take all"))
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            found.append((field, f"names {', '.join(map(repr, repeated))} more than once; name each once"))
    for code in dict.fromkeys(config.languages or ()):
        try:
            check_language(code)
        except ValueError as error:
            found.append(("languages", str(error)))
    return found


def _path_problems(adapter: Adapter, config: DatasetConfig) -> list[Problem]:
    if "path" not in adapter.options:
        return []
    if config.path is None:
        needed = adapter.path_needed and not adapter.path_optional
        return [("path", f"is missing, must name {adapter.path_needed}")] if needed else []
    try:
        why = "" if Path(config.path).expanduser().exists() else "does not exist"
    except OSError as error:
        why = f"cannot be looked at ({error.strerror})"
    return [("path", f"is {config.path!r}, which {why}; it must name {adapter.path_needed}")] if why else []


def _mined_problems(config: DatasetConfig) -> list[Problem]:
    folder = config.mined_folder if isinstance(config, TrainingEntry) else None
    if folder is None or folder.is_dir():
        return []
    return [("mined", f"is {str(folder)!r}, which is no folder; it must name the one that `xling mine --out` wrote")]


def _language_problems(adapter: Adapter, config: DatasetConfig) -> list[Problem]:
    if config.languages is None:
        return []
    available = adapter.available_languages(config)
    if not available:  # what is missing instead, the adapter says
        return []
    lacking = [code for code in config.languages if code not in available]
    return [("languages", unknown(code, available, meant=base_language(code))) for code in lacking]
