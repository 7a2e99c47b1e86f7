"""From ranks to values a query, and from those to means over pairs, languages and strata.

Shapes: L languages, P judged (query, target) combinations; a target is a passage language
(0..L-1) or the all-language pool (L).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.bias import POOL_FIGURES, rank_distance, rank_distance_within
from xling.evaluate.layout import Indices, Layout
from xling.evaluate.measures import Measure, RelevantRanks, Values
from xling.evaluate.scoring import LanguageScores
from xling.languages import same_script

Selection = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class QueryValues:
    """One entry for each query and target it has relevant passages in.

    ``rows_P`` numbers the queries of one language. ``values`` holds an array over P by measure
    and, where the target is the pool and NaN elsewhere, ``rank_distance`` and
    ``own_language_share``.
    """

    languages_P: Indices
    targets_P: Indices
    rows_P: Indices
    relevant_P: Indices
    values: Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Means:
    """Means over queries by query language and target, L x (L + 1), the pool last; NaN where no query counts."""

    queries: Indices
    values: Mapping[str, Values]


def collect(layout: Layout, scores: Sequence[LanguageScores], wanted: Mapping[str, Measure]) -> QueryValues:
    """Measure every query against every target; ``scores`` has one entry a query language."""
    parts = []
    for language, of_language in enumerate(scores):
        judged = layout.queries[language]
        parts.append(_measure(layout, language, judged.targets_R, of_language.pair_ranks_R, None, wanted))
        if layout.pooled:
            pool_R = np.full_like(judged.targets_R, len(layout.languages))
            parts.append(_measure(layout, language, pool_R, of_language.pool_ranks_R, of_language.own_share_Q, wanted))
    return QueryValues(
        languages_P=np.concatenate([part.languages_P for part in parts]),
        targets_P=np.concatenate([part.targets_P for part in parts]),
        rows_P=np.concatenate([part.rows_P for part in parts]),
        relevant_P=np.concatenate([part.relevant_P for part in parts]),
        values={name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
    )


def _measure(
    layout: Layout,
    language: int,
    targets_R: Indices,
    ranks_R: Indices,
    own_share_Q: Values | None,
    wanted: Mapping[str, Measure],
) -> QueryValues:
    """Every query of a language against every target it is judged on, by target and then by query."""
    judged = layout.queries[language]
    cells_P, query_R = np.unique(targets_R * max(1, len(judged.ids)) + judged.rows_R, return_inverse=True)
    targets_P, rows_P = np.divmod(cells_P, max(1, len(judged.ids)))
    found = RelevantRanks.of(query_R, ranks_R, judged.grades_R, len(cells_P))
    values = {name: measure.values(found) for name, measure in wanted.items()}
    nothing_P = np.full(len(rows_P), np.nan)
    values["rank_distance"] = nothing_P if own_share_Q is None else rank_distance(found)
    values["own_language_share"] = nothing_P if own_share_Q is None else own_share_Q[rows_P]
    return QueryValues(
        languages_P=np.full(len(rows_P), language),
        targets_P=targets_P,
        rows_P=rows_P,
        relevant_P=found.count_Q,
        values=values,
    )


def collect_answers(layout: Layout, answered: Sequence[Mapping[str, Values]]) -> QueryValues:
    """The values of a set that is judged by answers: each language's queries against the one corpus.

    Args:
        answered: by query language, a value a query and measure; NaN where no answer counts.
    """
    target = int(np.argmax(np.diff(layout.passage_offsets)))
    names = list(answered[0])
    rows = [np.flatnonzero(~np.isnan(values[names[0]])) for values in answered]
    values = {
        name: np.concatenate([of_language[name][rows_P] for of_language, rows_P in zip(answered, rows, strict=True)])
        for name in names
    }
    count = sum(len(rows_P) for rows_P in rows)
    return QueryValues(
        languages_P=np.repeat(np.arange(len(answered)), [len(rows_P) for rows_P in rows]),
        targets_P=np.full(count, target),
        rows_P=np.concatenate(rows),
        relevant_P=np.zeros(count, np.int64),
        values=values | {name: np.full(count, np.nan) for name in POOL_FIGURES},
    )


def means(layout: Layout, queries: QueryValues, selected_P: Selection | None = None) -> Means:
    """Mean over the (selected) queries of each query language and target."""
    size = len(layout.languages)
    chosen: Selection | slice = slice(None) if selected_P is None else selected_P
    cells_P = queries.languages_P[chosen] * (size + 1) + queries.targets_P[chosen]
    counts = np.bincount(cells_P, minlength=size * (size + 1))
    values = {}
    for name, values_P in queries.values.items():
        sums = np.bincount(cells_P, weights=values_P[chosen], minlength=len(counts))
        cell_means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        values[name] = cell_means.reshape(size, size + 1)
    return Means(counts.reshape(size, size + 1), values)


def language_shares(layout: Layout, scores: Sequence[LanguageScores]) -> Values | None:
    """By query language and rank the share of passages in each language, L x K x L; NaN where no query counts."""
    counts = [of_language.languages_KL for of_language in scores]
    depth = max((len(of) for of in counts if of is not None), default=0)
    if not depth:
        return None
    empty = np.zeros((depth, len(layout.languages)), np.int64)
    counts_LKL = np.stack([empty if of is None else of for of in counts])
    totals = counts_LKL.sum(axis=2, keepdims=True)
    shares_LKL: Values = np.divide(counts_LKL, totals, out=np.full(counts_LKL.shape, np.nan), where=totals > 0)
    return shares_LKL


def script_distance(layout: Layout, scores: Sequence[LanguageScores], *, same: bool) -> Values:
    """Rank distance between relevant passages in (not in) the query language's script, by query language."""
    same_LL = np.array(same_script(layout.languages))
    return np.array(
        [
            rank_distance_within(judged.rows_R, of_language.pool_ranks_R, same_LL[language, judged.targets_R] == same)
            for language, (judged, of_language) in enumerate(zip(layout.queries, scores, strict=True))
        ],
        np.float64,
    )


