"""How figures answer to the mix, size by size: curves with intervals, and the hybrids against both ends."""

from __future__ import annotations

from collections.abc import Sequence

from xling.report.blocks import Block, Picture, Section, Table
from xling.report.cell_values import Figure, SweepValues
from xling.report.contrasts import Compared, Contrast, contrast_grid, family_of, family_says, holm_note, ratio_pairs
from xling.report.curves import Estimated, response_plot
from xling.report.estimates import Estimates, basis_says, difference
from xling.report.rows import START, in_order
from xling.report.sentence import capitalised, in_words
from xling.report.tables import Grid, alpha_text, number


def responses(sweep: SweepValues, estimates: Estimates, figures: Sequence[Figure], dataset: str) -> Section:
    """Curves over alpha with bands, as picture and tables; differences between hybrids and ends at each size."""
    found = [(figure, estimates.curve(figure)) for figure in figures]
    says = [basis_says([estimate for _, of in found for estimate in of.values()])]
    blocks: list[Block] = []
    if found:
        blocks.append(_picture(sweep, found, dataset))
    for figure, of in found:
        note = "Less is better." if figure.less_is_better else ""
        blocks.append(
            Table(f"response-{figure.slug}", f"{figure.title} by size and alpha", _grid(sweep, figure, of), note)
        )
        family = family_of(estimates, figure, within_sizes(sweep))
        if family:
            blocks.append(
                Table(
                    f"mixes-{figure.slug}",
                    f"{figure.title}: mixes against each other, at each size",
                    contrast_grid(family, figure),
                    f"{holm_note(family, 'difference')} {note}".strip(),
                )
            )
            says.append(_says(family, figure))
    if not ratio_pairs(sweep):
        only = in_words([f"alpha {ratio}" for ratio in sweep.ratios])
        says.append(f"Done: {only}. Neither two ends nor a hybrid beside one: nothing can be said of the mix.")
    return Section("responses", "How the mix changes what comes out", tuple(filter(None, says)), tuple(blocks))


def within_sizes(sweep: SweepValues) -> list[Contrast]:
    """The pairs of mixes that are compared, at every size that has both."""
    there = set(sweep.points)
    return [
        Contrast(size, f"alpha {a} - alpha {b}", f"{size} at alpha {a}", difference((size, a), (size, b)))
        for size in in_order(size for size, _ in sweep.points)
        for a, b in ratio_pairs(sweep)
        if {(size, a), (size, b)} <= there
    ]


def _grid(sweep: SweepValues, figure: Figure, found: Estimated) -> Grid:
    body = []
    for size in in_order(size for size, _ in sweep.points):
        start = sweep.start(figure, size)
        if start is not None:
            body.append([size, START, number(start, figure.digits), "–", "–"])
        for ratio in sweep.ratios:
            if (estimate := found.get((size, ratio))) is not None:
                cells = [estimate.interval_text(figure.digits), estimate.basis_text()]
                body.append([size, alpha_text(ratio), number(estimate.value, figure.digits), *cells])
    return ["size", "alpha", figure.title, "95 % interval", "interval over"], body


def _picture(sweep: SweepValues, found: Sequence[tuple[Figure, Estimated]], dataset: str) -> Picture:
    body = [
        [figure.name, size, alpha_text(ratio), f"{ratio.alpha:g}", *map(repr, (e.value, e.low, e.high))]
        for figure, of in found
        for (size, ratio), e in of.items()
    ]
    titles = in_words([figure.title for figure, _ in found])
    alt = f"{titles} over alpha, a line a size with its 95 % interval as a band. " + " ".join(
        _ends(sweep, figure, of) for figure, of in found
    )
    data = (["figure", "size", "mix", "alpha", "value", "low", "high"], body)
    return Picture("responses", "Response to alpha", response_plot(sweep, found, dataset), alt.strip(), data)


def _ends(sweep: SweepValues, figure: Figure, found: Estimated) -> str:
    """``Mul.: tiny from .50 at alpha 0 to .19 at alpha 1; …``."""
    parts = []
    for size in in_order(size for size, _ in sweep.points):
        known = [(ratio, found[size, ratio]) for ratio in sweep.ratios if (size, ratio) in found]
        if len(known) > 1:
            (first, a), (last, b) = known[0], known[-1]
            values = [number(e.value, figure.digits) for e in (a, b)]
            parts.append(f"{size} from {values[0]} at alpha {first} to {values[1]} at alpha {last}")
    return f"{figure.title}: {'; '.join(parts)}." if parts else ""


def _says(family: Sequence[Compared], figure: Figure) -> str:
    """One sentence for each end that the hybrids are held against."""
    ends = in_order(one.contrast.ratios.rpartition(" - ")[2] for one in family)
    sentences = []
    for end in ends:
        part = [one for one in family if one.contrast.ratios.endswith(f" - {end}")]
        sentences.append(f"{capitalised(figure.title)} against {end}: {family_says(part, figure, 'higher', 'lower')}.")
    return " ".join(sentences)
