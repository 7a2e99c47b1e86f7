"""What is in a data set, in figures and a few rows: what ``xling data check`` shows. Values are plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from xling.data.corpus import Corpus
from xling.data.records import ParallelItem, Passage, Query, RetrievalSet, TrainingSet

PERCENTILES = (5, 50, 95, 100)
SAMPLE = 20_000  # texts that lengths are taken of, evenly spaced, where a language has more
SHOWN_CHARACTERS = 160  # of a text in a row

CountTokens = Callable[[Sequence[str]], list[int]]  # tokens of each text, special ones included


def describe_training(training: TrainingSet, rows: int, count_tokens: CountTokens | None = None) -> dict[str, Any]:
    """Counts and lengths by language, hard negatives, merged sets, and ``rows`` items evenly spaced."""
    questions: dict[str, list[str]] = {code: [] for code in training.languages}
    passages: dict[str, dict[str, str]] = {code: {} for code in training.languages}
    parallel = negatives = 0
    for item in training.items:
        parallel += len(item.texts) > 1
        for code, pair in item.texts.items():
            questions[code].append(pair.question)
            passages[code].setdefault(pair.passage_id, pair.passage)
            negatives += len(pair.negatives)
    languages = {
        code: {
            "items": len(questions[code]),
            "passages": len(passages[code]),
            **_lengths("query", questions[code], count_tokens),
            **_lengths("passage", list(passages[code].values()), count_tokens),
        }
        for code in training.languages
    }
    return {
        "name": training.name,
        "role": "training",
        "fingerprint": training.fingerprint,
        "items": len(training.items),
        "items_in_several_languages": parallel,
        "hard_negatives": negatives,
        "hard_negative_texts": len(training.negatives),
        "hard_negatives_a_pair": {
            code: {str(count): pairs for count, pairs in sorted(of.items())}
            for code, of in negatives_a_pair(training).items()
        },
        "names": len(training.names),
        "sets": dict(training.sets),
        "languages": languages,
        "rows": [_item(item) for item in _spaced(training.items, rows)],
    }


def negatives_a_pair(training: TrainingSet) -> dict[str, dict[int, int]]:
    """How many pairs have how many hard negatives, by language of the passage; empty where none has any.

    A pair is an item's passage in a language, with its question in whatever language.
    """
    if not training.negatives:
        return {}
    counts: dict[str, Counter[int]] = {code: Counter() for code in training.languages}
    for item in training.items:
        for code, pair in item.texts.items():
            counts[code][len(pair.negatives)] += 1
    return {code: dict(of) for code, of in counts.items()}


def describe_retrieval(
    retrieval: RetrievalSet, role: str, rows: int, count_tokens: CountTokens | None = None
) -> dict[str, Any]:
    """Counts and lengths by language, judgements, and ``rows`` queries with what is relevant to them."""
    languages = {}
    for code in retrieval.languages:
        queries, passages = retrieval.queries[code], retrieval.passages[code]
        judged = sum(any(grade > 0 for grade in retrieval.qrels.get(query.id, {}).values()) for query in queries)
        languages[code] = {
            "items": len(queries),
            "judged": judged if retrieval.qrels else sum(query.id in retrieval.answers for query in queries),
            "passages": len(passages),
            **_lengths("query", [query.text for query in _spaced(queries, SAMPLE)], count_tokens),
            **_lengths("passage", [passage.text for passage in _spaced(passages, SAMPLE)], count_tokens),
        }
    shown = _spaced([query for code in retrieval.languages for query in retrieval.queries[code]], rows)
    return {
        "name": retrieval.name,
        "role": role,
        "fingerprint": retrieval.fingerprint,
        "judgements": sum(map(len, retrieval.qrels.values())),
        "cross_lingual": retrieval.cross_lingual,
        "zero_shot_levels": list(retrieval.zero_shot_levels),
        "languages": languages,
        "rows": [_query(query, retrieval) for query in shown],
    }


def _lengths(side: str, texts: Sequence[str], count_tokens: CountTokens | None) -> dict[str, Any]:
    sample = list(_spaced(texts, SAMPLE))
    found: dict[str, Any] = {f"{side}_characters": _percentiles(map(len, sample))}
    if count_tokens is not None:
        found[f"{side}_tokens"] = _percentiles(count_tokens(sample))
    return found


def _percentiles(lengths: Iterable[int]) -> list[int]:
    """At PERCENTILES, each a length that occurs; empty when there are none."""
    values = np.fromiter(lengths, np.int64)
    return [int(value) for value in np.percentile(values, PERCENTILES, method="higher")] if len(values) else []


def _spaced(entries: Sequence[Any], count: int) -> Sequence[Any]:
    """At most ``count`` of them, evenly spaced."""
    if len(entries) <= count:
        return entries
    return [entries[position * len(entries) // count] for position in range(count)]


def _item(item: ParallelItem) -> dict[str, Any]:
    texts = {
        code: {
            "question": _short(pair.question),
            "passage": _short(pair.passage),
            **({"hard_negatives": len(pair.negatives)} if pair.negatives else {}),
        }
        for code, pair in item.texts.items()
    }
    return {"id": item.id, "article": item.article, "texts": texts}


def _query(query: Query, retrieval: RetrievalSet) -> dict[str, Any]:
    grades = retrieval.qrels.get(query.id, {})
    wanted = {passage_id for passage_id, grade in grades.items() if grade > 0}
    relevant = [passage for code in retrieval.languages for passage in _named(retrieval.passages[code], wanted)]
    return {
        "id": query.id,
        "language": query.language,
        "question": _short(query.text),
        "relevant": [{"id": p.id, "language": p.language, "passage": _short(p.text)} for p in relevant],
        **({"answers": list(retrieval.answers[query.id])} if query.id in retrieval.answers else {}),
    }


def _named(passages: Sequence[Passage], wanted: set[str]) -> list[Passage]:
    if isinstance(passages, Corpus):
        return [passages[position] for position in passages.positions(wanted).values()]
    return [passage for passage in passages if passage.id in wanted]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
