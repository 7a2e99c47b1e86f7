"""What a sweep says about one data set: the sections of its analysis."""

from __future__ import annotations

from collections.abc import Sequence

from xling.report.blocks import Section, Table
from xling.report.cell_values import Figure, SweepValues, figures_of, point_text
from xling.report.choice import choice
from xling.report.estimates import Estimate, Estimates, basis_says
from xling.report.groups import groups
from xling.report.interaction import interaction
from xling.report.pareto import pareto
from xling.report.published import beside
from xling.report.questions import RESAMPLES
from xling.report.responses import responses
from xling.report.rows import ScoreRow
from xling.report.scaling import scaling
from xling.report.sentence import counted, in_words


def analyse(
    sweep: SweepValues, dataset: str, *, pairs: Sequence[str] = (), resamples: int = RESAMPLES, seed: int = 0
) -> list[Section]:
    """The sections, what was run first; that alone where no cell is done.

    Args:
        pairs: pairs of languages that are analysed as the means are (``ar-en``).
    """
    figures = figures_of(sweep.rows, pairs)
    if not sweep.cells or not figures:
        return [_cells(sweep, figures)]
    estimates = Estimates(sweep, resamples=resamples, seed=seed)
    found = [
        _cells(sweep, figures),
        responses(sweep, estimates, figures, dataset),
        interaction(sweep, estimates, figures),
        choice(sweep, estimates, figures),
        pareto(sweep, estimates, figures),
        scaling(sweep, estimates, figures),
        groups(sweep, estimates, figures),
        _published(sweep, estimates),
    ]
    return [section for section in found if section is not None]


def in_short(sections: Sequence[Section]) -> list[str]:
    """What stands first: what was run, the interaction figure by figure, the mix chosen at each size."""
    by_name = {section.name: section.says for section in sections}
    lines = [line for name in ("cells", "interaction", "best-on-dev") for line in by_name.get(name, ())]
    return list(dict.fromkeys(lines))


def _cells(sweep: SweepValues, figures: Sequence[Figure]) -> Section:
    """What the analysis is of, and what is not in it."""
    if not sweep.cells:
        return Section("cells", _TITLE, ("No cell is done yet: there is nothing to say.", *_left_out(sweep)))
    says = [_counted(sweep)]
    if not figures:
        says.append("None of the figures that are analysed (Mo., Cr., Mul., rank distance) is known of them.")
    if schedules := [ratio for ratio in sweep.ratios if ratio.schedule]:
        named = in_words([f"{ratio} ({ratio.alpha:.2g})" for ratio in schedules])
        says.append(
            f"Alpha changes while training in {named}, in brackets its mean: each is a mix of its own, a hybrid among "
            "the others, and on no curve."
        )
    says += _left_out(sweep)
    return Section("cells", _TITLE, tuple(says), (_seeds_table(sweep),))


_TITLE = "What was run"


def _counted(sweep: SweepValues) -> str:
    seeds = {len({cell.row.seed for cell in sweep.at(point)}) for point in sweep.points}
    cells, sizes = len(sweep.cells), len({size for size, _ in sweep.points})
    each = counted(max(seeds), "seed") if len(seeds) == 1 else f"{min(seeds)} to {counted(max(seeds), 'seed')}"
    text = (
        f"{counted(cells, 'cell')} {'is' if cells == 1 else 'are'} done: {counted(sizes, 'size')}, "
        f"{counted(len(sweep.ratios), 'mix')}, {each} each."
    )
    if len(seeds) > 1:
        text += " Seeds are unequal: differences are taken over the seeds that their cells have in common."
    return text


def _left_out(sweep: SweepValues) -> list[str]:
    says = []
    if sweep.stopped:
        says.append(
            f"Stopped early, and in no figure: {in_words([row.label for row in sweep.stopped])}. They did badly on "
            "dev: the seeds of a mix that are left flatter it."
        )
    ended = {(row.size, row.ratio) for row in sweep.stopped}
    if missing := [point_text(point) for point in sweep.missing if point not in ended]:
        says.append(f"Not done, and left out: {in_words(missing)}.")
    return says


def _seeds_table(sweep: SweepValues) -> Table:
    body = [
        [size, *(", ".join(str(cell.row.seed) for cell in sweep.at((size, ratio))) or "–" for ratio in sweep.ratios)]
        for size in dict.fromkeys(size for size, _ in sweep.points)
    ]
    titles = [f"alpha {ratio}" + f"\n(mean {ratio.alpha:.2g})" * bool(ratio.schedule) for ratio in sweep.ratios]
    return Table("cells", "Seeds by size and mix", (["size", *titles], body))


def _published(sweep: SweepValues, estimates: Estimates) -> Section | None:
    shown: list[Estimate] = []

    def texts(row: ScoreRow, name: str, digits: int) -> str:
        assert row.ratio is not None, "published figures stand beside trained cells"
        estimate = estimates.curve(Figure(name, name)).get((row.size, row.ratio))
        if estimate is None:
            return "–"
        shown.append(estimate)
        return estimate.with_interval(digits)

    grids = beside(sweep.rows, texts)
    if not grids:
        return None
    note = "Of ours in brackets the 95 % interval." if shown else ""
    tables = tuple(
        Table("published" if number == 0 else f"published-{number + 1}", title, grid, note)
        for number, (title, grid) in enumerate(grids)
    )
    says = (
        "The same checkpoint and mix do not make the same training: figures stand beside each other and are not ranked."
    )
    return Section("published", "Ours and published", tuple(filter(None, (says, basis_says(shown)))), tables)
