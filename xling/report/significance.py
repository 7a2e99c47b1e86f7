"""Tables of two systems held against each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xling.evaluate.significance import Comparison, Effect
from xling.report.tables import Grid, number, signed_number

LEVEL = 0.05
LESS_IS_BETTER = ("rank_distance", "own_language_share")


def better(effect: Effect, measure: str) -> str:
    """``A``, ``B``, or a dash where chance explains the difference: p (Holm's, where there is one) of .05 or more."""
    p = effect.p if effect.p_holm is None else effect.p_holm
    if p >= LEVEL or effect.difference == 0:
        return "–"
    return "A" if (effect.difference > 0) != (measure in LESS_IS_BETTER) else "B"


def effects(comparison: Comparison, chosen: Sequence[Effect] | None = None) -> Grid:
    """A row a figure: both systems, their difference with its interval, p-values, and which is better."""
    digits = 1 if comparison.measure == "rank_distance" else 3
    body = [
        [
            effect.name,
            str(effect.queries),
            number(effect.a, digits),
            number(effect.b, digits),
            signed_number(effect.difference, digits),
            f"{signed_number(effect.low, digits)} … {signed_number(effect.high, digits)}",
            p_value(effect.p),
            "" if effect.p_holm is None else p_value(effect.p_holm),
            better(effect, comparison.measure),
        ]
        for effect in (comparison.effects if chosen is None else chosen)
    ]
    return ["effect", "queries", "A", "B", "A - B", "95 % interval", "p", "p (Holm)", "better"], body


def p_value(p: float) -> str:
    """``.012``; ``<.05`` where three decimals would make one below the level look as large as it."""
    if p < 0.001:
        return "<.001"
    return "<.05" if p < LEVEL <= round(p, 3) else number(p, 3)


def as_record(comparison: Comparison) -> dict[str, Any]:
    """For JSON: everything, NaN as null."""
    names = ("queries", "a", "b", "difference", "low", "high", "p", "p_holm")
    return {
        "measure": comparison.measure,
        "questions": comparison.questions,
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "effects": {
            effect.name: {
                **{name: _plain(getattr(effect, name)) for name in names},
                "better": better(effect, comparison.measure).replace("–", "") or None,
            }
            for effect in comparison.effects
        },
    }


def _plain(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
