"""SQuAD's training set in translation, from XTREME's translate-train (Hu et al. 2020), parallel by question id.

``squad.translate.train.en-{language}.json`` in SQuAD's shape, and ``train-v1.1.json`` for English;
on the hub, flat rows of ``juletxara/xquad_xtreme`` (its Parquet branch). Some questions could not be
translated into some languages: an item has those languages that have it.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.files import BadRows
from xling.data.hub import fetch, find
from xling.data.registry import Problem, register
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.data.sets.squad import FILE as ENGLISH
from xling.data.sets.squad import english_file, items_of, read_questions
from xling.errors import DataError

HUB = "juletxara/xquad_xtreme"
HUB_REVISION = "refs/convert/parquet"
TRANSLATED = ("ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")


@register
class SquadTranslated(ItemAdapter):
    """SQuAD in eleven languages."""

    name: ClassVar[str] = "squad-translate-train"
    summary: ClassVar[str] = "SQuAD v1.1 train with XTREME's machine translations into 10 languages, parallel"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    files: ClassVar[str] = f"squad.translate.train.en-{{language}}.json and {ENGLISH}, or the Parquet branch of {HUB}"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "titles", "bad_rows"})
    path_needed: ClassVar[str] = f"the folder with squad.translate.train.en-*.json and {ENGLISH}"
    path_optional: ClassVar[bool] = True

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        if config.path is None:
            return tuple(sorted((*TRANSLATED, "en")))
        folder = Path(config.path).expanduser()
        found = [code for code in TRANSLATED if find(folder, _names(code))]
        english = find(folder, (ENGLISH, f"{ENGLISH}.gz", f"squad/{ENGLISH}"))
        return tuple(sorted([*found, *(["en"] if english else [])]))

    def check(self, config: DatasetConfig) -> list[Problem]:
        if config.path is None:
            return []
        if not Path(config.path).expanduser().is_dir():
            return [("path", f"is {config.path!r}, a file; it must name {self.path_needed}")]
        if not self.available_languages(config):
            return [("path", f"is {config.path!r}, which holds none of its files; it must name {self.path_needed}")]
        return []

    def read_items(self, config: DatasetConfig) -> Items:
        languages = tuple(sorted(config.languages or self.available_languages(config)))
        if not languages:
            raise DataError(f"{config.path}: holds no file of the data set; it must be {self.path_needed}")
        bad = BadRows.of(config)
        # answers are not used, and where machine translation moved one its offset is only near
        questions = {
            code: list(read_questions(_file(config, code), bad, check_offsets=code == "en")) for code in languages
        }
        bad.tell(self.name)
        return Items(languages, items_of(questions, config))


def _names(language: str) -> tuple[str, ...]:
    name = f"squad.translate.train.en-{language}.json"
    return name, f"{name}.gz", f"translate-train/{name}", f"squad/translate-train/{name}"


def _file(config: DatasetConfig, language: str) -> Path:
    if language == "en":
        return english_file(config)
    names = _names(language)
    if config.path is not None:
        return fetch(config, "", names[0], names=names[1:])
    return fetch(config, HUB, f"{language}/translate_train/0000.parquet", revision=HUB_REVISION)
