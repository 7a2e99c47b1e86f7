"""The embedded data set ``geo``: facts of the CLDR in eight languages, made from babel.

Nothing is downloaded: names and facts come with babel (geo_facts.py), sentences from templates
(geo_templates.py). They are *synthetic facts from the CLDR, not claims about the world*.

An item is one fact: a question that names a subject and a relation, and a passage that states
the answer, in every language. What is held out is told by two strata of the test queries:

- ``entity``: ``unseen`` when training never mentions the subject, not even inside other names.
  This is what a zero-shot claim on this set means; ``seen`` subjects are known by other facts.
- ``wording``: ``unseen`` when the question's template is never trained on. The headline is the
  unseen wording; with seen wording, a monolingual model is rewarded for knowing the template.

The dev split holds other entities and other facts, in seen wording only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import ClassVar

from xling.config.schema import DatasetConfig
from xling.data.fingerprint import fingerprint_items, fingerprint_retrieval
from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, TextPair, TrainingSet, sorted_passages
from xling.data.registry import Adapter, register
from xling.data.sets.geo_facts import LANGUAGES, Fact, extract
from xling.data.sets.geo_holdout import HeldOut, holdout
from xling.data.sets.geo_templates import passage, question


@register
class Geo(Adapter):
    """Adapter of the set; ``languages`` restricts texts, never which facts are held out."""

    name: ClassVar[str] = "geo"
    summary: ClassVar[str] = "Embedded facts of the CLDR in eight languages: no download, for demos and tests"
    licence: ClassVar[str] = "Unicode licence (the CLDR, as Babel ships it)"
    files: ClassVar[str] = "none: made from the CLDR that Babel brings"
    options: ClassVar[frozenset[str]] = frozenset({"languages"})
    splits: ClassVar[tuple[str, ...]] = ("test", "dev")
    can_train: ClassVar[bool] = True

    def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
        return LANGUAGES

    def load_training(self, config: DatasetConfig) -> TrainingSet:
        return _training(_chosen(config))

    def load_dev(self, config: DatasetConfig) -> RetrievalSet:
        return _retrieval("dev", _chosen(config))

    def load_evaluation(self, config: DatasetConfig) -> RetrievalSet:
        return _retrieval(config.split or "test", _chosen(config))


def _chosen(config: DatasetConfig) -> tuple[str, ...]:
    """The languages asked for, in the set's own order: an order in the file is no other data set."""
    return tuple(language for language in LANGUAGES if config.languages is None or language in config.languages)


@cache
def _training(languages: tuple[str, ...]) -> TrainingSet:
    facts = holdout().train
    items = tuple(_item(fact, languages) for fact in facts)
    names = tuple(_name_items(facts, languages))
    return TrainingSet(
        name="geo",
        languages=languages,
        items=items,
        fingerprint=fingerprint_items(languages, items),
        names=names,
        names_fingerprint=fingerprint_items(languages, names),
    )


def _item(fact: Fact, languages: tuple[str, ...]) -> ParallelItem:
    _, names = extract()
    texts = {
        language: TextPair(question(fact, language, names), passage(fact, language, names), f"{language}/{fact.id}")
        for language in languages
    }
    return ParallelItem(fact.id, names[fact.subject]["en"], texts)


def _name_items(facts: Iterable[Fact], languages: tuple[str, ...]) -> Iterable[ParallelItem]:
    """Parallel names of what training facts mention: nothing that is only held out is among them."""
    _, names = extract()
    for key in sorted({key for fact in facts for key in (fact.subject, fact.answer)}):
        item_id = f"name.{key}"
        texts = {
            language: TextPair(names[key][language], names[key][language], f"{language}/{item_id}")
            for language in languages
        }
        yield ParallelItem(item_id, names[key]["en"], texts)


@cache
def _retrieval(split: str, languages: tuple[str, ...]) -> RetrievalSet:
    division = holdout()
    held_out = {"test": division.test, "dev": division.dev}[split]
    wordings = ("seen", "unseen") if split == "test" else ("seen",)
    queries = {language: tuple(_queries(held_out, language, wordings)) for language in languages}
    passages = {language: tuple(sorted_passages(_passages(held_out, language))) for language in languages}
    qrels = {
        f"{language}/{fact.id}/{wording}-wording": {f"{other}/{fact.id}": 1 for other in languages}
        for language in languages
        for fact in held_out.facts
        for wording in wordings
    }
    return RetrievalSet(
        name="geo" if split == "test" else f"geo-{split}",
        languages=languages,
        queries=queries,
        passages=passages,
        qrels=qrels,
        fingerprint=fingerprint_retrieval(languages, queries, passages, qrels),
        # Seen entities share their article with training by design; no text is shared.
        zero_shot_levels=("paragraph", "question"),
    )


def _queries(held_out: HeldOut, language: str, wordings: tuple[str, ...]) -> Iterable[Query]:
    _, names = extract()
    for fact in held_out.facts:
        entity = "unseen" if fact.subject in held_out.unseen_entities else "seen"
        for wording in wordings:
            text = question(fact, language, names, unseen=wording == "unseen")
            strata = {"entity": entity, "wording": wording}
            yield Query(f"{language}/{fact.id}/{wording}-wording", language, text, strata)


def _passages(held_out: HeldOut, language: str) -> list[Passage]:
    _, names = extract()
    return [
        Passage(f"{language}/{fact.id}", language, passage(fact, language, names), article=names[fact.subject]["en"])
        for fact in held_out.facts
    ]
