"""Which facts of the set ``geo`` are trained on, tuned on (dev) and reported on (test).

Two kinds of facts are held out. *Unseen entities*: they are subject, answer or part of another
name in no training fact at all. *Seen entities*: single facts, of subjects that training knows
by other facts. Test and dev hold out different entities and different facts; everything follows
from one constant seed, so all configurations share one split.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from xling.data.sets.geo_facts import Fact, Names, extract
from xling.data.sets.geo_templates import stable_hash, wordings
from xling.errors import DataError

SEED = "geo-1"
FACTS_EACH = 2  # held out of every held-out entity
MINIMUM_FACTS = 3  # that a seen entity has, so that one is left to train on
# An entity that answers more facts than this stays in training: English would take 200 along.
LARGEST_ANSWER = 20


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One held-out split: its entities' keys and its facts, by stratum."""

    unseen_entities: frozenset[str]
    unseen: tuple[Fact, ...]  # their subject is an unseen entity
    seen: tuple[Fact, ...]

    @property
    def facts(self) -> tuple[Fact, ...]:
        return tuple(sorted((*self.unseen, *self.seen), key=lambda fact: fact.id))


@dataclass(frozen=True, slots=True)
class Holdout:
    """The whole division of the facts; a fact that is in none of the three is not used."""

    train: tuple[Fact, ...]
    test: HeldOut
    dev: HeldOut


@cache
def holdout() -> Holdout:
    """Divide the facts. Raises DataError when the installed CLDR offers too few entities."""
    facts, names = extract()
    by_subject = _by_subject(facts)
    wanted = iter(_candidates(by_subject, facts, names))

    test_unseen = _take_unseen(wanted, 60, by_subject, avoid=lambda fact: False)
    names_test = mentions(test_unseen, names)
    dev_unseen = _take_unseen(wanted, 15, by_subject, avoid=names_test)
    names_any = mentions({*test_unseen, *dev_unseen}, names)

    clean = [fact for fact in facts if not names_any(fact)]
    clean_by_subject = _by_subject(clean)
    # A pair of names stated by two facts (a territory's language, a language's home) is not held out.
    stated = Counter(frozenset((fact.subject, fact.answer)) for fact in facts)
    seen = iter(_shuffled(clean_by_subject, "seen"))
    test_seen = _take_seen(seen, 120, clean_by_subject, stated)
    dev_seen = _take_seen(seen, 30, clean_by_subject, stated)

    test = HeldOut(frozenset(test_unseen), _flat(test_unseen), _flat(test_seen))
    dev = HeldOut(frozenset(dev_unseen), _flat(dev_unseen), _flat(dev_seen))
    kept_back = {*test.facts, *dev.facts}
    return Holdout(tuple(fact for fact in clean if fact not in kept_back), test, dev)


def mentions(entities: Iterable[str], names: Names) -> Callable[[Fact], bool]:
    """A test whether a fact's subject or answer is one of the entities or holds one's name.

    Names are compared in all languages at once: "Kosovo" in German is "Kosovo" in English too.
    """
    keys = set(entities)
    occurs = occurrence({name for key in keys for name in names[key].values()})
    found = {key for key, row in names.items() if key in keys or any(map(occurs, row.values()))}
    return lambda fact: fact.subject in found or fact.answer in found


def occurrence(forms: Iterable[str]) -> Callable[[str], bool]:
    """A test whether one of the names occurs in a text.

    As whole words; anywhere, inside words too, from four letters up (two in Chinese, which
    parts no words): "Niger" occurs in "Nigeria". Case and compatibility forms do not matter.
    """
    folded = sorted({_fold(form) for form in forms}, key=lambda form: (-len(form), form))
    inside = [form for form in folded if len(form) >= (2 if _is_chinese(form) else 4)]
    words = [form for form in folded if form not in set(inside)]
    whole = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)") if words else None

    def occurs(text: str) -> bool:
        text = _fold(text)
        return any(form in text for form in inside) or (whole is not None and whole.search(text) is not None)

    return occurs


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _is_chinese(text: str) -> bool:
    return "\u4e00" <= text[0] <= "\u9fff"


def _by_subject(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    """Facts by subject, each list in a fixed random order."""
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in sorted(facts, key=lambda fact: (stable_hash(SEED, "fact", fact.id), fact.id)):
        found[fact.subject].append(fact)
    return found


def _shuffled(keys: Iterable[str], stream: str) -> list[str]:
    return sorted(keys, key=lambda key: (stable_hash(SEED, stream, key), key))


def _candidates(by_subject: Mapping[str, Sequence[Fact]], facts: Sequence[Fact], names: Names) -> list[str]:
    """Entities that can be unseen, shuffled: no hub, and no part of a template's own words."""
    answers = Counter(fact.answer for fact in facts)
    words = "\n".join(
        template.format(subject="\n", answer="\n")
        for by_language in wordings().values()
        for wording in by_language.values()
        for template in (*wording.questions, *wording.passages)
    )
    return [
        key
        for key in _shuffled(by_subject, "unseen")
        if answers[key] <= LARGEST_ANSWER and not occurrence(names[key].values())(words)
    ]


Chosen = dict[str, tuple[Fact, ...]]  # held-out facts by subject


def _take_unseen(
    wanted: Iterable[str], count: int, by_subject: Mapping[str, Sequence[Fact]], avoid: Callable[[Fact], bool]
) -> Chosen:
    """The next ``count`` entities with enough facts, leaving out facts that ``avoid`` is true of."""
    chosen: Chosen = {}
    for key in wanted:
        facts = [fact for fact in by_subject[key] if not avoid(fact)]
        if len(facts) >= FACTS_EACH:
            chosen[key] = tuple(facts[:FACTS_EACH])
        if len(chosen) == count:
            return chosen
    raise _too_few(count, "unseen")


def _take_seen(
    wanted: Iterable[str],
    count: int,
    by_subject: Mapping[str, Sequence[Fact]],
    stated: Mapping[frozenset[str], int],
) -> Chosen:
    """The next ``count`` subjects with facts enough to hold out some and train on others."""
    chosen: Chosen = {}
    for key in wanted:
        facts = by_subject[key]
        free = [fact for fact in facts if stated[frozenset((fact.subject, fact.answer))] == 1]
        if len(facts) >= MINIMUM_FACTS and len(free) >= FACTS_EACH:
            chosen[key] = tuple(free[:FACTS_EACH])
        if len(chosen) == count:
            return chosen
    raise _too_few(count, "seen")


def _too_few(count: int, kind: str) -> DataError:
    return DataError(
        f"geo: the CLDR in the installed babel offers fewer than {count} entities to hold out as {kind}, "
        "the split needs them all; install babel 2.18 or newer"
    )


def _flat(chosen: Chosen) -> tuple[Fact, ...]:
    return tuple(fact for key in sorted(chosen) for fact in chosen[key])
