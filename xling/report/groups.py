"""Scores by script and by whether languages were trained on, of every size and mix."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.result import EvaluationResult
from xling.report.blocks import Block, Section, Table
from xling.report.cell_values import Figure, Point, SweepValues
from xling.report.composition import by_trained_pairs
from xling.report.estimates import FEWEST_SEEDS, Estimate, basis_says, from_seeds
from xling.report.tables import Grid, alpha_text, by_script, number, signed_number

_SAME, _OTHER = "Cr_same_script", "Cr_different_script"
_LANGUAGES = {
    "Mo_seen": "Mo. of languages trained on",
    "Mo_unseen": "Mo. of others",
    "Cr_seen": "Cr. between languages trained on",
    "Cr_mixed": "Cr. with one of them",
    "Cr_unseen": "Cr. between others",
}


def language_groups(result: EvaluationResult, seen: Collection[str], measure: str) -> dict[str, float]:
    """Means of a measure over pairs by whether their languages were trained on, by name (``mAP/Mo_seen``).

    Empty where all were, or none. A group without a scored pair is left out.
    """
    trained_L = np.array([code in seen for code in result.languages])
    if measure not in result.pair_values or trained_L.all() or not trained_L.any():
        return {}
    values_LL = result.pair_values[measure]
    own_LL = np.eye(len(trained_L), dtype=bool)
    number_LL = trained_L[:, None].astype(int) + trained_L
    groups = {
        "Mo_seen": own_LL & (number_LL == 2),
        "Mo_unseen": own_LL & (number_LL == 0),
        "Cr_seen": ~own_LL & (number_LL == 2),
        "Cr_mixed": number_LL == 1,
        "Cr_unseen": ~own_LL & (number_LL == 0),
    }
    means = {f"{measure}/{name}": _mean(values_LL[group_LL]) for name, group_LL in groups.items()}
    return {name: mean for name, mean in means.items() if mean is not None}


def groups(sweep: SweepValues, figures: Sequence[Figure]) -> Section | None:
    """Tables by script, by languages and by pairs trained on; None where a data set has no such groups."""
    blocks: list[Block] = []
    says: list[str] = []
    measure = next((figure.measure for figure in figures if figure.group in ("Mo", "Cr")), "")
    if (scripts := by_script(sweep.rows)) is not None:
        blocks.append(Table("scripts", "Across languages, by script", scripts))
        gaps = _gaps(sweep)
        blocks.append(Table("script-gap", "Cr. in one script less Cr. between scripts", _gap_grid(gaps), _GAP_NOTE))
        says.append(_gap_says(gaps))
    if (languages := _language_grid(sweep, measure)) is not None:
        blocks.append(
            Table("languages", f"{measure} by whether languages were trained on (means over seeds)", languages)
        )
        says.append(_languages_say(sweep, measure))
    if (pairs := by_trained_pairs(sweep.rows)) is not None:
        blocks.append(Table("trained-pairs", "Across languages, by whether the pair was trained on", pairs))
    if not blocks:
        return None
    return Section("groups", "Scripts and unseen languages", tuple(filter(None, says)), tuple(blocks))


_GAP_NOTE = "Other languages stand on either side: the difference is not that of script alone."


def _gaps(sweep: SweepValues) -> dict[Point, Estimate]:
    """Of every point the mean over pairs of one script less that over pairs of two; t-intervals with seeds enough."""
    same, other = (Figure(f"mAP/{group}", group) for group in (_SAME, _OTHER))
    found = {}
    for point in sweep.points:
        of_same, of_other = sweep.seeds(same, point), sweep.seeds(other, point)
        values = [of_same[seed] - of_other[seed] for seed in sorted(of_same.keys() & of_other.keys())]
        if values:
            found[point] = from_seeds(values)
    return found


def _gap_grid(gaps: dict[Point, Estimate]) -> Grid:
    body = [
        [size, alpha_text(ratio), signed_number(e.value, 3), e.interval_text(3, sign=True), e.basis_text()]
        for (size, ratio), e in gaps.items()
    ]
    return ["size", "alpha", "difference", "95 % interval", "interval over"], body


def _gap_says(gaps: dict[Point, Estimate]) -> str:
    values = [e.value for e in gaps.values()]
    span = f"{signed_number(min(values), 3)} to {signed_number(max(values), 3)}"
    text = f"Pairs of one script against pairs of two: {span} in Cr."
    known = [estimate for estimate in gaps.values() if estimate.low == estimate.low]
    if known:
        apart = sum(estimate.decided for estimate in known)
        text += f" At {apart} of {len(known)} points the 95 % interval leaves out 0 (each by itself)."
    if len(known) < len(gaps):
        return f"{text} An interval of this difference takes {FEWEST_SEEDS} seeds."
    return f"{text} {basis_says(known)}"


def _language_grid(sweep: SweepValues, measure: str) -> Grid | None:
    found = {name: _means(sweep, f"{measure}/{name}") for name in _LANGUAGES}
    found = {name: means for name, means in found.items() if means}
    if not found:
        return None
    gaps = _language_gaps(sweep, measure)
    body = [
        [size, alpha_text(ratio), *(_text(means.get((size, ratio))) for means in found.values())]
        for size, ratio in sweep.points
    ]
    for row, point in zip(body, sweep.points, strict=True):
        row.append(signed_number(gaps[point], 3) if point in gaps else "–")
    return ["size", "alpha", *(_LANGUAGES[name] for name in found), "Mo., trained on less others"], body


def _languages_say(sweep: SweepValues, measure: str) -> str:
    gaps = _language_gaps(sweep, measure)
    if not gaps:
        return ""
    ends = [
        f"{signed_number(gaps[p], 3)} ({p[0]} at alpha {p[1]})"
        for p in (min(gaps, key=gaps.__getitem__), max(gaps, key=gaps.__getitem__))
    ]
    return (
        f"Mo. of the languages trained on, less that of the others: {' to '.join(dict.fromkeys(ends))}. The languages "
        "themselves differ too: what training on them brings is not told apart from that."
    )


def _language_gaps(sweep: SweepValues, measure: str) -> dict[Point, float]:
    """Of every point Mo. of the languages trained on, less that of the others."""
    seen, unseen = (_means(sweep, f"{measure}/Mo_{name}") for name in ("seen", "unseen"))
    return {point: seen[point] - unseen[point] for point in seen if point in unseen}


def _means(sweep: SweepValues, name: str) -> dict[Point, float]:
    found = {point: list(sweep.seeds(Figure(name, name), point).values()) for point in sweep.points}
    return {point: float(np.mean(values)) for point, values in found.items() if values}


def _text(value: float | None) -> str:
    return "–" if value is None else number(value, 3)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
