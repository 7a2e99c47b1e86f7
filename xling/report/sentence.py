"""What the numbers say, in a few honest sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xling.report.rows import ScoreRow, alphas_of, headline, mean_of, sizes_of

CLOSE = 0.01  # mAP; a difference below it is called a tie when there is one seed

Figure = Callable[[ScoreRow], float | None]


def summary(rows: Sequence[ScoreRow], stratum: str | None = None) -> str:
    """Which ratio is best for what, whether the sizes agree, and whether the gain from size hangs on the ratio.

    Descriptive: it ranks by the figures it is given, whatever split they are of.
    """
    sizes, alphas = sizes_of([row for row in rows if row.alpha is not None]), alphas_of(rows)
    if not sizes or not alphas:
        return "No cell is done yet: there is nothing to say."
    where = f" ({stratum.replace('=', ' ')})" if stratum else ""
    if len(alphas) == 1:
        parts = [f"Only alpha {alphas[0]:g} was run: nothing can be said of the mixing ratio"]
    else:
        bias = _best(rows, sizes, alphas, headline("rank_distance", stratum), min)
        parts = [
            f"Within a language (Mo.) {_best(rows, sizes, alphas, headline('mAP/Mo', stratum), max)}",
            f"across languages (Cr.) {_best(rows, sizes, alphas, headline('mAP/Cr', stratum), max)}",
            f"over all languages at once (Mul.) {_best(rows, sizes, alphas, headline('mAP/Mul', stratum), max)}",
            f"for the least language bias (rank distance) {bias}",
        ]
    text = f"{parts[0]}{where}; " + "; ".join(parts[1:]) if len(parts) > 1 else parts[0]
    return f"{text}. {_interaction(rows, sizes, alphas, headline('mAP/Mul', stratum))}{_caution(rows)}"


def _best(
    rows: Sequence[ScoreRow],
    sizes: Sequence[str],
    alphas: Sequence[float],
    figure: Figure,
    better: Callable[..., float],
) -> str:
    """``alpha 0 is best at every size``, or which at which; near ties of a share are named."""
    found: dict[str, list[str]] = {}
    for size in sizes:
        known = {a: mean.value for a in alphas if (mean := mean_of(rows, size, a, figure)) is not None}
        if not known:
            continue
        top = better(known.values())
        near = [a for a, value in known.items() if abs(value - top) < (CLOSE if top <= 1 else 0.02 * top)]
        name = " and ".join(f"{a:g}" for a in near)
        found.setdefault(f"alpha {name}{' (a tie)' if len(near) > 1 else ''}", []).append(size)
    if not found:
        return "nothing was measured"
    if len(found) == 1:
        return f"{next(iter(found))}{' at every size' if len(sizes) > 1 else ''}"
    return ", ".join(f"{alpha} at {' and '.join(of)}" for alpha, of in found.items())


def _interaction(rows: Sequence[ScoreRow], sizes: Sequence[str], alphas: Sequence[float], figure: Figure) -> str:
    if len(sizes) < 2:
        return "One size was run: nothing can be said of size. "
    gains = {}
    for alpha in alphas:
        small, large = mean_of(rows, sizes[0], alpha, figure), mean_of(rows, sizes[-1], alpha, figure)
        if small is not None and large is not None:
            gains[alpha] = large.value - small.value
    if not gains:
        return ""
    listed = ", ".join(f"{gain:+.3f} at alpha {alpha:g}" for alpha, gain in gains.items())
    spread = max(gains.values()) - min(gains.values())
    verdict = "much the same at every ratio" if spread < 2 * CLOSE else "so what size brings hangs on the ratio"
    if len(gains) == 1:
        return f"From {sizes[0]} to {sizes[-1]} Mul. changes by {listed}. "
    return f"From {sizes[0]} to {sizes[-1]} Mul. changes by {listed}: {verdict}. "


def _caution(rows: Sequence[ScoreRow]) -> str:
    seeds = len({row.seed for row in rows if row.alpha is not None})
    if seeds == 1:
        return f"One seed: differences below about {CLOSE:g} mean nothing."
    return f"Means of {seeds} seeds."