def headline(layout: Layout, of_pairs: Means) -> dict[str, float]:
    """The macro means, named ``measure/aggregate``; an aggregate over no pair at all is left out.

    Aggregates: ``Mo`` over monolingual pairs, ``Cr`` over ordered pairs of different languages,
    ``Cr_same_script`` and ``Cr_different_script`` over those whose scripts agree or not, ``Mul``
    over query languages against the pool. Besides them ``rank_distance`` and
    ``own_language_share``, over query languages.
    """
    own_LL = np.eye(len(layout.languages), dtype=np.bool_)
    same_LL = np.array(same_script(layout.languages))
    groups = {"Mo": own_LL, "Cr": ~own_LL, "Cr_same_script": ~own_LL & same_LL, "Cr_different_script": ~same_LL}
    result = {}
    for name, of_measure in of_pairs.values.items():
        if name in POOL_FIGURES:
            continue
        for group, members in groups.items():
            result[f"{name}/{group}"] = _macro(of_measure[:, :-1][members])
        result[f"{name}/Mul"] = _macro(of_measure[:, -1])
    asked_L = of_pairs.queries[:, -1] > 0
    for name in POOL_FIGURES:
        # Not through _macro: a language whose rank distance is not known leaves the mean unknown.
        mean = float(of_pairs.values[name][asked_L, -1].mean()) if asked_L.any() else math.nan
        result[name] = None if math.isnan(mean) else mean
    return {name: value for name, value in result.items() if value is not None}


def _macro(values: Values) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def strata(layout: Layout, queries: QueryValues) -> dict[str, Selection]:
    """Which entries belong to each stratum: ``key=value``, and all keys together (``entity=unseen,wording=seen``)."""
    keys = sorted({key for judged in layout.queries for query in judged.strata for key in query})
    if not keys:
        return {}
    members: dict[str, list[Selection]] = {}
    labels = [[_labels(query, keys) for query in judged.strata] for judged in layout.queries]
    for label in sorted({label for of_language in labels for of_query in of_language for label in of_query}):
        members[label] = [np.array([label in of_query for of_query in of_language], np.bool_) for of_language in labels]
    selections = {}
    for label, of_languages in members.items():
        selected_P = np.zeros(len(queries.rows_P), np.bool_)
        for language, of_language in enumerate(of_languages):
            here = queries.languages_P == language
            selected_P[here] = of_language[queries.rows_P[here]]
        selections[label] = selected_P
    return selections


def _labels(query: Mapping[str, str], keys: Sequence[str]) -> set[str]:
    parts = [f"{key}={query[key]}" for key in keys if key in query]
    return {*parts, ",".join(parts)} if len(parts) == len(keys) and parts else set(parts)
