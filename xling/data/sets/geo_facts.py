"""Facts of the CLDR, read from babel: what the set ``geo`` asks about.

They are synthetic facts, not claims about the world: the CLDR estimates who speaks what, picks
one script for a language that has several, and simplifies. Where it gives more than one answer
(two current currencies, clocks that differ within a territory) no fact is made.

An entity is named by ``kind.code`` (``territory.FR``), a fact by ``relation.code``
(``currency.FR``). Codes serve as ids only and never enter a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from babel import Locale, localedata
from babel.core import get_global

LANGUAGES = ("en", "de", "es", "ru", "ar", "zh", "hi", "tr")
RELATIONS = (
    "currency",
    "former_currency",
    "main_language",
    "second_language",
    "time_zone",
    "first_day",
    "script",
    "home",
    "neighbour_language",
)
MINIMUM_SHARE = 0.5  # per cent of some territory's people: below that a language is left out

_NOT_TERRITORIES = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NON_LATIN = frozenset({"ru", "ar", "zh", "hi"})
# The CLDR's own labels for these scripts, "Simplified" and "Traditional", name no script.
_SAME_SCRIPT = {"Hans": "Hani", "Hant": "Hani"}


@dataclass(frozen=True, slots=True)
class Fact:
    """``subject`` stands in ``relation`` to ``answer``; both are keys into the names."""

    relation: str
    subject: str
    answer: str

    @property
    def id(self) -> str:
        return f"{self.relation}.{self.subject.partition('.')[2]}"


Names = Mapping[str, Mapping[str, str]]  # by entity key, then by language


@cache
def extract() -> tuple[tuple[Fact, ...], Names]:
    """All facts, sorted by id, and the names of all that they mention, in all languages."""
    names = _names()
    found = [*_territory_facts(names), *_language_facts(names)]
    facts = sorted((fact for fact in found if fact.subject in names and fact.answer in names), key=lambda f: f.id)
    mentioned = {key for fact in facts for key in (fact.subject, fact.answer)}
    return tuple(facts), {key: names[key] for key in sorted(mentioned)}


def _names() -> Names:
    """Names by entity key, of what has a proper one in every language."""
    locales = {language: Locale.parse(language) for language in LANGUAGES}
    tables: dict[str, dict[str, Mapping[str, Any]]] = {
        "territory": {language: locale.territories for language, locale in locales.items()},
        "language": {language: locale.languages for language, locale in locales.items()},
        "currency": {language: locale.currencies for language, locale in locales.items()},
        "script": {language: locale.scripts for language, locale in locales.items()},
        "zone": {language: _zone_names(locale) for language, locale in locales.items()},
        "weekday": {language: _weekday_names(locale) for language, locale in locales.items()},
    }
    names = {}
    for kind, by_language in tables.items():
        for code in sorted(set.intersection(*(set(table) for table in by_language.values()))):
            row = {language: str(table[code]) for language, table in by_language.items()}
            if all(_is_proper(name, code, language) for language, name in row.items()):
                names[f"{kind}.{code}"] = row
    return names


def _is_proper(name: str, code: str, language: str) -> bool:
    """Whether a name is free of codes, digits and foreign Latin letters.

    Such pieces are the same in all languages, and a retriever would align by them alone.
    """
    codes = {code, code[:2]} if code.isupper() else set()  # a currency's code begins with a territory's
    if re.search(r"\d", name) or codes & set(re.split(r"\W+", name)):
        return False
    return language not in _NON_LATIN or not re.search(r"[A-Za-z]", name)


def _zone_names(locale: Locale) -> dict[str, str]:
    found = {}
    for zone, forms in locale.meta_zones.items():
        long = forms.get("long", {})
        name = long.get("generic") or long.get("standard")
        if name:
            found[zone] = str(name)
    return found


def _weekday_names(locale: Locale) -> dict[str, str]:
    days = locale.days["stand-alone"]["wide"]
    return {name: str(days[index]) for index, name in enumerate(_WEEKDAYS)}


def _territory_facts(names: Names) -> Iterator[Fact]:
    first_days = _first_days()
    for subject in [key for key in names if key.startswith("territory.")]:
        code = subject.partition(".")[2]
        if len(code) != 2 or not code.isalpha() or code in _NOT_TERRITORIES:
            continue
        current, former = _currencies(code)
        spoken = _spoken_in(code)
        found = {
            "currency": current and f"currency.{current}",
            "former_currency": former and f"currency.{former}",
            "main_language": spoken and f"language.{spoken[0]}",
            "second_language": spoken[1:] and f"language.{spoken[1]}",
            "time_zone": _time_zone(code),
            "first_day": first_days.get(code),
        }
        for relation, answer in found.items():
            if answer:
                yield Fact(relation, subject, str(answer))


def _currencies(territory: str) -> tuple[str | None, str | None]:
    """The one current tender, and the tender withdrawn last; none where two qualify."""
    # Rows are (code, start, end, is tender), dates as (year, month, day).
    rows = [row for row in get_global("territory_currencies").get(territory, ()) if row[3]]
    current = {code for code, _, end, _ in rows if end is None}
    ended = {code: date(*end) for code, _, end, _ in rows if end is not None and code not in current}
    last = [code for code, end in ended.items() if end == max(ended.values())]
    return (min(current) if len(current) == 1 else None), (last[0] if len(last) == 1 else None)


@cache
def _spoken_in(territory: str) -> tuple[str, ...]:
    """Languages known to at least MINIMUM_SHARE of the people, the most widely known first."""
    shares: dict[str, float] = {}
    for tag, row in get_global("territory_languages").get(territory, {}).items():
        language = tag.partition("_")[0]  # one language in two scripts is one language
        if language != "und" and row["population_percent"] >= MINIMUM_SHARE:
            shares[language] = max(shares.get(language, 0.0), row["population_percent"])
    return tuple(sorted(shares, key=lambda language: (-shares[language], language)))


def _time_zone(territory: str) -> str | None:
    """The zone all clocks of a territory follow; none where they differ or one is unknown."""
    zones = {get_global("meta_zones").get(zone) for zone in get_global("territory_zones").get(territory, ())}
    zone = next(iter(zones)) if len(zones) == 1 else None
    return f"zone.{zone}" if zone else None


@cache
def _first_days() -> dict[str, str]:
    """First day of the week by territory, as a key."""
    locales: dict[str, str] = {}
    for name in sorted(localedata.locale_identifiers()):
        territory = name.rpartition("_")[2]
        # babel lets all Portuguese locales inherit Portugal's week: take another of the territory's.
        if len(territory) == 2 and territory.isupper() and (territory not in locales or "pt_" in locales[territory]):
            locales[territory] = name
    days = {territory: Locale.parse(name).first_week_day for territory, name in locales.items()}
    return {territory: f"weekday.{_WEEKDAYS[day]}" for territory, day in days.items()}


def _language_facts(names: Names) -> Iterator[Fact]:
    spoken = {language for territory in get_global("territory_languages") for language in _spoken_in(territory)}
    for subject in [key for key in names if key.startswith("language.")]:
        code = subject.partition(".")[2]
        likely = get_global("likely_subtags").get(code)
        if code not in spoken or likely is None:
            continue
        _, script, territory = likely.split("_")[:3]
        yield Fact("script", subject, f"script.{_SAME_SCRIPT.get(script, script)}")
        if len(territory) == 2:  # not a region of the world, as Esperanto has
            yield Fact("home", subject, f"territory.{territory}")
            others = [language for language in _spoken_in(territory) if language != code]
            if others:
                yield Fact("neighbour_language", subject, f"language.{others[0]}")
