"""A retrieval set cut down to some language pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xling.data.fingerprint import fingerprint_retrieval
from xling.data.records import RetrievalSet
from xling.errors import ConfigError
from xling.languages import LangPair


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
    language_of = {passage.id: code for code in languages for passage in passages[code]}
    qrels = {
        query.id: {
            passage: grade
            for passage, grade in retrieval.qrels.get(query.id, {}).items()
            if language_of.get(passage) in wanted[code]
        }
        for code in wanted
        for query in queries[code]
    }
    return replace(
        retrieval,
        languages=languages,
        queries=queries,
        passages=passages,
        qrels=qrels,
        fingerprint=fingerprint_retrieval(languages, queries, passages, qrels),
        pooled=False,
    )
