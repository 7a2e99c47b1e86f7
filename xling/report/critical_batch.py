"""Steps to a target by batch size, and the batch size from which larger ones cost more than they save.

Two estimates, each for one model size and alpha:

*Measured* (Zhang et al. 2024, arXiv 2410.21676, definition 1). B_opt is the batch that reached the target with
the fewest examples. Linear scaling from there would take f*(B) = B_opt f(B_opt) / B steps; the critical batch B*
is the largest B above B_opt with f(B) <= 1.2 f*(B), between two measured batches by a straight line in the
logarithms of batch and steps.

*Fitted* (McCandlish et al. 2018, arXiv 1812.06162, equation 2.11). (S / Smin - 1) (E / Emin - 1) = 1 with E = B S
is S(B) = Smin (1 + Bc / B): Bc from least squares in log S. Linear scaling is what small batches tend to,
S = Smin Bc / B; 20 % more than that is B = 0.2 Bc.

Intervals: percentiles over resamples of each batch size's seeds.

Shapes: N batch sizes, S resamples, G values of Bc tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xling.report.rows import Ratio

OVERHEAD = 0.2  # over linear scaling, as in the paper
RESAMPLES = 2000
LEVEL = 0.95
_BEYOND = 1e4  # Bc is looked for this many times below the smallest and above the largest batch
_TRIED = 600

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TargetRun:
    """One trained cell that had a target on dev. ``steps`` None: not reached in ``steps_made``."""

    label: str
    size: str
    alpha: float
    batch_size: int
    seed: int
    target: float
    measure: str  # what the target is of: dev, dev loss
    dev_every: int  # steps are known to this
    steps: int | None
    steps_made: int
    setting: str = ""  # tuned values: of several, a batch size's best counts
    schedule: str = ""  # of alpha, where it is not constant

    @property
    def ratio(self) -> Ratio:
        return Ratio(self.alpha, self.schedule)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A batch size with its interval; infinite: beyond all that was measured. ``low`` None with one seed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """The runs of one size, alpha and target, by batch size, ascending."""

    size: str
    ratio: Ratio
    target: float
    measure: str
    runs: Mapping[int, tuple[TargetRun, ...]] = field(default_factory=dict)

    @property
    def reached(self) -> dict[int, list[int]]:
        """Steps of every seed, of the batch sizes at which all seeds got there."""
        steps = {batch: [run.steps for run in runs if run.steps is not None] for batch, runs in self.runs.items()}
        return {batch: found for batch, found in steps.items() if len(found) == len(self.runs[batch])}

    @property
    def missed(self) -> list[int]:
        """Batch sizes with a seed that did not get there: they are in no estimate."""
        return [batch for batch in self.runs if batch not in self.reached]

    @property
    def mean_steps(self) -> dict[int, float]:
        """Geometric means over seeds, of the batch sizes reached."""
        return {batch: math.exp(float(np.log(steps).mean())) for batch, steps in self.reached.items()}


@dataclass(frozen=True, slots=True)
class CriticalBatch:
    """What a curve says. ``best`` is B_opt, ``misfit`` the law's root mean square error in log steps."""

    best: int
    measured: Estimate
    fitted: Estimate  # 0.2 Bc
    least_steps: float  # Smin
    misfit: float


Found = Sequence[tuple[Curve, CriticalBatch | None]]


def curves_of(runs: Sequence[TargetRun]) -> list[Curve]:
    """The runs by size, alpha and target, in their order; of several settings a batch size's best.

    The best is, as in the paper, the one that needs the fewest steps; one that some seed did not get
    there with is only taken where none is better.
    """
    grouped: dict[tuple[str, Ratio, float, str], dict[int, dict[str, list[TargetRun]]]] = {}
    for run in runs:
        by_batch = grouped.setdefault((run.size, run.ratio, run.target, run.measure), {})
        by_batch.setdefault(run.batch_size, {}).setdefault(run.setting, []).append(run)
    return [
        Curve(*key, {batch: _best(by_batch[batch].values()) for batch in sorted(by_batch)})
        for key, by_batch in grouped.items()
    ]


def _best(settings: Iterable[list[TargetRun]]) -> tuple[TargetRun, ...]:
    def cost(runs: Sequence[TargetRun]) -> tuple[int, float]:
        known = [run.steps for run in runs if run.steps is not None]
        return len(runs) - len(known), float(np.log(known).mean()) if known else math.inf

    return min(map(tuple, settings), key=cost)


