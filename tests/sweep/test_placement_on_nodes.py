"""Where Ray really puts trials: shares of a GPU, labels, and nodes that an autoscaler brings. Made-up resources."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import planner
import pytest
from chaos_processes import Processes, free_port
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.util import placement_group_table

from xling.config.schema import ResourcesConfig
from xling.storage import Storage
from xling.sweep.placement import free_abandoned
from xling.sweep.resources import ray_nodes
from xling.sweep.runner import ray_cluster, run_jobs
from xling.sweep.workers import Pool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

A100, T4 = {"accelerator": "A100"}, {"accelerator": "T4"}
SHAPES = [{"num_cpus": 2}, {"num_cpus": 4, "num_gpus": 1, "labels": T4}, {"num_cpus": 4, "num_gpus": 4, "labels": A100}]


def run(folder: Path, *trials) -> list[dict]:
    """Run trials that sleep, each given as its resources and its seconds; when and where each was, in their order."""
    jobs = [
        planner.make_job(number, "small", 1.0, seconds, resources) for number, (resources, seconds) in enumerate(trials)
    ]
    told = planner.Watching(len(jobs))
    run_jobs(
        Storage(str(folder)),
        jobs,
        {},
        planner.settings(Storage(str(folder)), time.time()),
        told,
        trainable=planner.sleeping(),
    )
    return [json.loads((folder / "times" / job.id).read_text()) for job in jobs]


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


class Autoscaling:
    """A head whose autoscaler (version 2) starts made-up nodes on this machine, as Ray's own tests have it."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.2:{port}"  # Ray replaces .1
        worker = {
            "resources": {"CPU": 4, "GPU": 4, "memory": 2**33},
            "labels": A100,
            "node_config": {},
            "max_workers": 2,
        }
        head = {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0}
        config = {
            "cluster_name": "fake",
            "max_workers": 2,
            "provider": {
                "type": "fake_multinode",
                "gcs_address": self.address,
                "launch_multiple": True,
                "head_node_id": FAKE_HEAD_NODE_ID,
                "use_node_id_as_ip": True,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "available_node_types": {"ray.head.default": head, "gpu": worker},
            "head_node_type": "ray.head.default",
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 5,
            "auth": {"ssh_user": "nobody"},
        }
        (folder / "autoscaler.yaml").write_text(json.dumps(config))
        environment = {
            **os.environ,
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        }
        options = [
            f"--port={port}", "--node-ip-address=127.0.0.2", "--num-cpus=2", "--memory=4000000000",
            f"--object-store-memory={10**8}", "--include-dashboard=false",
            f"--autoscaling-config={folder / 'autoscaler.yaml'}",
        ]  # fmt: skip
        with (folder / "head.log").open("w") as log:
            command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options]
            processes.start(command, environment, stdout=log, stderr=subprocess.STDOUT)
        self.log = folder / "head.log"

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while "--block" not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)


def test_a_cell_waits_for_a_node_that_the_autoscaler_brings(tmp_path):
    large = {"workers": 4, "gpus_per_worker": 1, "labels": A100, "autoscaling": True}
    small = {"gpus_per_worker": 0}
    with Processes() as processes:
        autoscaling = Autoscaling(processes, tmp_path)
        autoscaling.wait()
        with ray_cluster(autoscaling.address):
            before = {node.id for node in ray_nodes()}
            wide, narrow = run(tmp_path, (large, 1), (small, 1))
            added = [node for node in ray_nodes() if node.id not in before]
            assert not [group for group in placement_group_table().values() if group["state"] == "PENDING"]
    assert [node.labels["accelerator"] for node in added] == ["A100"]  # one, not one a second
    assert wide["nodes"] == [added[0].id] * 4
    assert narrow["ended"] < wide["held"]
