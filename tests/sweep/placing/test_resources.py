from itertools import count
from types import SimpleNamespace

import pytest

from xling.config.schema import ResourcesConfig
from xling.errors import ResourceError
from xling.sweep.placing.resources import Node, require_kinds, this_machine, what_fits

GB = 1e9


NUMBERS = count()


def node(cpus, gpus=0, memory=64 * GB):
    return Node(f"n{next(NUMBERS)}", cpus, gpus, memory)


def job(**resources):
    return SimpleNamespace(size="tiny", config=SimpleNamespace(resources=ResourcesConfig(**resources)))


@pytest.mark.parametrize(
    ("nodes", "need", "trials"),
    [
        ([node(2)], {"workers": 1}, 2),
        ([node(8)], {"workers": 2, "cpus_per_worker": 2}, 2),
        ([node(3), node(3)], {"workers": 3, "cpus_per_worker": 2}, 0),  # one worker a node
        ([node(3), node(3)], {"workers": 2, "cpus_per_worker": 2}, 1),  # spread over both
        ([node(16, 8), node(16, 8)], {"workers": 4, "gpus_per_worker": 1}, 4),
        ([node(2, 8)], {"workers": 1, "gpus_per_worker": 1}, 2),  # GPUs without cores are of no use
        ([node(64, 1)], {"workers": 1, "gpus_per_worker": 0.25}, 4),
        ([node(64, memory=2.5 * GB)], {"workers": 1}, 2),  # drivers need memory
        ([node(8)], {"workers": 1, "max_concurrent": 3}, 3),
        ([node(2)], {"workers": 1, "max_concurrent": 3}, 2),
    ],
)
def test_what_fits(nodes, need, trials):
    assert what_fits(nodes, ResourcesConfig(**need)).trials == trials


def test_the_impossible_is_refused_with_the_arithmetic():
    with pytest.raises(ResourceError) as caught:
        require_kinds([node(2), node(2)], [job(workers=2, cpus_per_worker=4)])
    text = str(caught.value)
    assert "not one trial fits: a trial needs 2 workers x 4 CPUs; 2 nodes with 4 CPUs have room for 0" in text
    assert "Lower resources.workers" in text


def test_why_not_more_is_said():
    assert "has room for 2 such workers" in what_fits([node(2)], ResourcesConfig()).why_not_more
    assert "memory" in what_fits([node(9, memory=2.5 * GB)], ResourcesConfig()).why_not_more


def test_a_label_that_no_node_has_is_told_with_those_there_are():
    nodes = [Node(name, 8, 1, 64 * GB, {"accelerator": "T4", "ray.io/node-id": "abc"}) for name in "ab"]
    with pytest.raises(ResourceError) as caught:
        require_kinds(nodes, [job(labels={"accelerator": "A100"})])
    text = str(caught.value)
    assert (
        "not one trial fits: no node is labelled accelerator=A100; labels there are: accelerator=T4 (2 nodes)." in text
    )
    assert "abc" not in text
    assert "nodes have no labels" in what_fits([node(2)], ResourcesConfig(labels={"a": "b"})).why_not_more


def test_a_cluster_that_adds_nodes_may_have_none_yet():
    (kind,) = require_kinds([node(2)], [job(gpus_per_worker=1, autoscaling=True)])
    assert kind.fit.trials == 0


def test_this_machine_has_something():
    (here,) = this_machine()
    assert here.cpus >= 1
    assert here.memory > GB
