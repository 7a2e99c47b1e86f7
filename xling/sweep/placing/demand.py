"""What waits for nodes, shown to an autoscaler: a pending placement group a job.

They ask for what the job's workers and its driver will ask for. One that finds its room is let go at once: the
job itself takes it. They go with the sweep's process, so that nothing is asked for in the name of one that died
(which `ray.autoscaler.sdk.request_resources` would go on doing; it also has one request for the whole cluster,
and Ray Train makes that).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress

from ray.exceptions import RayError
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from xling.sweep.placing.packing import DRIVER_BYTES, Need

MOST_SHOWN = 100  # groups; an autoscaler starts nodes by the handful


class Demand:
    """The placement groups that are pending in a launch's name; :meth:`show` is called every few seconds."""

    def __init__(self) -> None:
        self._groups: defaultdict[Need, list[PlacementGroup]] = defaultdict(list)

    def show(self, needs: Sequence[Need]) -> None:
        """Have a group pending for each of these, and no others."""
        wanted = Counter(needs[:MOST_SHOWN])
        for need in {*wanted, *self._groups}:
            groups = self._groups[need]
            placed = [group for group in groups if _is_placed(group)]
            for group in placed:
                groups.remove(group)
                _remove(group)
            while len(groups) > wanted[need]:
                _remove(groups.pop())
            # One that was placed comes back a round later: until then its room is there for workers that wait.
            while len(groups) < wanted[need] - len(placed):
                groups.append(_group(need))

    def clear(self) -> None:
        for groups in self._groups.values():
            while groups:
                _remove(groups.pop())


def _group(need: Need) -> PlacementGroup:
    worker = {"CPU": need.cpus, **({"GPU": need.gpus} if need.gpus else {})}
    if need.memory:
        worker["memory"] = need.memory
    bundles = [dict(worker) for _ in range(need.workers)]
    labels = [dict(need.labels) for _ in bundles]
    return placement_group([*bundles, {"memory": DRIVER_BYTES}], strategy="PACK", bundle_label_selector=[*labels, {}])


def _is_placed(group: PlacementGroup) -> bool:
    return placement_group_table(group).get("state") not in ("PENDING", "PREPARED", "RESCHEDULING")


def _remove(group: PlacementGroup) -> None:
    with suppress(RayError):
        remove_placement_group(group)
