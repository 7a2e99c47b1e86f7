"""What fits on a cluster at once, and the arithmetic to show when it does not."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from xling.config.schema import ResourcesConfig
from xling.errors import ResourceError

# Measured with `benchmarks/fixed_cost.py`: the trial's driver with Train's controller, cleaner
# and data-set manager. Workers come on top, and are bounded by their cores.
DRIVER_BYTES = 1_200_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """What one machine offers."""

    name: str
    cpus: float
    gpus: float
    memory: float  # bytes


@dataclass(frozen=True, slots=True)
class Fit:
    """How many trials run at once, and what stops one more."""

    trials: int
    why_not_more: str


def this_machine() -> list[Node]:
    """The machine this process runs on, as a cluster of one node."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return [Node("this machine", float(os.cpu_count() or 1), 0.0, float(pages * size))]


def ray_nodes() -> list[Node]:
    """The nodes of the connected Ray cluster."""
    import ray

    return [
        Node(
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def what_fits(nodes: Sequence[Node], need: ResourcesConfig) -> Fit:
    """Trials that run side by side.

    A worker lies on one node; a trial's workers may lie on several. GPUs and CPUs of a node
    are counted together, so a node without free cores does not offer its GPUs.
    """
    slots = sum(_workers_on(node, need) for node in nodes)
    by_workers = slots // need.workers
    by_memory = sum(math.floor(node.memory / DRIVER_BYTES) for node in nodes)
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    each = f"{need.workers} {_plural('worker', need.workers)} x {_per_worker(need)}"
    offered = f"{cpus:g} {_plural('CPU', cpus)}" + (f", {gpus:g} {_plural('GPU', gpus)}" if gpus else "")
    has = f"{len(nodes)} {_plural('node', len(nodes))} with {offered}"
    if need.max_concurrent is not None and need.max_concurrent <= min(by_workers, by_memory):
        return Fit(need.max_concurrent, "resources.max_concurrent says so")
    if by_memory < by_workers:
        return Fit(by_memory, f"a trial's driver needs {DRIVER_BYTES / 1e9:.1f} GB of memory")
    room = f"room for {slots} such {_plural('worker', slots)}"
    return Fit(by_workers, f"a trial needs {each}; {has} {'have' if len(nodes) > 1 else 'has'} {room}")


def require_fit(nodes: Sequence[Node], need: ResourcesConfig) -> Fit:
    """What fits, or a ResourceError with the arithmetic when not even one trial does."""
    fit = what_fits(nodes, need)
    if fit.trials < 1:
        raise ResourceError(
            f"not one trial fits: {fit.why_not_more}. "
            "Lower resources.workers, cpus_per_worker or gpus_per_worker, or add nodes"
        )
    return fit


def _workers_on(node: Node, need: ResourcesConfig) -> int:
    slots = math.floor(node.cpus / need.cpus_per_worker)
    if need.gpus_per_worker:
        slots = min(slots, math.floor(node.gpus / need.gpus_per_worker + 1e-9))
    return slots


def _per_worker(need: ResourcesConfig) -> str:
    gpus = f" + {need.gpus_per_worker:g} {_plural('GPU', need.gpus_per_worker)}" if need.gpus_per_worker else ""
    return f"{need.cpus_per_worker} {_plural('CPU', need.cpus_per_worker)}{gpus}"


def _plural(word: str, count: float) -> str:
    return word if count == 1 else f"{word}s"
