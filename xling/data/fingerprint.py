"""Digests of data content: what makes two loads of a data set the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from xling.data.corpus import Corpus
from xling.data.records import ParallelItem, Passage, Query


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """Hex digest (blake2b, 16 bytes) of a sequence of texts.

    Every part is preceded by its length, so that ``["ab", "c"]`` and ``["a", "bc"]`` differ.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint_items(
    languages: Sequence[str], items: Sequence[ParallelItem], negatives: Mapping[str, str] | None = None
) -> str:
    """Digest of training items: their order, ids, articles, and the texts in ``languages``.

    Args:
        negatives: texts of the hard negatives by passage id; without any the digest is what it was
            before items could have them.
    """
    return fingerprint(_negative_parts(languages, items, negatives) if negatives else _item_parts(languages, items))


def fingerprint_retrieval(
    languages: Sequence[str],
    queries: Mapping[str, Sequence[Query]],
    passages: Mapping[str, Sequence[Passage]],
    qrels: Mapping[str, Mapping[str, int]],
    answers: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Digest of an evaluation set: queries with strata, candidates and judgements, by language.

    For a big corpus its own digest stands, which was taken when it was built. Sets without
    ``answers`` keep the digest they had before there were any.
    """
    parts = _retrieval_parts(languages, queries, passages, qrels)
    return fingerprint(chain(parts, _answer_parts(answers)) if answers else parts)


def _item_parts(languages: Sequence[str], items: Iterable[ParallelItem]) -> Iterator[str]:
    yield from ("items", str(len(languages)), *languages)
    for item in items:
        present = [language for language in languages if language in item.texts]
        yield from (item.id, item.article, str(len(present)))
        for language in present:
            pair = item.texts[language]
            yield from (language, pair.question, pair.passage_id, pair.passage)


def _negative_parts(
    languages: Sequence[str], items: Sequence[ParallelItem], negatives: Mapping[str, str]
) -> Iterator[str]:
    yield from ("items with negatives", *_item_parts(languages, items))
    for item in items:
        for language in languages:
            named = item.texts[language].negatives if language in item.texts else ()
            yield from (str(len(named)), *named)
    for passage_id in sorted(negatives):
        yield from (passage_id, negatives[passage_id])


def _retrieval_parts(
    languages: Sequence[str],
    queries: Mapping[str, Sequence[Query]],
    passages: Mapping[str, Sequence[Passage]],
    qrels: Mapping[str, Mapping[str, int]],
) -> Iterator[str]:
    yield from ("retrieval", str(len(languages)), *languages)
    for language in languages:
        yield str(len(queries[language]))
        for query in queries[language]:
            strata = sorted(query.strata.items())
            yield from (query.id, query.text, str(len(strata)), *(part for pair in strata for part in pair))
        candidates = passages[language]
        yield str(len(candidates))
        if isinstance(candidates, Corpus):
            yield from ("corpus", candidates.digest)
            continue
        for passage in candidates:
            yield from (passage.id, passage.text, passage.context, passage.article)
    for query_id in sorted(qrels):
        grades = sorted(qrels[query_id].items())
        yield from (query_id, str(len(grades)))
        for passage_id, grade in grades:
            yield from (passage_id, str(grade))


def _answer_parts(answers: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield "answers"
    for query_id in sorted(answers):
        yield from (query_id, str(len(answers[query_id])), *answers[query_id])
