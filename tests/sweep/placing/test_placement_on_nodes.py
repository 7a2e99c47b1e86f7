"""Where Ray really puts trials: shares of a GPU, labels. Nodes with made-up resources."""

import time

import planner
import pytest
from ray.util import placement_group, placement_group_table, remove_placement_group
from sleeping import run

from xling.config.schema import ResourcesConfig
from xling.sweep.placing.cluster import ray_cluster
from xling.sweep.placing.placement import free_abandoned
from xling.sweep.placing.resources import ray_nodes
from xling.sweep.trials.failures import CodeFailure, InfraFailure
from xling.sweep.trials.pool import Pool
from xling.sweep.trials.workers import Workers
from xling.train.worker import WorkerSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SPEC = WorkerSpec("/none", "cell", (), {}, "", "", "", "", None, 1, ())
A100, T4 = {"accelerator": "A100"}, {"accelerator": "T4"}
SHAPES = [{"num_cpus": 2}, {"num_cpus": 4, "num_gpus": 1, "labels": T4}, {"num_cpus": 4, "num_gpus": 4, "labels": A100}]


@pytest.fixture(scope="module")
def cluster():
    with planner.RayNodes(SHAPES) as address, ray_cluster(address):
        yield


def test_shares_of_one_gpu_at_the_same_time_and_labels_on_their_nodes(cluster, tmp_path):
    half, large = {"gpus_per_worker": 0.5, "labels": T4}, {"workers": 4, "gpus_per_worker": 1, "labels": A100}
    one, other, wide = run(tmp_path, (half, 0), (half, 0), (large, 0), together=3)
    by_label = {node.labels.get("accelerator"): node.id for node in ray_nodes()}
    assert one["nodes"] == other["nodes"] == [by_label["T4"]]
    assert wide["nodes"] == [by_label["A100"]] * 4


def until_begun(group):
    while len(group.nodes) < group.resources.workers:
        group._fetch()
        time.sleep(0.2)


def test_workers_of_ray_train_go_to_labelled_nodes_with_their_memory(cluster):
    need = ResourcesConfig(workers=2, labels={"accelerator": "in(A100, H100)"}, memory_per_worker="256MiB")
    pool = Pool()
    until_begun(pool.take(need))
    by_label = {node.labels.get("accelerator"): node.id for node in ray_nodes()}
    assert pool.where(need)["nodes"] == [by_label["A100"]] * 2
    bundles = [b for g in placement_group_table().values() if g["state"] == "CREATED" for b in g["bundles"].values()]
    assert [255 * 2**20 <= bundle["memory"] <= 256 * 2**20 for bundle in bundles] == [True, True]
    assert free_abandoned() == 0
    pool.close()


def test_workers_keep_off_closed_nodes_and_a_group_that_is_on_one_goes(cluster):
    one, pool = ResourcesConfig(), Pool()
    ids = {node.id for node in ray_nodes()}
    for open_node in list(ids)[:2]:
        closed = tuple(ids - {open_node})
        group = pool.take(one, closed)
        until_begun(group)
        assert group.nodes == [open_node]
        assert pool.take(one, closed) is pool.take(one) is group
    pool.close()


def test_workers_without_a_place_wait_say_so_and_begin_on_closed_nodes_where_those_are_all_there_are(
    cluster, monkeypatch
):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    large, told = ResourcesConfig(cpus_per_worker=4, labels=A100), []
    holds = placement_group([{"CPU": 1}], bundle_label_selector=[A100])  # another user's job
    assert holds.wait(60)
    group = Workers(large, tuple(node.id for node in ray_nodes()))
    began = time.monotonic()
    leaves = group.run(SPEC, told.append, lambda: group._waits >= 2)
    assert not leaves
    assert time.monotonic() - began > 2 * 2
    assert [message["event"] for message in told] == ["no place"]
    remove_placement_group(holds)
    until_begun(group)
    assert len(group.nodes) == 1
    with pytest.raises((CodeFailure, InfraFailure)):  # its worker can do nothing with such a spec, and goes
        group.run(SPEC, told.append, lambda: False)
    assert [message["event"] for message in told].count("no place") == 1  # it had its place by then
    group.end()
