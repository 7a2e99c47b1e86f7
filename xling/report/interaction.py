"""Does what a mix brings depend on the size? The F test of the interaction, and its contrasts one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xling.report.anova import Term, two_way
from xling.report.blocks import Block, Section, Table
from xling.report.cell_values import Figure, SweepValues
from xling.report.contrasts import Compared, Contrast, contrast_grid, family_of, family_says, holm_note, ratio_pairs
from xling.report.estimates import Estimate, Estimates, basis_says, pairs_of
from xling.report.sentence import capitalised, counted, in_words
from xling.report.significance import LEVEL, p_value
from xling.report.tables import Grid, number


def interaction(sweep: SweepValues, estimates: Estimates, figures: Sequence[Figure]) -> Section:
    """Two-way analysis of variance, and differences of differences: of mixes at the largest size less at a smaller."""
    says: list[str] = []
    blocks: list[Block] = []
    known: list[Estimate | None] = []
    contrasts = between_sizes(sweep)
    for figure in figures:
        tests = [(ladder, _tests(sweep, figure, ladder)) for ladder in sweep.ladders if len(ladder) > 1]
        if any(terms for _, terms in tests):
            title = f"{figure.title}: two-way analysis of variance, seeds as blocks"
            blocks.append(Table(f"anova-{figure.slug}", title, _anova_grid(tests), _ANOVA_NOTE))
        family = family_of(estimates, figure, contrasts)
        known += [one.estimate for one in family]
        if family:
            title = f"{figure.title}: what a mix brings at the larger size less at the smaller"
            note = holm_note(family, "contrast")
            note += " Intervals are not corrected." * bool(note)
            blocks.append(Table(f"interaction-{figure.slug}", title, contrast_grid(family, figure), note))
            says.append(_says(figure, tests, family))
    lead = [_what(sweep, contrasts) if contrasts else _why_not(sweep), basis_says(known)]
    if contrasts and not any(block.name.startswith("anova") for block in blocks):
        lead.append("No F test of the interaction: it takes two seeds that cells of two sizes and two mixes share.")
    return Section("interaction", "Does it depend on the size?", tuple(filter(None, [*lead, *says])), tuple(blocks))


_INTERACTION = "size x alpha"  # the name of its term
_ANOVA_NOTE = (
    "Each term is tested against its own interaction with seeds: what a seed does to all cells, to a size or to a mix "
    "is no error. A term that the cells there are cannot test is left out."
)


def between_sizes(sweep: SweepValues) -> list[Contrast]:
    """(hybrid - end) at the largest size less the same at each smaller one, where all four points are there."""
    there = set(sweep.points)
    found = []
    for ladder in sweep.ladders:
        for large, small in pairs_of(ladder):
            for a, b in ratio_pairs(sweep):
                weights = {(large, a): 1.0, (large, b): -1.0, (small, a): -1.0, (small, b): 1.0}
                if set(weights) <= there:
                    where = f"{large} - {small} at alpha {a} against {b}"
                    found.append(Contrast(f"{large} - {small}", f"alpha {a} - alpha {b}", where, weights))
    return found


def _tests(sweep: SweepValues, figure: Figure, ladder: Sequence[str]) -> list[Term]:
    values = {point: of for point in sweep.points if point[0] in ladder and (of := sweep.seeds(figure, point))}
    return two_way(values)


def _anova_grid(tests: Sequence[tuple[Sequence[str], Sequence[Term]]]) -> Grid:
    several = len(tests) > 1
    body = [
        [
            *([", ".join(ladder)] if several else []),
            term.name,
            f"{term.squares:.4g}",
            str(term.df),
            str(term.df_error),
            "–" if math.isnan(term.ratio) else number(term.ratio, 2),
            p_value(term.p),
        ]
        for ladder, terms in tests
        for term in terms
    ]
    return [*(["sizes"] if several else []), "term", "sum of squares", "df", "df of error", "F", "p"], body


def _says(figure: Figure, tests: Sequence[tuple[Sequence[str], Sequence[Term]]], family: Sequence[Compared]) -> str:
    several = len(tests) > 1
    of_ladders = [
        (ladder, next((term for term in terms if term.name == _INTERACTION), None)) for ladder, terms in tests
    ]
    parts = [_of_test(term, ladder if several else ()) for ladder, term in of_ladders if term is not None]
    parts.append(f"Contrasts {family_says(family, figure, 'above 0', 'below 0')}.")
    for ladder, term in of_ladders:
        own = [one.estimate for one in family if {size for size, _ in one.contrast.combination} <= set(ladder)]
        if conclusion := _conclusion(term, [estimate for estimate in own if estimate is not None]):
            parts.append(f"{', '.join(ladder)}: {conclusion}" if several else capitalised(conclusion))
    return f"{capitalised(figure.title)}: {' '.join(parts)}"


def _of_test(term: Term, ladder: Sequence[str]) -> str:
    at = f" ({', '.join(ladder)})" if ladder else ""
    p = p_value(term.p)
    text = f"{term.name}{at} F({term.df}, {term.df_error}) = {number(term.ratio, 2)}, p {p if '<' in p else f'= {p}'}"
    if term.p < LEVEL:
        return f"{text}: curves over alpha differ between sizes."
    return f"{text}: it shows no difference between the sizes' curves, which does not show that there is none."


def _conclusion(term: Term | None, contrasts: Sequence[Estimate]) -> str:
    """What test and contrasts of some sizes come to together; empty where both find a difference, or one of them alone.

    The two may disagree: the test takes all mixes together and pools their errors, contrasts do neither.
    """
    if not contrasts:
        return ""
    decided = any(estimate.decided for estimate in contrasts)
    if term is None or (term.p >= LEVEL and not decided):
        return "" if decided else "so the data do not decide whether what a mix brings depends on the size."
    if not decided:
        return (
            "so by the F test, of all mixes together, what a mix brings depends on the size; for which mixes, the "
            "contrasts do not decide."
        )
    if term.p >= LEVEL:
        return (
            "so by the contrasts what a mix brings depends on the size; the F test, of all mixes together, does not "
            "show it."
        )
    return ""


def _what(sweep: SweepValues, contrasts: Sequence[Contrast]) -> str:
    """What the contrasts are, and what is not among them."""
    text = (
        "A contrast is how far one mix is above another at the larger size, less how far at the smaller: "
        "above 0 where it gains with size (in rank distance, where less is better, below 0)."
    )
    if not sweep.hybrids:
        text += " No hybrid is done: the ends are held against each other."
    possible = sum(len(ladder) - 1 for ladder in sweep.ladders) * len(ratio_pairs(sweep))
    if lacking := possible - len(contrasts):
        text += f" {lacking} of {counted(possible, 'contrast')} {'lacks' if lacking == 1 else 'lack'} a cell and "
        text += f"{'is' if lacking == 1 else 'are'} left out."
    if any(sweep.parameters(size) is None for size, _ in sweep.points):
        text += " The sizes' parameters are not all known; such sizes come last, in the sweep's order."
    return text


def _why_not(sweep: SweepValues) -> str:
    if not any(len(ladder) > 1 for ladder in sweep.ladders):
        sizes = in_words([ladder[0] for ladder in sweep.ladders])
        return f"No two sizes to compare (done: {sizes or 'none'}): nothing can be said of how size and mix interact."
    if not ratio_pairs(sweep):
        ratios = in_words([f"alpha {ratio}" for ratio in sweep.ratios])
        return f"No two mixes to compare (done: {ratios}): nothing can be said of how size and mix interact."
    return "No two sizes have two mixes in common yet: nothing can be said of how size and mix interact."
