"""Language codes, ordered language pairs and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

_CODE = re.compile(r"[a-z]{2,3}(_[a-z0-9]+)*")


def check_language(code: str) -> str:
    """Return ``code`` if it is an ISO 639 code, possibly with a region (``zh_cn``).

    Raises:
        ValueError: the text is not such a code. Codes never hold ``-``: it joins a pair.
    """
    if not _CODE.fullmatch(code):
        raise ValueError(f"{code!r} is not a language code: two or three small letters, as in 'de' or 'zh_cn'")
    return code


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
    for code, name in names.items():
        if name.lower() == plain:
            return code.lower()
    base, joint, rest = plain.replace("-", "_").partition("_")
    if base not in names:  # CLDR's names are of the codes in use, its aliases of all that were
        base = str(get_global("language_aliases").get(base, base)).partition("_")[0]
    try:
        return check_language(base + joint + rest)
    except ValueError:
        raise ValueError(f"{text!r} is no language: write a code as in 'de' or 'zh_cn', or an English name") from None


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
        query, hyphen, passage = text.partition("-")
        if not hyphen:
            raise ValueError(f"{text!r} is not a language pair: write it as in 'ar-en', the query's language first")
        return cls(check_language(query), check_language(passage))

    @property
    def is_monolingual(self) -> bool:
        return self.query == self.passage

    @property
    def is_same_script(self) -> bool:
        return script_of(self.query) == script_of(self.passage)


def all_pairs(languages: Iterable[str]) -> list[LangPair]:
    """All L x L ordered pairs, in the order of ``languages``."""
    languages = list(languages)
    return [LangPair(query, passage) for query in languages for passage in languages]


@cache
def script_of(language: str) -> str:
    """ISO 15924 code of the script a language is usually written in, by CLDR's likely subtags.

    ``Hans`` and ``Hant`` both count as ``Hani``, so that zh_cn and zh_tw share a script.
    ``Zyyy`` (undetermined) for a language the CLDR does not know.
    """
    from babel.core import get_global

    likely = get_global("likely_subtags")
    base, _, region = language.partition("_")
    full = likely.get(f"{base}_{region.upper()}") or likely.get(base) or ""
    script = next((part for part in full.split("_") if len(part) == 4), "Zyyy")
    return "Hani" if script in ("Hans", "Hant") else script
