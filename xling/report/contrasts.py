"""Families of differences: their table, and what it says in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xling.report.cell_values import CROSS_LINGUAL, MONOLINGUAL, Figure, SweepValues
from xling.report.estimates import Combination, Estimate, Estimates
from xling.report.rows import Ratio
from xling.report.sentence import in_words
from xling.report.tables import Grid, signed_number

_NAMED = 3  # so many are named in a sentence, more are counted


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference that is tested: of which sizes (``mid - tiny``), between which mixes (``alpha 0.5 - alpha 1``).

    ``where`` is how a sentence names it, among others of its family.
    """

    sizes: str
    ratios: str
    where: str
    combination: Combination


@dataclass(frozen=True, slots=True)
class Compared:
    """A contrast with its estimate; None where the sweep does not have it."""

    contrast: Contrast
    estimate: Estimate | None


def family_of(estimates: Estimates, figure: Figure, contrasts: Sequence[Contrast]) -> list[Compared]:
    """Each contrast with its estimate, p-values corrected for the number of them."""
    found = estimates.family(figure, [contrast.combination for contrast in contrasts])
    return [Compared(contrast, estimate) for contrast, estimate in zip(contrasts, found, strict=True)]


def holm_note(family: Sequence[Compared], noun: str) -> str:
    """How many differences p-values are corrected for: those that were tested. Args: noun: what one is called."""
    tested = sum(one.estimate is not None and not math.isnan(one.estimate.p) for one in family)
    if tested < 2:
        return "One is tested: its p-value needs no correction." if tested else ""
    which = f"these {tested} {noun}s" if tested == len(family) else f"the {tested} {noun}s that are tested"
    return f"p-values are corrected (Holm) for {which}."


def ratio_pairs(sweep: SweepValues) -> list[tuple[Ratio, Ratio]]:
    """Each hybrid against monolingual and against cross-lingual batches; without hybrids, these against each other."""
    ends = [ratio for ratio in (MONOLINGUAL, CROSS_LINGUAL) if ratio in sweep.ratios]
    if not sweep.hybrids:
        return [(CROSS_LINGUAL, MONOLINGUAL)] if len(ends) == 2 else []
    return [(hybrid, end) for end in ends for hybrid in sweep.hybrids]


def contrast_grid(family: Sequence[Compared], figure: Figure) -> Grid:
    """A row a contrast."""
    headings = ["sizes", "mixes", "difference", "95 % interval", "p", "p (Holm)", "decided", "interval over"]
    body = []
    for one in family:
        lead = [one.contrast.sizes, one.contrast.ratios]
        if (estimate := one.estimate) is None:
            body.append([*lead, "–", "–", "–", "–", "–", "not in the sweep"])
            continue
        body.append(
            [
                *lead,
                signed_number(estimate.value, figure.digits),
                estimate.interval_text(figure.digits, sign=True),
                *estimate.p_texts(),
                verdict(estimate),
                estimate.basis_text(),
            ]
        )
    return headings, body


def verdict(estimate: Estimate) -> str:
    """``higher`` or ``lower`` than 0; ``no`` where chance explains the difference, a dash where nothing is known."""
    if math.isnan(estimate.p):
        return "–"
    if not estimate.decided:
        return "no"
    return "higher" if estimate.value > 0 else "lower"


def family_says(family: Sequence[Compared], figure: Figure, higher: str, lower: str) -> str:
    """``higher: mid - tiny at alpha 0.5 against 1 (+.041); not decided: 5 of 6 (-.002 to +.010)``.

    Args:
        higher: how a difference above 0 is called; ``lower``, one below.
    """
    named = {"higher": higher, "lower": lower, "no": "not decided", "–": "without an interval"}
    known = [(verdict(one.estimate), one) for one in family if one.estimate is not None]
    parts = []
    for key, name in named.items():
        members = [one for found, one in known if found == key]
        if members:
            parts.append(f"{name}: {_members(members, len(known), figure)}")
    return "; ".join(parts) or "not known"


def _members(members: Sequence[Compared], total: int, figure: Figure) -> str:
    values = [one.estimate.value for one in members if one.estimate is not None]
    if len(members) <= _NAMED:
        texts = [signed_number(value, figure.digits) for value in values]
        return in_words([f"{one.contrast.where} ({text})" for one, text in zip(members, texts, strict=True)])
    count = f"all {total}" if len(members) == total else f"{len(members)} of {total}"
    return f"{count} ({signed_number(min(values), figure.digits)} to {signed_number(max(values), figure.digits)})"
