"""A sweep that needs nodes which are not up yet: it asks for them, they come, its cells run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos_processes import Processes, free_port
from planner import use_own_token
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.util import placement_group_table
from sleeping import run

from xling.sweep.resources import ray_nodes
from xling.sweep.runner import ray_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # It has not been seen to pass: Ray's made-up autoscaler did not come up on two busy cores (benchmarks/README.md).
    pytest.mark.skipif("XLING_TEST_AUTOSCALER" not in os.environ, reason="set XLING_TEST_AUTOSCALER to try it"),
]

A100 = {"accelerator": "A100"}


class Autoscaling:
    """A head whose autoscaler (version 2) starts made-up nodes on this machine, as Ray's own tests have it."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.2:{port}"  # Ray replaces .1
        worker = {
            "resources": {"CPU": 4, "GPU": 4, "object_store_memory": 10**8},
            "labels": A100,
            "node_config": {},
            "max_workers": 2,
        }
        head = {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0}
        config = {
            "cluster_name": "fake",
            "max_workers": 2,
            "provider": {
                # Not its own name, "fake_multinode": that wants a file of defaults which wheels of Ray lack.
                "type": "external",
                "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
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
            **{f"{name}_commands": [] for name in ("setup", "head_setup", "worker_setup", "initialization")},
            **{f"{name}_start_ray_commands": [] for name in ("head", "worker")},
            "file_mounts": {},
            "cluster_synced_files": [],
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
    use_own_token()
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
