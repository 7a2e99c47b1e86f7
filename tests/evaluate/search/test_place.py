"""Tasks on a Ray cluster: where they run, what they leave behind, and who looks after them while they wait."""

import os
import time
from pathlib import Path

import pytest
from test_sharded_on_ray import cluster

from xling.evaluate.search import place
from xling.evaluate.search.place import Cluster

__all__ = ["cluster"]


class Left(Exception):
    """Whoever waited for the tasks goes."""


def exported() -> int:
    """Functions that the cluster's head keeps."""
    from ray._private.ray_constants import KV_NAMESPACE_FUNCTION_TABLE
    from ray.experimental.internal_kv import _internal_kv_list

    return len(_internal_kv_list(b"RemoteFunction", namespace=KV_NAMESPACE_FUNCTION_TABLE))


@pytest.mark.slow
def test_a_function_is_exported_once_and_only_gpu_tasks_end_their_process(cluster) -> None:
    def process(number: int) -> tuple[int, int]:
        return number, os.getpid()

    before = exported()
    calls = [(number,) for number in range(4)]
    on_cores = dict(value for _, value in Cluster(2, gpus=1).run(process, calls, 1))
    assert len(set(on_cores.values())) == 1
    assert exported() == before + 1
    on_gpus = dict(value for _, value in Cluster(1, gpus=1).run(process, calls, 1, on_gpu=True))
    assert sorted(on_gpus) == sorted(on_cores) == [0, 1, 2, 3]
    assert len(set(on_gpus.values())) == 4
    assert exported() == before + 2
    held = (cluster.get_runtime_context().get_node_id(),)
    assert len(list(Cluster(1, held=held).run(process, calls, 1))) == 4
    assert exported() == before + 2


@pytest.mark.slow
def test_whoever_waits_for_tasks_without_a_place_is_asked_and_may_leave(cluster, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(place, "LOOK_S", 0.1)
    free, ran = tmp_path / "free", tmp_path / "ran"

    def hold(file: Path) -> None:
        while not file.exists():
            time.sleep(0.05)

    others = cluster.remote(num_cpus=2)(hold).remote(free)
    asked: list[float] = []

    def idle() -> None:
        asked.append(time.monotonic())
        if len(asked) == 3:
            raise Left

    with pytest.raises(Left):
        list(Cluster(1, idle=idle).run(Path.touch, [(ran,), (ran,)], 2))
    assert 0.1 < asked[-1] - asked[0] < 5
    free.touch()
    cluster.get(others, timeout=60)
    assert list(Cluster(2).run(Path.exists, [(ran,)], 1)) == [(0, False)], "they were cancelled"
