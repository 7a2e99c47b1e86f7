"""Where Ray really puts trials: shares of a GPU, labels. Nodes with made-up resources."""

import time

import planner
import pytest
from ray.util import placement_group_table
from sleeping import run

from xling.config.schema import ResourcesConfig
from xling.sweep.placement import free_abandoned
from xling.sweep.resources import ray_nodes
from xling.sweep.runner import ray_cluster
from xling.sweep.workers import Pool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

A100, T4 = {"accelerator": "A100"}, {"accelerator": "T4"}
SHAPES = [{"num_cpus": 2}, {"num_cpus": 4, "num_gpus": 1, "labels": T4}, {"num_cpus": 4, "num_gpus": 4, "labels": A100}]


@pytest.fixture(scope="module")
def cluster():
    with planner.RayNodes(SHAPES) as address, ray_cluster(address):
        yield


def test_shares_of_one_gpu_at_the_same_time_and_labels_on_their_nodes(cluster, tmp_path):
    half, large = {"gpus_per_worker": 0.5, "labels": T4}, {"workers": 4, "gpus_per_worker": 1, "labels": A100}
    one, other, wide = run(tmp_path, (half, 6), (half, 6), (large, 2))
    by_label = {node.labels.get("accelerator"): node.id for node in ray_nodes()}
    assert one["nodes"] == other["nodes"] == [by_label["T4"]]
    assert max(one["held"], other["held"]) < min(one["ended"], other["ended"]) - 1
    assert wide["nodes"] == [by_label["A100"]] * 4


def test_workers_of_ray_train_go_to_labelled_nodes_with_their_memory(cluster):
    need = ResourcesConfig(workers=2, labels={"accelerator": "in(A100, H100)"}, memory_per_worker="256MiB")
    pool = Pool()
    group = pool.take(need)
    while len(group.nodes) < 2:
        group._fetch()
        time.sleep(0.2)
    by_label = {node.labels.get("accelerator"): node.id for node in ray_nodes()}
    assert pool.where(need)["nodes"] == [by_label["A100"]] * 2
    bundles = [b for g in placement_group_table().values() if g["state"] == "CREATED" for b in g["bundles"].values()]
    assert [255 * 2**20 <= bundle["memory"] <= 256 * 2**20 for bundle in bundles] == [True, True]
    assert free_abandoned() == 0
    pool.close()