def critical_batch(curve: Curve, *, resamples: int = RESAMPLES, seed: int = 0) -> CriticalBatch | None:
    """Both estimates; None with fewer than two batch sizes at which all seeds got to the target."""
    reached = curve.reached
    if len(reached) < 2:
        return None
    batches_N = np.array(list(reached), np.float64)
    logs = [np.log(steps) for steps in reached.values()]
    means_N = np.array([values.mean() for values in logs])
    _, log_least_S, misfit_S = _fits(batches_N, means_N[None])
    drawn_SN = _resampled(logs, resamples, seed) if all(len(values) > 1 for values in logs) else None
    return CriticalBatch(
        best=int(batches_N[np.argmin(np.log(batches_N) + means_N)]),
        measured=_estimate(means_N, drawn_SN, lambda rows_SN: _measured(batches_N, rows_SN)),
        fitted=_estimate(means_N, drawn_SN, lambda rows_SN: OVERHEAD * _fits(batches_N, rows_SN)[0]),
        least_steps=math.exp(log_least_S[0]),
        misfit=float(misfit_S[0]),
    )


def _estimate(means_N: Values, drawn_SN: Values | None, of: Callable[[Values], Values]) -> Estimate:
    value = float(of(means_N[None])[0])
    if drawn_SN is None:
        return Estimate(value)
    # A percentile that is one of the values: between a number and infinity there is none.
    low, high = np.quantile(of(drawn_SN), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return Estimate(value, float(low), float(high))


def _resampled(logs: Sequence[Values], resamples: int, seed: int) -> Values:
    """Means of log steps, SN, each batch size's seeds drawn with replacement."""
    rng = np.random.default_rng(seed)
    drawn = [values[rng.integers(0, len(values), (resamples, len(values)))].mean(axis=1) for values in logs]
    return np.stack(drawn, axis=1)


def _measured(batches_N: Values, means_SN: Values) -> Values:
    """B* by definition 1 for each row of mean log steps; infinite where the largest batch still is within the limit."""
    log_batch_N = np.log(batches_N)
    excess_SN = log_batch_N + means_SN  # log examples
    excess_SN = excess_SN - excess_SN.min(axis=1, keepdims=True) - math.log1p(OVERHEAD)
    found_S = np.full(len(means_SN), math.inf)
    for row, excess_N in enumerate(excess_SN):
        if excess_N[-1] <= 0:
            continue
        last = int(np.flatnonzero(excess_N <= 0)[-1])  # the largest measured within the limit; B_opt at least
        share = -excess_N[last] / (excess_N[last + 1] - excess_N[last])
        found_S[row] = math.exp(log_batch_N[last] + share * (log_batch_N[last + 1] - log_batch_N[last]))
    return found_S


def _fits(batches_N: Values, means_SN: Values) -> tuple[Values, Values, Values]:
    """The law fitted to each row of mean log steps.

    Bc is 0 where steps do not depend on the batch at all, infinite where they fall as 1/B or faster: nothing
    of a limit is to be seen there.
    """
    tried_G = np.linspace(math.log(batches_N[0] / _BEYOND), math.log(batches_N[-1] * _BEYOND), _TRIED)
    laws_GN, centred_SN = _centred(np.log1p(np.exp(tried_G)[:, None] / batches_N)), _centred(means_SN)
    # Sums of squares about each law with the Smin that suits it best, which is what centring comes to.
    errors_SG = _squares(centred_SN)[:, None] - 2 * centred_SN @ laws_GN.T + _squares(laws_GN)
    nearest_S = errors_SG.argmin(axis=1)
    inner_S = np.clip(nearest_S, 1, _TRIED - 2)
    rows_S = np.arange(len(means_SN))
    before_S, at_S, after_S = (errors_SG[rows_S, inner_S + shift] for shift in (-1, 0, 1))
    bend_S = before_S - 2 * at_S + after_S
    # The parabola through the three nearest finds the minimum between them.
    moved_S = np.where(bend_S > 0, 0.5 * (before_S - after_S) / np.where(bend_S > 0, bend_S, 1.0), 0.0)
    log_bc_S = tried_G[inner_S] + np.clip(moved_S, -1, 1) * (tried_G[1] - tried_G[0])
    left_SN = means_SN - np.log1p(np.exp(log_bc_S)[:, None] / batches_N)
    log_least_S, misfit_S = left_SN.mean(axis=1), np.sqrt(_squares(_centred(left_SN)) / len(batches_N))
    bc_S = np.where(nearest_S == 0, 0.0, np.where(nearest_S == _TRIED - 1, math.inf, np.exp(log_bc_S)))
    return bc_S, log_least_S, misfit_S


def _centred(values_SN: Values) -> Values:
    return np.asarray(values_SN - values_SN.mean(axis=1, keepdims=True))


def _squares(values_SN: Values) -> Values:
    return np.asarray((values_SN**2).sum(axis=1))


def overheads(curve: Curve) -> list[tuple[int, float]]:
    """Each batch size reached, with its examples over the fewest, less 1."""
    examples = {batch: batch * steps for batch, steps in curve.mean_steps.items()}
    return [(batch, value / min(examples.values()) - 1) for batch, value in examples.items()]


def beyond(estimate: float, batches: Sequence[int]) -> str:
    """``above`` or ``below`` where an estimate lies outside of the batch sizes measured, else empty."""
    if estimate > max(batches):
        return "above"
    return "below" if estimate < min(batches) else ""
