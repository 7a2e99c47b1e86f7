"""Quality within a language against quality across languages: which sizes and mixes no other one beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xling.report.blocks import Picture, Section, Table
from xling.report.cell_values import Figure, Point, SweepValues, point_text
from xling.report.curves import front_plot
from xling.report.estimates import Estimates, basis_says, difference
from xling.report.sentence import in_words
from xling.report.tables import Grid, alpha_text, number

_DECIMALS = 12  # means of the same values in another order are one place, none ahead of the other

Places = Mapping[Point, tuple[float, float]]  # monolingual and cross-lingual quality


def pareto(sweep: SweepValues, estimates: Estimates, figures: Sequence[Figure]) -> Section | None:
    """The front of Mo. against Cr., by means over seeds; None where a data set has not both."""
    by_group = {figure.group: figure for figure in figures}
    if not {"Mo", "Cr"} <= set(by_group):
        return None
    mono, cross = by_group["Mo"], by_group["Cr"]
    of_mono, of_cross = estimates.curve(mono), estimates.curve(cross)
    places = {
        point: (round(of_mono[point].value, _DECIMALS), round(of_cross[point].value, _DECIMALS))
        for point in of_mono
        if point in of_cross
    }
    if not places:
        return None
    front = front_of(places)
    beaten = _beaten(estimates, (mono, cross), places, front)
    says = [f"No size and mix is better in both than these: {in_words([point_text(p) for p in front])}."]
    if doubtful := [point for point, sure in beaten.items() if sure is None]:
        says.append(
            f"Behind the front by means alone, while no one cell is surely ahead of them in both: "
            f"{in_words([point_text(point) for point in doubtful])}."
        )
    if sweep.ladders and any(len(ladder) > 1 for ladder in sweep.ladders):
        says.append("A larger size costs more: the front is of quality alone.")
    says.append(basis_says([*of_mono.values(), *of_cross.values()]))
    grid = _grid(sweep, (mono, cross), places, front, beaten)
    note = (
        "Surely beaten by: a point of the front whose lead has a 95 % interval above 0 in both figures, each interval "
        "by itself."
    )
    body = [[size, alpha_text(r), repr(x), repr(y), str((size, r) in front)] for (size, r), (x, y) in places.items()]
    alt = (
        f"{mono.title} across, {cross.title} up, a point a size and alpha, its marker by size. On the front: "
        f"{in_words([f'{point_text(p)} ({places[p][0]:.3f}, {places[p][1]:.3f})' for p in front])}."
    )
    picture = Picture(
        "pareto",
        f"{mono.title} against {cross.title}",
        front_plot(sweep, places, front, (mono.title, cross.title)),
        alt,
        (["size", "alpha", mono.name, cross.name, "on the front"], body),
    )
    table = Table("pareto", f"{mono.title} against {cross.title}: the front", grid, note)
    return Section("pareto", "Within a language or across languages", tuple(says), (picture, table))


def front_of(places: Places) -> list[Point]:
    """The points that none is at least as good as in both and better in one, by the first figure, ascending."""
    kept = [
        point
        for point, (x, y) in places.items()
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in places.values())
    ]
    return sorted(kept, key=lambda point: places[point])


def _beaten(
    estimates: Estimates, figures: tuple[Figure, Figure], places: Places, front: Sequence[Point]
) -> dict[Point, Point | None]:
    """Of each point behind the front one of the front that is surely ahead of it in both; None where there is none."""
    pairs = [
        (ahead, point)
        for point, (x, y) in places.items()
        if point not in front
        for ahead in front
        if places[ahead][0] >= x and places[ahead][1] >= y
    ]
    leads = [estimates.of(figure, [difference(*pair) for pair in pairs]) for figure in figures]
    found: dict[Point, Point | None] = {point: None for _, point in pairs}
    for (ahead, point), *both in zip(pairs, *leads, strict=True):
        if found[point] is None and all(lead is not None and lead.low > 0 for lead in both):
            found[point] = ahead
    return found


def _grid(
    sweep: SweepValues,
    figures: tuple[Figure, Figure],
    places: Places,
    front: Sequence[Point],
    beaten: Mapping[Point, Point | None],
) -> Grid:
    body = []
    for point in sweep.points:
        if point not in places:
            continue
        by = beaten.get(point)
        values = [number(value, figure.digits) for value, figure in zip(places[point], figures, strict=True)]
        surely = "" if point in front else "–" if by is None else point_text(by)
        body.append([point[0], alpha_text(point[1]), *values, "yes" if point in front else "no", surely])
    return ["size", "alpha", *(figure.title for figure in figures), "on the front", "surely beaten by"], body
