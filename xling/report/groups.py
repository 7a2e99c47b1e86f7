"""Scores by script and by whether languages were trained on, of every size and mix."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xling.evaluate.result import EvaluationResult
from xling.languages import trained_on
from xling.report.blocks import Block, Section, Table
from xling.report.cell_values import Figure, Point, SweepValues
from xling.report.composition import by_trained_pairs
from xling.report.estimates import FEWEST_SEEDS, Estimate, Estimates, added, basis_says, from_seeds
from xling.report.tables import Grid, alpha_text, by_script, signed_number

_SAME, _OTHER = "Cr_same_script", "Cr_different_script"
LANGUAGE_GROUPS = {
    "Mo_seen": "Mo. of languages trained on",
    "Mo_unseen": "Mo. of others",
    "Cr_seen": "Cr. between languages trained on",
    "Cr_mixed": "Cr. with one of them",
    "Cr_unseen": "Cr. between others",
}


def language_groups(result: EvaluationResult, seen: Collection[str], measure: str) -> dict[str, float]:
    """Means of a measure over pairs by whether their languages were trained on, by name (``mAP/Mo_seen``).

    A group without a scored pair is left out.
    """
    trained_L = np.array(trained_on(result.languages, seen))
    if measure not in result.pair_values:
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


def groups(sweep: SweepValues, estimates: Estimates, figures: Sequence[Figure]) -> Section | None:
    """Tables by script, by languages and by pairs trained on; None where a data set has no such groups."""
    blocks: list[Block] = []
    says: list[str] = []
    measure = next((figure.measure for figure in figures if figure.group in ("Mo", "Cr")), "")
    if (scripts := by_script(sweep.rows)) is not None:
        blocks.append(Table("scripts", "Across languages, by script", scripts))
        gaps = _gaps(sweep, *(Figure(f"mAP/{group}", group) for group in (_SAME, _OTHER)))
        blocks.append(Table("script-gap", "Cr. in one script less Cr. between scripts", _gap_grid(gaps), _GAP_NOTE))
        says.append(_gap_says(gaps))
    if means := _language_means(estimates, measure):
        gaps = _gaps(sweep, *(Figure(f"{measure}/{name}", name) for name in ("Mo_seen", "Mo_unseen")))
        title = f"{measure} by whether languages were trained on (means over seeds, in brackets the 95 % interval)"
        blocks.append(Table("languages", title, _language_grid(sweep, means, gaps)))
        says.append(_languages_say(means, gaps))
    if (pairs := by_trained_pairs(sweep.rows)) is not None:
        blocks.append(Table("trained-pairs", "Across languages, by whether the pair was trained on", pairs))
    if not blocks:
        return None
    return Section("groups", "Scripts and unseen languages", tuple(filter(None, says)), tuple(blocks))


_GAP_NOTE = "Other languages stand on either side: the difference is not that of script alone."


def _gaps(sweep: SweepValues, one: Figure, other: Figure) -> dict[Point, Estimate]:
    """Of every point a figure less another one, within seeds; t-intervals with seeds enough."""
    found = {}
    for point in sweep.points:
        of_one, of_other = sweep.seeds(one, point), sweep.seeds(other, point)
        values = [added([of_one[seed], -of_other[seed]]) for seed in sorted(of_one.keys() & of_other.keys())]
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


def _language_means(estimates: Estimates, measure: str) -> dict[str, Mapping[Point, Estimate]]:
    """By group of languages the mean of every point, of the groups that there are; none without both kinds.

    A cell that was trained on all languages stands beside one that was not, as when few batches met only some.
    """
    found = {name: estimates.curve(Figure(f"{measure}/{name}", title)) for name, title in LANGUAGE_GROUPS.items()}
    found = {name: means for name, means in found.items() if means}
    kinds = {kind for name in found for kind in _KINDS[name.rpartition("_")[2]]}
    return found if len(kinds) == 2 else {}


_KINDS = {"seen": ("seen",), "mixed": ("seen", "unseen"), "unseen": ("unseen",)}


def _language_grid(
    sweep: SweepValues, means: Mapping[str, Mapping[Point, Estimate]], gaps: Mapping[Point, Estimate]
) -> Grid:
    body = []
    for point in sweep.points:
        of_groups = [of.get(point) for of in means.values()]
        texts = ["–" if estimate is None else estimate.with_interval(3) for estimate in of_groups]
        gap = gaps[point].with_interval(3, sign=True) if point in gaps else "–"
        basis = next((estimate.basis_text() for estimate in of_groups if estimate is not None), "–")
        body.append([point[0], alpha_text(point[1]), *texts, gap, basis])
    titles = [LANGUAGE_GROUPS[name] for name in means]
    return ["size", "alpha", *titles, "Mo., trained on less others", "interval over"], body


def _languages_say(means: Mapping[str, Mapping[Point, Estimate]], gaps: Mapping[Point, Estimate]) -> str:
    basis = basis_says([estimate for of in means.values() for estimate in of.values()])
    if not gaps:
        return basis
    ends = [
        f"{signed_number(gaps[p].value, 3)} ({p[0]} at alpha {p[1]})"
        for p in (function(gaps, key=lambda point: gaps[point].value) for function in (min, max))
    ]
    few = f" An interval of this difference takes {FEWEST_SEEDS} seeds." * any(e.low != e.low for e in gaps.values())
    return (
        f"Mo. of the languages trained on, less that of the others: {' to '.join(dict.fromkeys(ends))}. The languages "
        f"themselves differ too: what training on them brings is not told apart from that.{few} {basis}"
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
