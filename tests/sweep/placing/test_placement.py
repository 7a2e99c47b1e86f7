"""Placement groups that a lost driver left behind, on a real Ray cluster of this machine."""

import pytest
import ray
from ray.util import placement_group, placement_group_table

from xling.sweep.placing.placement import free_abandoned, mailbox_name, new_number

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


class Mailbox:
    def answer(self) -> int:
        return 1


@pytest.fixture
def cluster():
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def make_group(number: int | None):
    bundle = {"CPU": 1.0, **({"memory": float(number)} if number is not None else {})}
    group = placement_group([bundle])
    ray.get(group.ready())
    return group.id.hex()


def states() -> dict[str, str]:
    return {identity: group["state"] for identity, group in placement_group_table().items()}


def test_only_groups_whose_mailbox_is_gone_are_removed(cluster):
    wanted, left, before = new_number(), new_number(), {}
    boxes = [ray.remote(num_cpus=0)(Mailbox).options(name=mailbox_name(n)).remote() for n in (wanted, left)]
    before = {"wanted": make_group(wanted), "left": make_group(left), "another's": make_group(None)}
    assert free_abandoned() == 0

    ray.kill(boxes[1])
    assert free_abandoned() == 1
    assert free_abandoned() == 0
    found = states()
    assert found[before["left"]] == "REMOVED"
    assert found[before["wanted"]] == found[before["another's"]] == "CREATED"
    assert make_group(None)  # its core is free again
