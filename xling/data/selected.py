"""A retrieval set cut down to some language pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xling.data.fingerprint import fingerprint_retrieval
from xling.data.records import RetrievalSet
from xling.errors import ConfigError
from xling.languages import LangPair


def parse_pairs(text: str) -> tuple[LangPair, ...]:
    """Read ``ar-en,de-en``. Raises ConfigError when a part is not a pair, or stands there twice."""
    try:
        pairs = tuple(LangPair.parse(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--pairs {error}") from None
    twice = sorted({str(pair) for pair in pairs if pairs.count(pair) > 1})
    if twice:
        raise ConfigError(f"--pairs names {', '.join(twice)} more than once; name each once")
    return pairs


def languages_of(pairs: Sequence[LangPair]) -> tuple[str, ...]:
    """The languages that the pairs name, in order of appearance: all that must be loaded for them."""
    return tuple(dict.fromkeys(code for pair in pairs for code in (pair.query, pair.passage)))


def select_pairs(retrieval: RetrievalSet, pairs: Sequence[LangPair]) -> RetrievalSet:
    """Keep the queries, candidates and judgements that the pairs need; there is no all-language pool then.

    Raises:
        ConfigError: the set lacks one of the languages, or has no judgements across languages for
            a pair of two.
    """
    for pair in pairs:
        for code in (pair.query, pair.passage):
            if code not in retrieval.languages:
                known = ", ".join(retrieval.languages)
                raise ConfigError(f"pair {pair} needs {code!r}, which {retrieval.name} lacks; it has {known}")
        if not pair.is_monolingual and not retrieval.cross_lingual:
            raise ConfigError(
                f"pair {pair}: {retrieval.name} is judged within each language only; ask for pairs like "
                f"{LangPair(pair.query, pair.query)}"
            )
    wanted = {pair.query: {other.passage for other in pairs if other.query == pair.query} for pair in pairs}
    candidates = {pair.passage for pair in pairs}
    languages = tuple(code for code in retrieval.languages if code in languages_of(pairs))
    queries = {code: retrieval.queries[code] if code in wanted else () for code in languages}
    passages = {code: retrieval.passages[code] if code in candidates else () for code in languages}
    asked = [query.id for code in wanted for query in queries[code]]
    qrels = {query: dict(retrieval.qrels.get(query, {})) for query in asked if retrieval.qrels}
    answers = {query: retrieval.answers[query] for query in asked if query in retrieval.answers}
    if retrieval.cross_lingual and any(qrels.values()):  # else all are on passages of the query's own language
        language_of = {passage.id: code for code in candidates for passage in passages[code]}
        for code, targets in wanted.items():
            for query in queries[code]:
                grades = qrels[query.id].items()
                qrels[query.id] = {passage: grade for passage, grade in grades if language_of.get(passage) in targets}
    return replace(
        retrieval,
        languages=languages,
        queries=queries,
        passages=passages,
        qrels=qrels,
        fingerprint=fingerprint_retrieval(languages, queries, passages, qrels, answers),
        answers=answers,
        pooled=False,
    )
