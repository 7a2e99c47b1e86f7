"""200 cells of three sizes on Ray nodes with made-up resources: how close the schedule comes to what is possible.

The runner, its queue, Ray Tune and Ray's placement are those of a sweep; a trial holds the placement group that
its workers would hold, and sleeps in proportion to its expected cost (give or take 15 %) instead of training. The
large cells only go to nodes with a label. No schedule is shorter than all work over all GPUs, than the large cells'
work over the labelled nodes' GPUs, or than the longest cell.

    python benchmarks/planner.py [--nodes N] [--seconds S] [--cells N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from xling.config.schema import CellConfig
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.launching.runner import run_jobs
from xling.sweep.order import in_order
from xling.sweep.placing.cluster import RAY_ENVIRONMENT, ray_cluster
from xling.sweep.placing.packing import Need, Node, timetable
from xling.sweep.placing.resources import ray_nodes
from xling.sweep.settings import TrialSettings
from xling.sweep.study import Study

MOST_RATIO, MOST_GROWTH = 1.2, 1.1
LABEL = {"accelerator": "A100"}
MEMORY = 32 * 10**9  # bytes that each node says it has
SIZES = {  # share of the cells, mean seconds beside those of the others, resources
    "large": (0.06, 24, {"workers": 4, "gpus_per_worker": 1, "labels": LABEL}),
    "base": (0.32, 20, {"gpus_per_worker": 1}),
    "small": (0.62, 15, {"gpus_per_worker": 0.5}),
}
SPREAD, NOISE = 0.25, 0.15  # of the cells of a size; of what a cell takes beside what is expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=240.0, help="that the shortest possible schedule takes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shapes = node_shapes(options.nodes)
    jobs, seconds = make_jobs(options.cells, shapes, options.seconds, options.seed)
    with tempfile.TemporaryDirectory(prefix="xling-bench-") as name, RayNodes(shapes) as address:
        root = Storage(name)
        with ray_cluster(address):
            nodes = ray_nodes()
            display = Watching(len(jobs))
            began = time.time()
            study = Study(tuple(jobs), (), (), {}, {}, ())
            ordered = in_order(root, "planner", jobs, study)
            run_jobs(root, ordered, {}, settings(root, began), display, trainable=sleeping())
            whole_s = time.time() - began
        times = [json.loads((Path(name) / "times" / job.id).read_text()) for job in ordered]
    return report(nodes, ordered, seconds, times, began, whole_s, display)


def node_shapes(count: int) -> list[dict[str, Any]]:
    """Two nodes of four labelled GPUs, a third of the nodes with one, the rest without any.

    Few enough GPUs for the drivers, a process each: two cores start one in some seconds.
    """
    labelled = {"num_cpus": 16, "num_gpus": 4, "labels": LABEL}
    single = {"num_cpus": 4, "num_gpus": 1, "labels": {"accelerator": "T4"}}
    plain = {"num_cpus": 4, "num_gpus": 0}
    return [plain, labelled, labelled, *[single] * (count // 3), *[plain] * (count - 3 - count // 3)]


def make_jobs(
    count: int, shapes: list[dict[str, Any]], bound_s: float, seed: int
) -> tuple[list[Job], dict[str, float]]:
    """The cells, shuffled, and what each really takes, by id: so that the lower bound is as asked for."""
    draw = random.Random(seed)
    sizes = [size for size, (share, *_) in SIZES.items() for _ in range(round(share * count))]
    expected = [SIZES[size][1] * draw.uniform(1 - SPREAD, 1 + SPREAD) for size in sizes]
    taken = [one * draw.uniform(1 - NOISE, 1 + NOISE) for one in expected]
    jobs = [make_job(number, size, one) for number, (size, one) in enumerate(zip(sizes, expected, strict=True))]
    nodes = [Node(str(n), s["num_cpus"], s["num_gpus"], MEMORY, s.get("labels", {})) for n, s in enumerate(shapes)]
    scale = bound_s / lower_bound(nodes, jobs, taken)
    seconds = {job.id: scale * one for job, one in zip(jobs, taken, strict=True)}
    jobs = [
        make_job(n, size, scale * one, seconds[str(n)])
        for n, (size, one) in enumerate(zip(sizes, expected, strict=True))
    ]
    draw.shuffle(jobs)
    return jobs, seconds


def make_job(
    number: int, size: str, expected_s: float, taken_s: float = 0.0, resources: dict[str, Any] | None = None
) -> Job:
    """A cell whose budget says how long it is expected to take, and whose label what it takes."""
    resources = resources or SIZES[size][2]
    flops = expected_s * resources.get("workers", 1) * (resources["gpus_per_worker"] or 1)
    config = CellConfig.model_validate(
        {
            "data": {"train": {"dataset": "geo"}},
            "model": {"preset": size},
            "train": {"budget": {"flops": flops}},
            "resources": resources,
        }
    )
    label = f"{size}/{taken_s!r}/{number}"
    return Job("cell", str(number), label, size, 0.5, config, training="", texts="", weights="")


def lower_bound(nodes: list[Node], jobs: list[Job], seconds: list[float]) -> float:
    """No schedule is shorter: by GPUs, by labelled GPUs, by the longest cell."""
    needs = [Need.of(job.config.resources) for job in jobs]
    work = [need.workers * need.gpus * one for need, one in zip(needs, seconds, strict=True)]
    bounds = [max(seconds)]
    for labels in {need.labels for need in needs}:
        which = [number for number, need in enumerate(needs) if not labels or need.labels == labels]
        gpus = sum(node.gpus for node in nodes if needs[which[0]].accepts(node.labels) or not labels)
        bounds.append(sum(work[number] for number in which) / gpus)
    return max(bounds)


def settings(root: Storage, launched: float) -> TrialSettings:
    return TrialSettings(root.url, "planner", 0, "", "planner", None, "", launched)


def sleeping(together: int = 1) -> Callable[[dict[str, Any]], None]:
    """The trial that sleeps. Made here it travels whole to its drivers, which do not know this file.

    Args:
        together: trials that must hold their places at once before the first of them begins to sleep.
    """

    def sleep_instead(config: dict[str, Any]) -> None:
        """A trial whose workers hold their place and sleep."""
        import json
        import time
        from pathlib import Path

        import ray
        from ray import tune
        from ray.util import placement_group, placement_group_table, remove_placement_group

        from xling.config.schema import ResourcesConfig
        from xling.sweep.placing.packing import Need
        from xling.sweep.placing.placement import label_selector

        plain = config["trial"]
        job, begun = json.loads(plain["job"]), time.time()
        need = job["config"]["resources"]
        bundle = {
            "CPU": need["cpus_per_worker"],
            **({"GPU": need["gpus_per_worker"]} if need["gpus_per_worker"] else {}),
        }
        where = label_selector(Need.of(ResourcesConfig.model_validate(need)), plain["closed"])
        group = placement_group([bundle] * need["workers"], bundle_label_selector=[where] * need["workers"])
        if not group.wait(600):
            raise TimeoutError(f"{job['label']} got no place")
        held = time.time()
        nodes = list(placement_group_table(group)["bundles_to_node_id"].values())
        about = {"job": job["id"], "step": 0, "total": 0}
        here = ray.get_runtime_context().get_node_id()
        tune.report({**about, "phase": "training", "nodes": nodes, "driver_node": here})
        places = Path(plain["settings"]["storage"]) / "places"
        places.mkdir(exist_ok=True)
        (places / job["id"]).touch()
        while len(list(places.iterdir())) < together:
            time.sleep(0.1)
        time.sleep(float(job["label"].split("/")[1]))
        remove_placement_group(group)
        folder = Path(plain["settings"]["storage"]) / "times"
        folder.mkdir(exist_ok=True)
        (folder / job["id"]).write_text(
            json.dumps({"begun": begun, "held": held, "ended": time.time(), "nodes": nodes})
        )
        tune.report({**about, "phase": "done", "ended": True})

    return sleep_instead


class Watching:
    """Counts the cells that ended, and notes this process's memory at a quarter of them and at the end."""

    def __init__(self, count: int) -> None:
        self._count, self._ended = count, 0
        self.memory: dict[float, int] = {}

    def message(self, text: str) -> None:
        print(text, flush=True)

    def event(self, values: dict[str, Any]) -> None:
        self._ended += bool(values.get("ended"))
        for share in (0.25, 0.5, 0.75, 1.0):
            if self._ended >= share * self._count and share not in self.memory:
                self.memory[share] = psutil.Process().memory_info().rss

    def close(self) -> None:
        """Nothing was opened."""


