"""The part of a training set that is held out to measure on while training.

The rule is one for all data sets: articles are taken whole, in the order of a seeded hash of
their names, until a tenth of them is held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from xling.data.fingerprint import fingerprint, fingerprint_retrieval
from xling.data.overlap import article_key
from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, sorted_passages

DEV_SHARE = 10  # one article in ten is held out for dev
DEV_SEED = "xling dev split 1"  # another seed is another split: never change it, trained cells depend on it


def dev_articles(articles: Iterable[str], at_most: int | None = None) -> frozenset[str]:
    """The articles held out for dev: those in the lowest tenth by seeded hash, at least one.

    Articles that the zero-shot check takes for one, as their names differ in Unicode form, case or underscores
    alone, are held out together, by the hash of the smallest name.

    Args:
        articles: of each question.
        at_most: stop before the articles have more questions than this.
    """
    questions = Counter(articles)
    named: dict[str, list[str]] = {}
    for article in sorted(questions):
        named.setdefault(article_key(article), []).append(article)
    ranked = sorted(named.values(), key=lambda names: fingerprint([DEV_SEED, names[0]]))
    chosen = ranked[: max(1, round(len(ranked) / DEV_SHARE))]
    if at_most is not None:
        total = 0
        for count, names in enumerate(chosen):
            total += sum(questions[name] for name in names)
            if total > at_most and count:
                chosen = chosen[:count]
                break
    return frozenset(name for names in chosen for name in names)


def linked(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """One name for all keys whose groups share a member, directly or over others: their smallest member.

    Holding such keys out together leaves nothing that one of them names with the others.
    """
    parents: dict[str, str] = {}

    def root(node: str) -> str:
        while parents.setdefault(node, node) != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for members in groups.values():
        roots = sorted({root(member) for member in members})
        for other in roots[1:]:
            parents[other] = roots[0]
    return {key: root(members[0]) for key, members in groups.items()}


def as_retrieval(
    name: str, languages: tuple[str, ...], items: Sequence[ParallelItem], questions: Mapping[str, str] | None = None
) -> RetrievalSet:
    """Items as queries over their distinct passages; a language in which no item exists is left out.

    Args:
        questions: names by item id; items of one name are one query in a language, which all their passages answer.
    """
    present = tuple(language for language in languages if any(language in item.texts for item in items))
    queries: dict[str, dict[str, Query]] = {language: {} for language in present}
    passages: dict[str, dict[str, Passage]] = {language: {} for language in present}
    qrels: dict[str, dict[str, int]] = {}
    for item in items:
        relevant = {pair.passage_id: 1 for pair in item.texts.values()}
        for language, pair in item.texts.items():
            query = Query(f"{language}/{(questions or {}).get(item.id, item.id)}", language, pair.question)
            queries[language].setdefault(query.id, query)
            qrels[query.id] = qrels.get(query.id, {}) | relevant
            passage = Passage(pair.passage_id, language, pair.passage, article=item.article)
            passages[language].setdefault(passage.id, passage)
    asked = {language: list(queries[language].values()) for language in present}
    candidates = {language: sorted_passages(list(passages[language].values())) for language in present}
    digest = fingerprint_retrieval(present, asked, candidates, qrels)
    return RetrievalSet(name, present, asked, candidates, qrels, digest)
