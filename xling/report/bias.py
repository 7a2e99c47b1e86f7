"""Tables of language bias: by language, by script, and by whether a language was trained on.

Training languages are an argument: scores do not depend on them. A result says which they were, where
that is known.

Shapes: L languages, K ranks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.result import EvaluationResult, PoolResult
from xling.languages import same_script, trained_on
from xling.report.tables import Grid, number

Values = NDArray[np.float64]
Selection = NDArray[np.bool_]


def languages_at_ranks(result: EvaluationResult, query_language: str) -> Grid | None:
    """For one query language: the share of each language at each rank of the pool, and what is expected.

    None where the result has no pool, or does not hold it.
    """
    pool = result.pool
    if pool is None or pool.languages_at_ranks is None:
        return None
    shares_KL = pool.languages_at_ranks[result.languages.index(query_language)]
    body = [[str(rank), *_numbers(shares_L)] for rank, shares_L in enumerate(shares_KL, start=1)]
    body.append([f"1–{len(shares_KL)}", *_numbers(shares_KL.mean(axis=0))])
    body.append(["expected", *_numbers(pool.own_language_share_expected)])
    return ["rank", *result.languages], body


def nearest_languages(result: EvaluationResult) -> Grid | None:
    """Each query language's nearest passages by language, and what is expected of a ranking blind to language."""
    pool = result.pool
    if pool is None or pool.languages_at_ranks is None:
        return None
    shares_LL = pool.languages_at_ranks.mean(axis=1)
    body = [[code, *_numbers(shares_L)] for code, shares_L in zip(result.languages, shares_LL, strict=True)]
    return ["query", *result.languages], [*body, ["expected", *_numbers(pool.own_language_share_expected)]]


def own_share_by_rank(result: EvaluationResult) -> Values | None:
    """At each of the first ranks of the pool the share of passages in the query's own language, mean over languages.

    None where the result has no pool, or does not hold it.
    """
    pool = result.pool
    if pool is None or pool.languages_at_ranks is None:
        return None
    own_LK = np.diagonal(pool.languages_at_ranks, axis1=0, axis2=2).T
    mean_K: Values = own_LK[pool.queries > 0].mean(axis=0)
    return mean_K


def bias_grids(label: str, result: EvaluationResult, seen: Collection[str]) -> list[tuple[str, Grid]]:
    """A model's language bias, and its scores by which languages it was trained on, with their titles."""
    grids = (
        (f"language bias of {label} (shares of the ten nearest over those expected)", bias_by_language(result, seen)),
        (f"{result.measures[0]} of {label}, by training language", by_training_language(result, seen)),
    )
    return [(title, grid) for title, grid in grids if grid is not None]


def bias_by_language(result: EvaluationResult, seen: Collection[str] = ()) -> Grid | None:
    """A row a query language, then macro means: over all, over those seen in training and those unseen.

    Rank distance of all relevant passages, of those in the query's script and of the others; of the
    nearest passages the share in the query's own language, in other languages of its script, in
    other scripts and in training languages, each over what is expected of a ranking blind to
    language: 1 is no bias, 2 twice as many.
    """
    pool = result.pool
    if pool is None or pool.languages_at_ranks is None:
        return None
    groups = _groups(result.languages, seen)
    headings = ["query", "rank dist.", "same\nscript", "other\nscripts", *(f"{name}\nx exp." for name in groups)]
    rows_LF = _figures(pool, groups)
    asked_L = pool.queries > 0
    body = [[code, *_row(rows_LF[i])] for i, code in enumerate(result.languages) if asked_L[i]]
    trained_L = np.array(trained_on(result.languages, seen))
    parts = {"all": asked_L, "seen": asked_L & trained_L, "unseen": asked_L & ~trained_L}
    for name, part_L in parts.items():
        if part_L.any() and (name == "all" or (seen and not part_L.all())):
            body.append([name, *_row(np.array([_mean(column) for column in rows_LF[part_L].T]))])
    return headings, body


def by_training_language(result: EvaluationResult, seen: Collection[str]) -> Grid | None:
    """The leading measure over pairs whose languages were trained on or not; None where all or none were."""
    trained_L = np.array(trained_on(result.languages, seen))
    if trained_L.all() or not trained_L.any():
        return None
    lead = result.measures[0]
    values_LL = result.pair_values[lead]
    own_LL, same_LL = np.eye(len(result.languages), dtype=bool), np.array(same_script(result.languages))
    columns = (own_LL, ~own_LL, ~own_LL & same_LL, ~same_LL)
    body = []
    for query, passage in ((True, True), (True, False), (False, True), (False, False)):
        group_LL = (trained_L == query)[:, None] & (trained_L == passage)
        names = ["seen" if trained else "unseen" for trained in (query, passage)]
        body.append([*names, *(number(_mean(values_LL[group_LL & column]), 3) for column in columns)])
    return ["query", "passage", f"{lead}\nMo.", "Cr.", "Cr. same\nscript", "Cr. other\nscripts"], body


def _groups(languages: Sequence[str], seen: Collection[str]) -> dict[str, Selection]:
    """By name, which language (across) belongs to the group of which query language (down)."""
    own_LL, same_LL = np.eye(len(languages), dtype=bool), np.array(same_script(languages))
    groups = {"own": own_LL, "script": same_LL & ~own_LL, "others": ~same_LL}
    trained_L = np.array(trained_on(languages, seen))
    if trained_L.any() and not trained_L.all():
        groups["seen"] = np.broadcast_to(trained_L, own_LL.shape)
    return groups


def _figures(pool: PoolResult, groups: dict[str, Selection]) -> Values:
    assert pool.languages_at_ranks is not None, "the caller looks"
    shares_LL, expected_L = pool.languages_at_ranks.mean(axis=1), pool.own_language_share_expected
    unknown_L = np.full(len(expected_L), np.nan)
    columns = [
        pool.rank_distance,
        *(
            unknown_L if of is None else of
            for of in (pool.rank_distance_same_script, pool.rank_distance_different_script)
        ),
    ]
    for members_LL in groups.values():
        expected = members_LL @ expected_L
        share_L = np.where(members_LL, shares_LL, 0.0).sum(axis=1)
        columns.append(np.divide(share_L, expected, out=unknown_L.copy(), where=expected > 0))
    return np.stack(columns, axis=1)


def _row(values_F: Values) -> list[str]:
    return [*(number(value, 1) for value in values_F[:3]), *(number(value, 2) for value in values_F[3:])]


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _numbers(values: Values) -> list[str]:
    return [number(value, 3) for value in values.tolist()]