def use_own_token() -> None:
    """Have this process's clusters ask for the user's own token, as those of `ray start` and a local `ray.init` do."""
    from ray._private.authentication import authentication_token_setup as setup

    setup.enable_token_auth_by_default()
    setup.ensure_token_if_auth_enabled(None, create_token_if_missing=True)


class RayNodes:
    """Ray nodes with made-up resources on this machine, which start no process before one is asked for."""

    def __init__(self, shapes: list[dict[str, Any]]) -> None:
        self._shapes = shapes

    def __enter__(self) -> str:
        from ray.cluster_utils import Cluster

        began = time.monotonic()
        os.environ.update(RAY_ENVIRONMENT)
        use_own_token()
        alike = {"memory": MEMORY, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.2"}  # Ray replaces .1
        lazy = {"prestart_worker_first_driver": False, "enable_worker_prestart": False}
        head = {**self._shapes[0], **alike, "include_dashboard": False, "_system_config": lazy}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for shape in self._shapes[1:]:
            self._cluster.add_node(wait=False, **shape, **alike)
        self._cluster.wait_for_nodes(timeout=300)
        print(f"{len(self._shapes)} nodes up in {time.monotonic() - began:.0f} s", flush=True)
        return str(self._cluster.address)

    def __exit__(self, *problem: object) -> None:
        self._cluster.shutdown()


def report(
    nodes: list[Node],
    jobs: list[Job],
    seconds: dict[str, float],
    times: list[dict[str, Any]],
    began: float,
    whole_s: float,
    display: Watching,
) -> int:
    taken = [seconds[job.id] for job in jobs]
    bound = lower_bound(nodes, jobs, taken)
    ideal = timetable(nodes, [(Need.of(job.config.resources), one) for job, one in zip(jobs, taken, strict=True)])
    makespan = max(one["ended"] for one in times) - began
    starts, expected = defaultdict(list), defaultdict(list)
    for job, one, foreseen in zip(jobs, times, ideal, strict=True):
        starts[job.size].append(one["held"] - began)
        expected[job.size].append(foreseen[0])
    for size in SIZES:
        print(
            f"{size}: {len(starts[size])} cells, last one started after {max(starts[size]):.0f} s, "
            f"without any overhead it would have after {max(expected[size]):.0f} s"
        )
    overheads = [one["ended"] - one["begun"] - took for one, took in zip(times, taken, strict=True)]
    first = min(one["held"] for one in times) - began
    print(f"shortest possible: {bound:.1f} s; by the queue without overhead: {max(end for _, end in ideal):.1f} s")
    print(f"taken: {makespan:.1f} s until the last cell ended, {whole_s:.1f} s until Ray Tune returned")
    print(f"until the first cell slept: {first:.1f} s; in a trial beside sleeping: {median(overheads):.2f} s, median")
    quarter, end = display.memory[0.25], display.memory[1.0]
    print("memory at 25, 50, 75, 100 %: " + ", ".join(f"{m / 2**20:.0f} MiB" for m in display.memory.values()))
    starved = max(max(starts[size]) / (MOST_RATIO * max(max(expected[size]), bound)) for size in SIZES)
    print(f"makespan ratio={makespan / bound:.3f} bar={MOST_RATIO} (at most)")
    print(f"memory ratio={end / quarter:.3f} bar={MOST_GROWTH} (at most)")
    return 0 if makespan <= MOST_RATIO * bound and end <= MOST_GROWTH * quarter and starved <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
