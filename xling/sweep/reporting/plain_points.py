"""A data set's cells for recomputing its analysis: figures and values by question, from per-query tables alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from xling.evaluate.per_query import POOL_LANGUAGE
from xling.evaluate.recomputed import Recomputed
from xling.languages import LangPair, trained_on
from xling.report.estimates import FEWEST_SEEDS, Basis, Estimate
from xling.report.plain_statistics import ByQuestion, Resampled, Resampling, holm, over_seeds, without_rounding

Place = tuple[str, str]  # a size and a mix, as tables write them
Weights = Mapping[Place, float]
DEV = "dev"


@dataclass(frozen=True, slots=True, eq=False)
class PlainCell:
    """One trained cell, or baseline (mix empty). ``values`` by measure, of the cells whose questions are resampled."""

    label: str
    size: str
    mix: str
    seed: int
    means: Recomputed
    trained: Collection[str]
    values: Mapping[str, ByQuestion | None] = field(default_factory=dict)
    dev: float | None = None
    variant: str = ""
    parameters: int | None = None  # outside embedding tables

    def figure(self, name: str) -> float | None:
        """By the evaluator's name, or that of a group of pairs; None where its queries do not give it."""
        if name == DEV:
            return self.dev
        if name in self.means.headline:
            return self.means.headline[name]
        measure, _, group = name.partition("/")
        known = [mean for pair, mean in self.means.cells.get(measure, {}).items() if belongs(pair, group, self.trained)]
        return fmean(known) if known and group else None


def belongs(pair: tuple[str, str], group: str, trained: Collection[str]) -> bool:
    """Whether a pair of languages (query, passage) is among those that a mean is over."""
    query, passage = pair
    if passage == POOL_LANGUAGE:
        return group in ("Mul", "")
    if not group:
        return False
    together = LangPair(query, passage)
    groups = {str(together), "Mo"} if together.is_monolingual else {str(together), "Cr"}
    if not together.is_monolingual:
        groups.add("Cr_same_script" if together.is_same_script else "Cr_different_script")
    seen = ("unseen", "mixed", "seen")[sum(trained_on(pair, trained))]
    groups.add(f"{'Mo' if together.is_monolingual else 'Cr'}_{seen}")
    return group in groups


class PlainPoints:
    """The trained cells of a data set by size and mix, and estimates from them."""

    def __init__(self, cells: Sequence[PlainCell], mixes: Sequence[str], *, resamples: int, seed: int) -> None:
        self.cells = [cell for cell in cells if cell.mix]
        self.starts = {cell.size: cell for cell in reversed(cells) if not cell.mix}
        self.sizes = list(dict.fromkeys(cell.size for cell in self.cells))
        self.mixes = list(mixes)
        self.variants = {cell.size: cell.variant for cell in self.cells}
        self.parameters = {cell.size: cell.parameters for cell in reversed(self.cells)}
        self._drawn = (resamples, seed)
        self._resampling: dict[int, Resampling] = {}
        self._resampled: dict[tuple[str, str], Resampled | None] = {}

    def seeds(self, name: str, place: Place) -> dict[int, float]:
        """A figure by seed."""
        found = {cell.seed: cell.figure(name) for cell in self.cells if (cell.size, cell.mix) == place}
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, name: str, place: Place) -> float | None:
        found = self.seeds(name, place)
        return fmean(found.values()) if found else None

    def estimate(self, name: str, weights: Weights) -> Estimate | None:
        """A weighted sum of points with its interval, by the rule of docs/analysis.md; None where a point lacks it."""
        by_place = {place: self.seeds(name, place) for place in weights}
        if not all(by_place.values()):
            return None
        common = sorted(set.intersection(*map(set, by_place.values())))
        if len(common) >= FEWEST_SEEDS:
            terms_of = [[weights[place] * by_place[place][seed] for place in weights] for seed in common]
            sums = [without_rounding(sum(terms), terms) for terms in terms_of]
            return Estimate(fmean(sums), len(common), Basis.SEEDS, *over_seeds(sums))
        used = {place: common or sorted(of) for place, of in by_place.items()}
        terms = [weights[place] * fmean(by_place[place][seed] for seed in used[place]) for place in weights]
        value = without_rounding(sum(terms), terms)
        seeds = min(map(len, used.values()))
        parts = [
            (weights[place] / len(used[place]), cell)
            for place in weights
            for cell in self.cells
            if (cell.size, cell.mix) == place and cell.seed in used[place]
        ]
        resampled = [(weight, self._of_cell(cell, name)) for weight, cell in parts]
        known = [(weight, of) for weight, of in resampled if of is not None]
        if name == DEV or len(known) < len(parts) or not self._alike(name, [cell for _, cell in parts]):
            return Estimate(value, seeds)
        asked = len(self._values(parts[0][1], name).questions)
        low, high, p = self._resampling[asked].interval(known)
        low, high = (without_rounding(end, terms) for end in (low, high))
        return Estimate(value, seeds, Basis.QUESTIONS, low, high, p)

    def family(self, name: str, sums: Sequence[Weights | None]) -> list[Estimate | None]:
        """The same of several sums, p-values corrected for their number (Holm)."""
        found = [None if one is None else self.estimate(name, one) for one in sums]
        tested = [place for place, one in enumerate(found) if one is not None and one.p == one.p]
        corrected = holm([one.p for place in tested if (one := found[place]) is not None])
        for place, p in zip(tested, corrected, strict=True):
            one = found[place]
            found[place] = one and replace(one, p_holm=p)
        return found

    def _values(self, cell: PlainCell, name: str) -> ByQuestion:
        values = cell.values[name.partition("/")[0]]
        assert values is not None, "asked of cells that were resampled"
        return values

    def _alike(self, name: str, cells: Sequence[PlainCell]) -> bool:
        first, *others = [self._values(cell, name) for cell in cells]
        return all(first.alike(other) for other in others)

    def _of_cell(self, cell: PlainCell, name: str) -> Resampled | None:
        key = (cell.label, name)
        if key not in self._resampled:
            measure, _, group = name.partition("/")
            values = cell.values.get(measure)
            pairs = [] if values is None else [belongs(pair, group, cell.trained) for pair in values.pairs]
            chosen = [place for place, inside in enumerate(pairs) if inside]
            if values is None or not chosen:
                self._resampled[key] = None
            else:
                count = len(values.questions)
                if count not in self._resampling:
                    self._resampling[count] = Resampling(count, *self._drawn)
                self._resampled[key] = self._resampling[count].of(values, chosen)
        return self._resampled[key]
