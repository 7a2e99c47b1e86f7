"""Do the intervals of `xling report` cover, and does its interaction test cry wolf? On sweeps whose truth is known.

    python benchmarks/interval_coverage.py [--simulations 500]

Sweeps of three sizes x five alphas are drawn from a known table of means, with an interaction and without one, with 3
and with 5 seeds that all cells share. What a seed does, by kind of error:

    independent   nothing: every cell has an error of its own
    shared        it lifts all its cells, all of one size, and all of one mix, each more than a cell's own error
    uneven        as shared, and a cell's own error is up to four times another's

Of each: the share of the 95 % intervals of contrasts and of curves that hold the truth; how often the F test of the
interaction, and Holm's procedure over the twelve contrasts, find one where there is none; how often where there is.
The F test takes a cell's own errors to be of one size: its figure for `uneven` is printed and has no bar. Last, one
seed: intervals over questions, whose truth is the contrast of these same models over all questions there could be.

Prints one line a question, ``NAME ratio=… bar=1``; exits 1 when one is below its bar.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from xling.report.anova import two_way
from xling.report.cell_values import CellValues, Figure, SweepValues
from xling.report.contrasts import family_of
from xling.report.estimates import Estimates
from xling.report.interaction import between_sizes
from xling.report.rows import ScoreRow
from xling.report.significance import LEVEL

FIGURE = Figure("mAP/Mo", "Mo.")
SIZES, ALPHAS = ("small", "base", "large"), (0.0, 0.25, 0.5, 0.75, 1.0)
NO_INTERACTION = np.array([0.50, 0.58, 0.62])[:, None] + np.array([0.0, 0.02, 0.01, -0.03, -0.25])
INTERACTION = NO_INTERACTION + np.outer([0.0, 0.5, 1.0], [0.04, 0.03, 0.02, 0.01, 0.0])
OWN = 0.01  # deviation of a cell's own error
KINDS = ("independent", "shared", "uneven")
WIDEST, MOST_FALSE = 0.03, 0.07  # coverage may be off .95 by so much; false positives may be so many
QUESTIONS = 120


@dataclass
class Counted:
    """Of one kind of sweep: intervals that held the truth, and tests that found an interaction, each of how many."""

    contrasts: float
    curves: float
    test: float
    holm: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    checks: list[tuple[str, float]] = []
    print(f"{'':28} {'contrasts':>10} {'curves':>8} {'F test':>8} {'Holm':>8}")
    for kind in KINDS:
        for seeds in (3, 5):
            for name, means in (("none", NO_INTERACTION), ("known", INTERACTION)):
                rng = np.random.default_rng([options.seed, KINDS.index(kind), seeds, name == "known"])
                found = simulate(means, kind, seeds, options.simulations, rng)
                print(
                    f"{f'{kind}, {seeds} seeds, {name}':28} {found.contrasts:10.1%} {found.curves:8.1%} "
                    f"{found.test:8.1%} {found.holm:8.1%}",
                    flush=True,
                )
                label = f"{kind}_{seeds}_seeds_{name}"
                checks += [(f"{label}_contrasts", off(found.contrasts)), (f"{label}_curves", off(found.curves))]
                if name == "none":
                    tests = {"F": found.test, "Holm": found.holm} if kind != "uneven" else {"Holm": found.holm}
                    checks += [
                        (f"{label}_false_{test}", MOST_FALSE / max(share, 1e-9)) for test, share in tests.items()
                    ]
    share = over_questions(options.simulations, np.random.default_rng([options.seed, 99]))
    print(f"one seed, over {QUESTIONS} questions: {share:.1%} of contrasts")
    checks.append(("one_seed_over_questions", off(share)))
    print(f"{options.simulations} simulations each, {time.monotonic() - began:.0f} s in all")
    for name, ratio in checks:
        print(f"{name} ratio={min(ratio, 999):.3f} bar=1")
    return 0 if all(ratio >= 1 for _, ratio in checks) else 1


def off(coverage: float) -> float:
    """How far coverage may be off .95, over how far it is."""
    return WIDEST / max(abs(coverage - 0.95), 1e-9)


def simulate(means_SA: np.ndarray, kind: str, seeds: int, simulations: int, rng: np.random.Generator) -> Counted:
    held, curves, tests, holm = [], [], [], []
    truth = {(size, alpha): means_SA[s, a] for s, size in enumerate(SIZES) for a, alpha in enumerate(ALPHAS)}
    for _ in range(simulations):
        sweep = sweep_of(means_SA[:, :, None] + errors(kind, seeds, rng))
        estimates = Estimates(sweep)
        family = family_of(estimates, FIGURE, between_sizes(sweep))
        for one in family:
            true = sum(weight * truth[size, ratio.alpha] for (size, ratio), weight in one.contrast.combination.items())
            assert one.estimate is not None
            held.append(one.estimate.low <= true <= one.estimate.high)
        for point, estimate in zip(sweep.points, estimates.of(FIGURE, [{p: 1.0} for p in sweep.points]), strict=True):
            assert estimate is not None
            curves.append(estimate.low <= truth[point[0], point[1].alpha] <= estimate.high)
        holm.append(any(one.estimate is not None and one.estimate.decided for one in family))
        tests.append(two_way({point: sweep.seeds(FIGURE, point) for point in sweep.points})[-1].p < LEVEL)
    return Counted(*(float(np.mean(of)) for of in (held, curves, tests, holm)))


def errors(kind: str, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """What is added to the means, size x alpha x seed."""
    shape = (len(SIZES), len(ALPHAS), seeds)
    scale = OWN * np.ones(shape[:2])
    if kind == "uneven":
        scale = OWN * 0.5 * 4 ** np.random.default_rng(7).random(shape[:2])  # the same in all sweeps
    own = scale[:, :, None] * rng.normal(size=shape)
    if kind == "independent":
        return own
    of_seed, of_size, of_alpha = (rng.normal(size=s) for s in ((1, 1, seeds), (shape[0], 1, seeds), (1, *shape[1:])))
    return own + 2 * OWN * of_seed + 1.5 * OWN * of_size + 1.5 * OWN * of_alpha


def sweep_of(values_SAR: np.ndarray) -> SweepValues:
    return SweepValues(
        [
            cell(size, alpha, seed, values_SAR[s, a, seed], parameters=10 ** (s + 6))
            for s, size in enumerate(SIZES)
            for a, alpha in enumerate(ALPHAS)
            for seed in range(values_SAR.shape[2])
        ]
    )


def cell(
    size: str, alpha: float, seed: int, value: float, *, parameters: int, per_query: pa.Table | None = None
) -> CellValues:
    row = ScoreRow(f"{size}/a{alpha}/s{seed}", size, alpha, seed, "simulated", {FIGURE.name: float(value)})
    return CellValues(row, per_query, parameters_non_embedding=parameters)


def over_questions(simulations: int, rng: np.random.Generator) -> float:
    """Two sizes, a hybrid and monolingual batches, one seed: values by query in two languages of 120 questions."""
    languages, held = ("de", "en"), []
    for _ in range(simulations):
        hard_Q = rng.normal(scale=0.2, size=(QUESTIONS, 1))  # in all languages, of all cells
        cells = []
        for s, size in enumerate(("small", "large")):
            for alpha in (0.5, 1.0):
                mean = 0.5 + 0.05 * s + 0.03 * s * (alpha < 1)
                taste_Q = rng.exponential(0.1, (QUESTIONS, 1)) - 0.1  # of this cell for a question, skewed
                values_QL = mean + hard_Q + taste_Q + rng.normal(scale=0.1, size=(QUESTIONS, len(languages)))
                table = per_query(values_QL, languages)
                cells.append(cell(size, alpha, 0, values_QL.mean(), parameters=10 ** (s + 6), per_query=table))
        sweep = SweepValues(cells)
        (one,) = family_of(Estimates(sweep, resamples=1000), FIGURE, between_sizes(sweep))
        assert one.estimate is not None
        held.append(one.estimate.low <= 0.03 <= one.estimate.high)
    return float(np.mean(held))


def per_query(values_QL: np.ndarray, languages: tuple[str, ...]) -> pa.Table:
    codes = [code for _ in values_QL for code in languages]
    return pa.table(
        {
            "query": [f"{code}/{q}" for q in range(len(values_QL)) for code in languages],
            "query_language": codes,
            "passage_language": codes,
            "n_rel": pa.array([1] * len(codes), pa.int32()),
            "mAP": values_QL.ravel(),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
