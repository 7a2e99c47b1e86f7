"""What the numbers say, in a few honest sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xling.report.rows import Mean, Ratio, ScoreRow, StoppedRow, headline, mean_of, ratios_of, sizes_of

CLOSE_MAP = 0.01  # of one seed, a difference in mAP up to this is called a tie
CLOSE_RANKS = 0.02  # and one in rank distance up to this share


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure that ratios are compared by, and how its clause begins."""

    name: str
    begin: str
    least: bool = False  # smaller is better

    def tie(self, top: Mean, other: Mean) -> bool:
        """Whether the other is as good as the top: within a standard deviation, where there are seeds."""
        margin = CLOSE_RANKS * top.value if self.least else CLOSE_MAP
        if top.spread is not None and other.spread is not None:
            margin = max(top.spread, other.spread)
        return abs(top.value - other.value) <= margin


_FIGURES = (
    _Figure("mAP/Mo", "within a language (Mo.)"),
    _Figure("mAP/Cr", "across languages (Cr.)"),
    _Figure("mAP/Mul", "over all languages at once (Mul.)"),
    _Figure("rank_distance", "for the least language bias (rank distance)", least=True),
)
_OVERALL = (("mAP/Mul", "Mul."), ("mAP/Mo", "Mo."))  # what sizes are compared by: the first that was measured
_EVERYWHERE = " at every size"


def summary(rows: Sequence[ScoreRow], stratum: str | None = None, stopped: Sequence[StoppedRow] = ()) -> str:
    """Which ratio is best for what, what size brings at each, and how far to trust it.

    Descriptive: it ranks by the figures it is given, whatever split they are of.

    Args:
        rows: cells and baselines of one data set.
        stratum: read this group's figures (``wording=unseen``) instead of the whole set's.
        stopped: cells of the sweep that were stopped early.
    """
    sizes, ratios = sizes_of([row for row in rows if row.alpha is not None]), ratios_of(rows)
    if not sizes:
        return " ".join(filter(None, ("No cell is done yet: there is nothing to say.", _of_stopped(stopped))))
    sentences = [_of_ratios(rows, sizes, ratios, stratum)]
    for name, title in _OVERALL:
        if any(headline(name, stratum)(row) is not None for row in rows):
            sentences += [
                _of_sizes(rows, sizes, ratios, name, title, stratum),
                _of_starts(rows, sizes, ratios, name, title, stratum),
            ]
            break
    sentences += [_of_gaps(rows, sizes, ratios, stopped), _of_stopped(stopped), _caution(rows)]
    return " ".join(sentence for sentence in sentences if sentence)


def _of_ratios(rows: Sequence[ScoreRow], sizes: Sequence[str], ratios: Sequence[Ratio], stratum: str | None) -> str:
    """``At every size: within a language (Mo.), alpha 1 is best; across languages (Cr.), …``."""
    if len(ratios) == 1:
        return f"Only alpha {ratios[0]} is done: nothing can be said of the mixing ratio."
    clauses = [clause for figure in _FIGURES if (clause := _clause(rows, sizes, ratios, figure, stratum))]
    if not clauses:
        return "No size is done at two ratios: nothing can be said of the mixing ratio."
    text = "; ".join(clauses)
    if all(clause.endswith(_EVERYWHERE) for clause in clauses):
        text = f"{_EVERYWHERE.strip()}: " + "; ".join(clause.removesuffix(_EVERYWHERE) for clause in clauses)
    if stratum is None:
        return f"{capitalised(text)}."
    key, _, value = stratum.partition("=")
    return f"On {value} {key}, {text}."


def _clause(
    rows: Sequence[ScoreRow], sizes: Sequence[str], ratios: Sequence[Ratio], figure: _Figure, stratum: str | None
) -> str:
    """Which alpha is best, by size where the sizes differ; empty where nothing can be compared."""
    found: dict[str, list[str]] = {}
    for size in sizes:
        known = {r: mean for r in ratios if (mean := mean_of(rows, size, r, headline(figure.name, stratum)))}
        if len(known) > 1:
            found.setdefault(_verdict(known, figure), []).append(size)
    if not found:
        return ""
    if len(found) == 1 and sum(map(len, found.values())) == len(sizes):
        (verdict,) = found
        return f"{figure.begin}, {verdict}{_EVERYWHERE if len(sizes) > 1 else ''}"
    return f"{figure.begin}, " + in_words([f"{verdict} at {in_words(where)}" for verdict, where in found.items()])


