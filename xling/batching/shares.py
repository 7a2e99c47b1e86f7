"""What share of the batches each kind has, at each step of the budget.

Shape suffixes: K kinds, T steps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xling.config.schema import MixConfig, ShareSchedule

KINDS = ("monolingual", "cross_lingual", "mixed_monolingual")

FloatArray = npt.NDArray[np.float64]
Steps = npt.NDArray[np.uint64] | npt.NDArray[np.int64]


def most_of(mix: MixConfig, kind: str) -> float:
    """The largest share that a kind comes to; 0 for one that is never drawn."""
    least, most = mix.alpha, mix.alpha
    if isinstance(mix.monolingual, ShareSchedule):
        least, most = mix.monolingual.span
    cross = 1 - mix.mixed_monolingual - least if mix.cross_lingual is None else mix.cross_lingual
    return {"monolingual": most, "cross_lingual": cross, "mixed_monolingual": mix.mixed_monolingual}[kind]


def shares_at(mix: MixConfig, steps_T: Steps, total_steps: int) -> FloatArray:
    """The kinds' shares at some steps, KT; K1 where they are the same at every step.

    Step t of n is at position t/n of the budget: the share of it that is behind when t begins.
    """
    if not isinstance(mix.monolingual, ShareSchedule):
        assert mix.cross_lingual is not None  # the schema holds that a number has its complement
        return np.array([[mix.monolingual], [mix.cross_lingual], [mix.mixed_monolingual]])
    monolingual_T = _scheduled(mix.monolingual, steps_T / max(1, total_steps))
    mixed_T = np.full(len(steps_T), mix.mixed_monolingual)
    return np.stack([monolingual_T, np.maximum(0.0, 1.0 - monolingual_T - mixed_T), mixed_T])


def bounds_at(mix: MixConfig, steps_T: Steps, total_steps: int) -> FloatArray:
    """Upper bounds of u for each kind, as :func:`shares_at`. From the last kind that has a share they are 1."""
    bounds_KT = np.cumsum(shares_at(mix, steps_T, total_steps), axis=0)
    last = max(index for index, kind in enumerate(KINDS) if most_of(mix, kind) > 0)
    bounds_KT[last:] = 1.0  # whatever the sum rounds to
    return bounds_KT


def _scheduled(schedule: ShareSchedule, position_T: FloatArray) -> FloatArray:
    if schedule.ramp is None:
        starts, shares = np.array(schedule.steps).T
        return np.asarray(shares[np.searchsorted(starts, position_T, side="right") - 1])
    done_T = np.minimum(position_T / schedule.ramp.until, 1.0)
    if schedule.cosine is not None:
        done_T = 0.5 - 0.5 * np.cos(np.pi * done_T)
    return np.interp(done_T, [0.0, 1.0], [schedule.ramp.start, schedule.ramp.end])
