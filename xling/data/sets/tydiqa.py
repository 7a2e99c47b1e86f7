"""TyDi QA GoldP (Clark et al. 2020) as paragraph retrieval within a language.

The task has no official retrieval form; this one is ours:

- per language, the candidates are the *distinct contexts* of the split's questions, compared as
  they stand (no stripping, no folding);
- the queries are the split's questions, the one relevant passage of each is its own context.

Trained on is the train split: a question with its context, each item in one language.

Files are SQuAD-shaped: the gold passages of all languages in one (``tydiqa-goldp-v1.1-dev.json``),
one a language (``tydiqa-goldp-dev-arabic.json``; XTREME's ``tydiqa.goldp.ar.dev.json``), or the
hub's flat rows (``secondary_task/validation-…parquet``). A question's language is the full name
its id begins with (``arabic-2387…``).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.files import BadRows
from xling.data.fingerprint import fingerprint, fingerprint_retrieval
from xling.data.hub import fetch, find
from xling.data.records import Passage, Query, RetrievalSet, sorted_passages
from xling.data.registry import Problem, Role, register, unknown
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.data.sets.squad import items_of, read_questions
from xling.data.squad_format import SquadQuestion
from xling.errors import DataError
from xling.languages import normalise

LANGUAGES = {
    "ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian",
    "ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu",
}  # fmt: skip
HUB = "google-research-datasets/tydiqa"
_HUB_SPLITS = {"dev": "validation", "train": "train"}


@register
class TydiqaGoldp(ItemAdapter):
    """Its dev split (the hub's validation split) scored by our definition of retrieval, its train split trained on.

    What is held out of the train split to measure on while training is not the published dev split.
    """

    name: ClassVar[str] = "tydiqa-goldp"
    summary: ClassVar[str] = "TyDi QA GoldP: questions against the split's paragraphs, within each of 9 languages"
    licence: ClassVar[str] = "Apache-2.0"
    files: ClassVar[str] = f"tydiqa-goldp-v1.1-dev.json, XTREME's tydiqa.goldp.*.dev.json, or {HUB}"
    options: ClassVar[frozenset[str]] = frozenset({"path", "languages", "bad_rows"})
    splits: ClassVar[tuple[str, ...]] = ("dev",)
    path_needed: ClassVar[str] = (
        "tydiqa-goldp-v1.1-dev.json or a folder with it, or one with tydiqa-goldp-dev-arabic.json … "
        "or tydiqa.goldp.ar.dev.json …"
    )
    path_optional: ClassVar[bool] = True

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        found = {*_languages_found(config, "dev"), *_languages_found(config, "train")}
        return tuple(code for code in LANGUAGES if code in found)

    def check_for(self, role: Role, config: DatasetConfig) -> list[Problem]:
        split = "dev" if role == "evaluate" else "train"
        if not _languages_found(config, split):
            text = f"is {config.path!r}, which holds no GoldP file of split {split}; it must name {self.path_needed}"
            return [("path", text)]
        return []

    def read_items(self, config: DatasetConfig) -> Items:
        bad = BadRows.of(config)
        questions = read_split(config, "train", bad)
        bad.tell(self.name)
        return Items(tuple(questions), items_of(questions, config))

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        """Queries ``ar/<question id>``, passages ``ar/<digest of the context>``.

        Raises:
            DataError: a file is missing or wrong (which file, where).
        """
        bad = BadRows.of(config)
        questions = read_split(config, "dev", bad)
        bad.tell(self.name)
        languages = tuple(questions)
        queries: dict[str, list[Query]] = {}
        passages: dict[str, list[Passage]] = {}
        qrels: dict[str, dict[str, int]] = {}
        for language, asked in questions.items():
            candidates: dict[str, Passage] = {}
            queries[language] = []
            for question in asked:
                passage = candidates.get(question.context)
                if passage is None:
                    passage_id = f"{language}/{fingerprint([question.context])}"
                    passage = Passage(passage_id, language, question.context, article=question.title)
                    candidates[question.context] = passage
                query = Query(f"{language}/{question.id}", language, question.question)
                queries[language].append(query)
                qrels[query.id] = {passage.id: 1}
            passages[language] = sorted_passages(list(candidates.values()))
        digest = fingerprint_retrieval(languages, queries, passages, qrels)
        return RetrievalSet(self.name, languages, queries, passages, qrels, digest, cross_lingual=False)


def read_split(config: DatasetConfig, split: str, bad: BadRows) -> dict[str, list[SquadQuestion]]:
    """A split's questions by language, in the order of ``LANGUAGES``; those without an answer are left out.

    Raises:
        DataError: a file is missing or wrong, or a language asked for has no question.
    """
    for code in config.languages or ():
        if code not in LANGUAGES:
            raise DataError(f"{config.dataset}: `languages` {unknown(code, LANGUAGES)}")
    found: dict[str, list[SquadQuestion]] = {}
    for path, expected in _files(config, split).items():
        for question in read_questions(path, bad):
            try:
                language = normalise(question.id.partition("-")[0])
            except ValueError:
                language = ""
            if language not in LANGUAGES or expected not in (language, ""):
                wanted = LANGUAGES[expected] if expected else "a language's name, as in 'arabic-…'"
                bad.report(path, question.where, f"`id` is {question.id!r}, must begin with {wanted}")
            elif question.answers and (config.languages is None or language in config.languages):
                found.setdefault(language, []).append(question)
    for code in config.languages or ():
        if code not in found:
            raise DataError(f"{config.dataset}: the {split} split of {config.path or HUB} has no question in {code!r}")
    if not found:
        raise DataError(f"{config.path or HUB}: holds no question with an answer")
    return {language: found[language] for language in LANGUAGES if language in found}


def _files(config: DatasetConfig, split: str) -> dict[Path, str]:
    """The files of a split, each with the one language it holds, or "" for all."""
    if config.path is None:
        return {fetch(config, HUB, f"secondary_task/{_HUB_SPLITS[split]}-00000-of-00001.parquet"): ""}
    folder = Path(config.path).expanduser()
    if whole := _whole(folder, split):
        return {whole: ""}
    single = {path: code for code in LANGUAGES if (path := _single(folder, code, split))}
    if not single:
        raise DataError(f"{folder}: holds no GoldP file of split {split}; it must be {TydiqaGoldp.path_needed}")
    if config.languages is None:
        return single
    missing = [code for code in config.languages if code not in single.values()]
    if missing:
        name = f"tydiqa.goldp.{missing[0]}.{split}.json"
        raise DataError(f"{folder}: has no {name}; add it or take {missing[0]!r} out of `languages`")
    return {path: code for path, code in single.items() if code in config.languages}


def _languages_found(config: DatasetConfig, split: str) -> tuple[str, ...]:
    """Languages whose file is there; all where one file has them all, which is not read for this."""
    if config.path is None or _whole(folder := Path(config.path).expanduser(), split):
        return tuple(LANGUAGES)
    return tuple(code for code in LANGUAGES if _single(folder, code, split))


def _whole(path: Path, split: str) -> Path | None:
    if path.is_file():
        return path
    names = [f"tydiqa-goldp-v1.1-{split}.json", f"tydiqa-goldp-{split}.json"]
    hub = f"{_HUB_SPLITS[split]}-00000-of-00001.parquet"
    return find(path, [*names, *(f"{name}.gz" for name in names), f"secondary_task/{hub}", hub])


def _single(folder: Path, language: str, split: str) -> Path | None:
    names = [
        f"tydiqa.goldp.{language}.{split}.json",
        f"tydiqa.{language}.{split}.json",
        f"tydiqa-goldp-{split}-{LANGUAGES[language]}.json",
        *([f"tydiqa.{language}.json"] if split == "dev" else []),
    ]
    folders = ("", f"tydiqa-goldp-v1.1-{split}/", f"tydiqa-goldp-{split}/")
    return find(folder, [within + name + zipped for within in folders for name in names for zipped in ("", ".gz")])