def _verdict(known: dict[Ratio, Mean], figure: _Figure) -> str:
    top = (min if figure.least else max)(known.values(), key=lambda mean: mean.value)
    near = [f"alpha {ratio}" for ratio, mean in known.items() if figure.tie(top, mean)]
    if len(near) == 1:
        return f"{near[0]} is best"
    return "no alpha stands out" if len(near) == len(known) else f"{in_words(near)} tie for best"


def _of_sizes(
    rows: Sequence[ScoreRow],
    sizes: Sequence[str],
    ratios: Sequence[Ratio],
    name: str,
    title: str,
    stratum: str | None,
) -> str:
    """What the last size has over the first, at each alpha, and whether that hangs on alpha."""
    if len(sizes) < 2:
        return "Only one size is done: nothing can be said of size."
    gains = {}
    for ratio in ratios:
        small, large = (mean_of(rows, size, ratio, headline(name, stratum)) for size in (sizes[0], sizes[-1]))
        if small is not None and large is not None:
            gains[ratio] = large.value - small.value
    if not gains:
        return ""
    listed = in_words([f"{gain:+.3f} at alpha {ratio}" for ratio, gain in gains.items()])
    text = f"From {sizes[0]} to {sizes[-1]}, {title} changes by {listed}"
    if len(gains) == 1:
        return f"{text}."
    apart = max(gains.values()) - min(gains.values())
    return f"{text}: {'about the same' if apart <= 2 * CLOSE_MAP else 'not the same'} at every ratio."


def _of_starts(
    rows: Sequence[ScoreRow],
    sizes: Sequence[str],
    ratios: Sequence[Ratio],
    name: str,
    title: str,
    stratum: str | None,
) -> str:
    """The sizes that training did not help."""
    unhelped = []
    for size in sizes:
        start = mean_of(rows, size, None, headline(name, stratum))
        trained = [mean.value for r in ratios if (mean := mean_of(rows, size, r, headline(name, stratum)))]
        if start is not None and trained and max(trained) <= start.value:
            unhelped.append(size)
    return f"At {in_words(unhelped)}, no trained cell has a higher {title} than the start." if unhelped else ""


def _of_gaps(
    rows: Sequence[ScoreRow], sizes: Sequence[str], ratios: Sequence[Ratio], stopped: Sequence[StoppedRow]
) -> str:
    """What is not there yet, seen from what is."""
    there = {(row.size, row.ratio) for row in rows} | {(row.size, row.ratio) for row in stopped}
    gaps = [f"{size} at alpha {ratio}" for size in sizes for ratio in ratios if (size, ratio) not in there]
    return f"Not done yet, and left out: {in_words(gaps)}." if gaps else ""


def _of_stopped(stopped: Sequence[StoppedRow]) -> str:
    """Which cells have no scores since others did better."""
    return f"Stopped early, and left out: {in_words([row.label for row in stopped])}." if stopped else ""


def _caution(rows: Sequence[ScoreRow]) -> str:
    groups = Counter((row.size, row.ratio) for row in rows if row.alpha is not None)
    fewest, most = min(groups.values()), max(groups.values())
    of_one = f"up to {CLOSE_MAP:g} in mAP, or {CLOSE_RANKS:.0%} in rank distance"
    if most == 1:
        return f"One seed: what is chance cannot be told; {of_one}, is called a tie."
    means = f"Means of {fewest if fewest == most else f'{fewest} to {most}'} seeds"
    text = f"{means}; what lies within one standard deviation is called a tie"
    return f"{text}, beside a single seed {of_one}." if fewest == 1 else f"{text}."


def counted(count: int, noun: str) -> str:
    """``1 cell``, ``2 cells``, ``3 mixes``."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('x') else 's'}"


def capitalised(text: str) -> str:
    """With a capital in front, the rest as it is."""
    return text[:1].upper() + text[1:]


def in_words(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
