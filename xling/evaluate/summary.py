"""What a result's ``summary.json`` must hold to be read (evaluate/result.py); L languages."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class _Pairs(TypedDict):
    queries: list[list[int]]
    values: dict[str, list[list[float | None]]]


class _Pool(TypedDict):
    queries: list[int]
    values: dict[str, list[float | None]]
    rank_distance: list[float | None]
    own_language_share: list[float | None]
    own_language_share_expected: list[float | None]


class _Stratum(TypedDict):
    queries: int
    headline: dict[str, float]


class Summary(TypedDict):
    """``summary.json``, as far as all results have it."""

    dataset: str
    fingerprint: str
    languages: list[str]
    headline: dict[str, float]
    pairs: _Pairs
    pool: _Pool | None
    strata: dict[str, _Stratum]
    published: NotRequired[list[str]]
    search: NotRequired[dict[str, Any]]
    trained_languages: NotRequired[list[str]]
