"""Language codes, ordered language pairs and scripts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache

UNKNOWN_SCRIPT = "Zyyy"

_CODE = re.compile(r"[a-z]{2,3}(_[a-z0-9]+)*")


def check_language(code: str) -> str:
    """Return ``code`` if it is an ISO 639 code, possibly with a region (``zh_cn``).

    Raises:
        ValueError: the text is not such a code. Codes never hold ``-``: it joins a pair.
    """
    if not _CODE.fullmatch(code):
        rule = f"{code!r} is not a language code: two or three small letters, as in 'de' or 'zh_cn'"
        raise ValueError(f"{rule}{_meant(code)}")
    return code


def _meant(text: str) -> str:
    """The code that another way of writing a language stands for, with its region and without."""
    try:
        code = normalise(text)
    except ValueError:
        return ""
    meant = dict.fromkeys((code, code.partition("_")[0]))
    return f"; did you mean {' or '.join(map(repr, meant))}?" if is_known(code) else ""


def is_known(code: str) -> bool:
    """Whether the CLDR knows the language of a code, so that it is no other word of two or three letters."""
    from babel import Locale
    from babel.core import get_global

    base = code.partition("_")[0]
    return base in Locale("en").languages or base in get_global("language_aliases")


def is_region_or_script(part: str) -> bool:
    """Whether what follows a language in a code, ``cn`` or ``latn``, is what the CLDR knows as such."""
    from babel import Locale

    known = Locale("en")
    return part.upper() in known.territories or part.title() in known.scripts


# English names that data sets use where the CLDR has another one.
_OTHER_NAMES = {"bengali": "bn", "farsi": "fa", "kirghiz": "ky", "oriya": "or", "myanmar": "my"}


@cache
def normalise(text: str) -> str:
    """This project's code for a language as data sets write it: ``arabic``, ``zh-CN``, ``" ar"``, ``swa``.

    English names are the CLDR's, three-letter codes become two-letter ones where there are such,
    and a region or script stays (``zh_cn``).

    Raises:
        ValueError: it is neither a code nor such a name.
    """
    from babel import Locale
    from babel.core import get_global

    plain = " ".join(text.split()).lower()
    names: dict[str, str] = dict(Locale("en").languages)
    if plain in _OTHER_NAMES:
        return _OTHER_NAMES[plain]
    if plain in names:  # before the names: ga is Irish, and not the language called Ga
        return plain
    for code, name in names.items():
        if name.lower() == plain:
            return code.lower()
    base, joint, rest = plain.replace("-", "_").partition("_")
    if base not in names:  # CLDR's names are of the codes in use, its aliases of all that were
        base = str(get_global("language_aliases").get(base, base)).partition("_")[0]
    code = base + joint + rest
    if not _CODE.fullmatch(code):
        raise ValueError(f"{text!r} is no language: write a code as in 'de' or 'zh_cn', or an English name")
    return code


_ONE_LANGUAGE = {"nb": "no", "tl": "fil"}  # codes that data sets use for one language


@cache
def base_language(code: str) -> str:
    """The language alone, by which training and evaluation are compared: ``zh`` of ``zh_cn``, ``en`` of ``eng``.

    Raises:
        ValueError: it is no language code.
    """
    base = normalise(code).partition("_")[0]
    return _ONE_LANGUAGE.get(base, base)


def trained_on(languages: Iterable[str], trained: Collection[str]) -> list[bool]:
    """Of each language whether it is one of those trained on, whatever region or script either code names."""
    bases = {base_language(code) for code in trained}
    return [base_language(code) in bases for code in languages]


@dataclass(frozen=True, slots=True, order=True)
class LangPair:
    """A retrieval direction, the query's language first; written ``ar-en``."""

    query: str
    passage: str

    def __str__(self) -> str:
        return f"{self.query}-{self.passage}"

    @classmethod
    def parse(cls, text: str) -> LangPair:
        """Read ``ar-en``. Raises ValueError when it is not two codes joined by a hyphen."""
        codes = text.split("-")
        if len(codes) != 2 or not all(codes):
            region = ", a region with '_' as in 'zh_cn-en'" if len(codes) > 2 else ""
            rule = f"write it as in 'ar-en', the query's language first{region}"
            raise ValueError(f"{text!r} is not a language pair: {rule}")
        try:
            return cls(*map(check_language, codes))
        except ValueError as error:
            raise ValueError(f"{text!r} is not a language pair: {error}") from None

    @property
    def is_monolingual(self) -> bool:
        return self.query == self.passage

    @property
    def is_same_script(self) -> bool:
        """A language shares its script with itself; two do where both scripts are known and equal."""
        script = script_of(self.query)
        return self.is_monolingual or (script == script_of(self.passage) and script != UNKNOWN_SCRIPT)


def all_pairs(languages: Iterable[str]) -> list[LangPair]:
    """All L x L ordered pairs, in the order of ``languages``."""
    languages = list(languages)
    return [LangPair(query, passage) for query in languages for passage in languages]


def same_script(languages: Iterable[str]) -> list[list[bool]]:
    """Which languages (across) share the script of which (down), L x L."""
    languages = list(languages)
    return [[LangPair(query, passage).is_same_script for passage in languages] for query in languages]


@cache
def script_of(language: str) -> str:
    """ISO 15924 code of a language's script: the one its code names (``sr_latn``), else its usual one by the CLDR.

    ``Hans`` and ``Hant`` both count as ``Hani``, so that zh_cn and zh_tw share a script.
    ``Zyyy`` (undetermined) for a language the CLDR does not know.
    """
    from babel import Locale

    base, *rest = language.split("_")
    named = next((part.title() for part in rest if part.title() in Locale("en").scripts), "")
    script = named or _usual_script(base, rest)
    return "Hani" if script in ("Hans", "Hant") else script


def _usual_script(base: str, rest: list[str]) -> str:
    """By CLDR's likely subtags, of the code itself or of the one that it is an alias of (``eng``)."""
    from babel.core import get_global

    likely = get_global("likely_subtags")
    base = base if base in likely else str(get_global("language_aliases").get(base, base))
    regions = [part.upper() for part in rest if len(part) == 2]
    found = [likely.get(code) for code in (*(f"{base}_{region}" for region in regions), base) if base != "und"]
    full = next(filter(None, found), base)  # an alias may name its script: sh is sr_Latn
    return next((part for part in full.split("_")[1:] if len(part) == 4), UNKNOWN_SCRIPT)
