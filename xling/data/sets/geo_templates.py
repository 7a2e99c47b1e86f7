"""Wording of the set ``geo``: the templates of ``geo_templates.yaml``, filled with names.

Which template a fact gets in a language is a hash of both, so it never depends on the other
facts, on the languages asked for, or on an order of drawing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from xling.data.sets.geo_facts import Fact, Names

TRAINED_QUESTIONS = 2  # of each relation's three; the one behind them is the unseen wording

# CLDR territory names that take an article in English running text.
_THE = re.compile(
    r"^(Bahamas|British Indian|Caribbean|Central African|Comoros|Dominican|Gambia|Isle of|Maldives|Netherlands"
    r"|Philippines|Seychelles|United)\b|(Islands|Territory|Territories)$"
)


@dataclass(frozen=True, slots=True)
class Wording:
    """The templates of one relation in one language; slots ``{subject}`` and ``{answer}``."""

    questions: tuple[str, ...]
    passages: tuple[str, ...]


@cache
def wordings() -> Mapping[str, Mapping[str, Wording]]:
    """All templates, by relation and language."""
    text = files("xling.data.sets").joinpath("geo_templates.yaml").read_text(encoding="utf-8")
    return {
        relation: {
            language: Wording(tuple(entry["questions"]), tuple(entry["passages"]))
            for language, entry in by_language.items()
        }
        for relation, by_language in yaml.safe_load(text).items()
    }


def stable_hash(*parts: str) -> int:
    """A 64-bit number from texts, the same in every process (unlike ``hash``)."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big")


def question(fact: Fact, language: str, names: Names, *, unseen: bool = False) -> str:
    """The fact's question in the wording training uses for it, or in the never trained one."""
    templates = wordings()[fact.relation][language].questions
    index = TRAINED_QUESTIONS if unseen else stable_hash("question", fact.id, language) % TRAINED_QUESTIONS
    return templates[index].format(subject=_in_text(fact.subject, language, names))


def passage(fact: Fact, language: str, names: Names) -> str:
    """The fact's passage: it states the fact."""
    templates = wordings()[fact.relation][language].passages
    index = stable_hash("passage", fact.id, language) % len(templates)
    return templates[index].format(
        subject=_in_text(fact.subject, language, names), answer=_in_text(fact.answer, language, names)
    )


def _in_text(key: str, language: str, names: Names) -> str:
    name = names[key][language]
    needs_article = language == "en" and key.startswith("territory.") and _THE.search(name)
    return f"the {name}" if needs_article else name
