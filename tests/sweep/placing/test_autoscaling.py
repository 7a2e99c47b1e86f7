"""A sweep that needs nodes which are not up yet: it asks for them, they come, its cells run.

What a node's arrival is decided by is Ray's own: the state that the cluster tells autoscalers, and the scheduler of
their second version, which `ray up` and KubeRay use. Only the machines it asks for are made up here.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import planner
import pytest
from chaos_processes import STORE_BYTES, Processes
from ray._raylet import GcsClient
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.core.generated.instance_manager_pb2 import Instance, NodeKind
from ray.util import placement_group_table
from sleeping import run

from xling.sweep.placing.cluster import ray_cluster
from xling.sweep.placing.resources import ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

HEAD = {"num_cpus": 2}
KINDS = {
    "T4": {"num_cpus": 4, "num_gpus": 4, "labels": {"accelerator": "T4"}},
    "A100": {"num_cpus": 4, "num_gpus": 4, "labels": {"accelerator": "A100"}},
}


class Autoscaling(threading.Thread):
    """Adds, once a second, the nodes that Ray's scheduler would launch. A context manager."""

    def __init__(self, processes: Processes, address: str, after: Path) -> None:
        """Args: after: a file; nodes come once it is there."""
        super().__init__(daemon=True)
        self._processes, self._address, self._after = processes, address, after
        self._client, self._ended = GcsClient(address), threading.Event()
        self._scheduler = ResourceDemandScheduler()
        self._kinds = {
            name: NodeTypeConfig(
                name,
                min_worker_nodes=0,
                max_worker_nodes=2,
                resources={"CPU": shape["num_cpus"], "GPU": shape["num_gpus"], "memory": planner.MEMORY},
                labels=shape["labels"],
            )
            for name, shape in KINDS.items()
        }
        self._kinds["head"] = NodeTypeConfig("head", 0, 1, resources={"CPU": HEAD["num_cpus"]})
        self.launched: list[str] = []

    def __enter__(self) -> "Autoscaling":
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(1):
            if not self._after.exists():
                continue
            state = get_cluster_resource_state(self._client)
            request = SchedulingRequest(
                disable_launch_config_check=True,
                node_type_configs=self._kinds,
                max_num_nodes=4,
                resource_requests=state.pending_resource_requests,
                gang_resource_requests=state.pending_gang_resource_requests,
                current_instances=[*self._up(state), *self._coming(state)],
            )
            for launch in self._scheduler.schedule(request).to_launch:
                for _ in range(launch.count):
                    self.launched.append(launch.instance_type)
                    self._start_node(launch.instance_type)

    def _start_node(self, kind: str) -> None:
        shape = KINDS[kind]
        options = [
            f"--address={self._address}", f"--node-ip-address=127.0.0.{2 + len(self.launched)}",
            f"--num-cpus={shape['num_cpus']}", f"--num-gpus={shape['num_gpus']}", f"--labels=accelerator={kind}",
            f"--memory={planner.MEMORY}", f"--object-store-memory={STORE_BYTES}",
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
        ]  # fmt: skip
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        self._processes.start(command, os.environ, stdout=subprocess.DEVNULL)

    def _up(self, state) -> list[AutoscalerInstance]:
        found = []
        for number, node in enumerate(state.node_states):
            kind = node.labels.get("accelerator", "head")
            about = Instance(
                instance_id=f"up-{number}",
                instance_type=kind,
                status=Instance.RAY_RUNNING,
                node_id=node.node_id.hex(),
                node_kind=NodeKind.HEAD if kind == "head" else NodeKind.WORKER,
            )
            found.append(AutoscalerInstance(cloud_instance_id=about.instance_id, ray_node=node, im_instance=about))
        return found

    def _coming(self, state) -> list[AutoscalerInstance]:
        """What was launched, and is not a node of the cluster yet."""
        number = len(self.launched) - (len(state.node_states) - 1)
        about = [
            Instance(instance_id=f"coming-{n}", instance_type=kind, status=Instance.REQUESTED)
            for n, kind in enumerate(self.launched[len(self.launched) - number :])
        ]
        return [AutoscalerInstance(im_instance=one) for one in about]


def test_a_cell_waits_for_a_node_that_an_autoscaler_brings(tmp_path):
    large = {"workers": 4, "gpus_per_worker": 1, "labels": KINDS["A100"]["labels"], "autoscaling": True}
    small = {"gpus_per_worker": 0}
    with planner.RayNodes([HEAD]) as address, Processes() as processes, ray_cluster(address):
        before = {node.id for node in ray_nodes()}
        with Autoscaling(processes, address, after=tmp_path / "times" / "1") as autoscaling:  # the small one has ended
            wide, narrow = run(tmp_path, (large, 0), (small, 0))
        added = [node for node in ray_nodes() if node.id not in before]
        assert not [group for group in placement_group_table().values() if group["state"] == "PENDING"]
    assert autoscaling.launched == ["A100"]  # one, not one a second, and no other kind
    assert [node.labels["accelerator"] for node in added] == ["A100"]
    assert wide["nodes"] == [added[0].id] * 4
    assert narrow["ended"] < wide["held"]
