"""Where workers may go, and the cores that a lost driver's workers held, made free again.

Ray removes a placement group with the actor that made it, but not when that actor's whole node is
lost, and Ray Train's own cleaner knows a group only once all its workers have started. So cores on
other nodes would stay taken for as long as the sweep runs. Here each group of workers carries a
number, as so many bytes more in the memory of its bundles (the one thing that its table shows and
that every node has), and is wanted for as long as the mailbox actor of that number lives, which
goes with its driver.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress

import ray
from ray._raylet import PlacementGroupID  # its public users only ever get it from Ray
from ray.exceptions import RayError
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from xling.sweep.placing.packing import Need

_NUMBERS = 2**20  # bytes: nothing beside what a node has; memory that is asked for is whole multiples
_REMOVED = "REMOVED"
_NODE_ID = "ray.io/node-id"  # a label that Ray gives each node


def label_selector(need: Need, closed: Sequence[str]) -> dict[str, str]:
    """What a worker's node must be, as Ray's label selectors have it. Args: closed: the ids of nodes to keep off."""
    keep_off = {_NODE_ID: f"!in({','.join(closed)})"} if closed else {}
    return {**keep_off, **dict(need.labels)}


def new_number() -> int:
    """A number for a group of workers, 1 to 2^20 - 1."""
    return 1 + secrets.randbelow(_NUMBERS - 1)


def marked_memory(wanted: int, number: int) -> int:
    """Bytes of memory for each of a group's bundles: as wanted, or a MiB or two less, and with the number in it."""
    return max(0, wanted // _NUMBERS - 1) * _NUMBERS + number


def mailbox_name(number: int) -> str:
    """The name under which the group's mailbox actor must live for as long as the group is wanted."""
    return f"xling-workers-{number}"


def free_abandoned() -> int:
    """Remove this Ray job's groups of workers whose mailbox is gone; returns how many they were."""
    job = ray.get_runtime_context().get_job_id()
    removed = 0
    for identity, group in placement_group_table().items():
        number = _number_of(group)
        # An id ends with its job's: another sweep's mailboxes cannot be looked up from here.
        if number is None or group["state"] == _REMOVED or not identity.endswith(job) or _is_there(number):
            continue
        with suppress(RayError):
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(identity))))
            removed += 1
    return removed


def _number_of(group: dict[str, object]) -> int | None:
    """The number that a group carries; None for a placement group of another kind."""
    bundles = group["bundles"]
    assert isinstance(bundles, dict)
    # A driver's own group has memory and no cores.
    amounts = {int(bundle.get("memory", 0)) if bundle.get("CPU") else 0 for bundle in bundles.values()}
    return (amounts.pop() % _NUMBERS if len(amounts) == 1 else 0) or None


def _is_there(number: int) -> bool:
    try:
        ray.get_actor(mailbox_name(number))
    except ValueError:
        return False
    return True
