"""What fits on a cluster at once, and the arithmetic to show when it does not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xling.config.schema import ResourcesConfig
from xling.errors import ResourceError
from xling.sizes import size_text
from xling.sweep.jobs import Job
from xling.sweep.placing.packing import DRIVER_BYTES, Need, Node, at_once, slots

MOST_COUNTED = 1000  # trials of a kind: nobody has as many cells that wait


@dataclass(frozen=True, slots=True)
class Fit:
    """How many trials run at once, and what stops one more."""

    trials: int
    why_not_more: str


@dataclass(frozen=True, slots=True)
class Kind:
    """The jobs of a sweep that need the same of the cluster."""

    models: tuple[str, ...]
    jobs: int
    need: Need
    fit: Fit
    waits: bool  # for nodes that the cluster adds, as none of those that are there will do

    @property
    def text(self) -> str:
        """What is said of how many run at once."""
        waits = "waits for nodes that the cluster adds, as " if self.waits else ""
        return f"{self.fit.trials} ({waits}{self.fit.why_not_more})"


def this_machine() -> list[Node]:
    """The machine this process runs on, as a cluster of one node."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return [Node("this machine", float(os.cpu_count() or 1), 0.0, float(pages * size))]


def ray_nodes() -> list[Node]:
    """The living nodes of the connected Ray cluster, each named by its address, and its id where several share one."""
    import ray

    living = [node for node in ray.nodes() if node["Alive"]]
    addresses = Counter(node["NodeManagerAddress"] for node in living)
    found = []
    for node in living:
        address, identity, offers = node["NodeManagerAddress"], node["NodeID"], node["Resources"]
        name = address if addresses[address] == 1 else f"{address} ({identity[:6]})"
        cpus, gpus, memory, store = (offers.get(x, 0.0) for x in ("CPU", "GPU", "memory", "object_store_memory"))
        found.append(Node(name, cpus, gpus, memory, node.get("Labels") or {}, identity, store))
    return sorted(found, key=lambda node: node.name)


def what_fits(nodes: Sequence[Node], config: ResourcesConfig) -> Fit:
    """Trials of a kind that run side by side, with nothing else beside them.

    A worker lies on one node; a trial's workers may lie on several. GPUs and CPUs of a node
    are counted together, so a node without free cores does not offer its GPUs.
    """
    need = Need.of(config)
    trials = at_once(nodes, need, MOST_COUNTED)
    if config.max_concurrent is not None and config.max_concurrent <= trials:
        return Fit(config.max_concurrent, "resources.max_concurrent says so")
    accepted = [node for node in nodes if need.accepts(node.labels)]
    if not accepted:
        return Fit(0, f"no node is labelled {_labels(need.labels)}; {_labels_there(nodes)}")
    room = sum(slots(node, need) for node in accepted)
    if trials < room // need.workers:
        return Fit(trials, f"a trial's driver needs {size_text(DRIVER_BYTES)} of memory")
    has = f"{_offer(accepted, need)} {'have' if len(accepted) > 1 else 'has'}"
    return Fit(trials, f"a trial needs {describe(need)}; {has} room for {room} such {_plural('worker', room)}")


def require_kinds(nodes: Sequence[Node], jobs: Sequence[Job]) -> list[Kind]:
    """The kinds of jobs, those first that most can run of.

    Raises:
        ResourceError: of some of them not one trial fits, and no node will come.
    """
    groups: dict[Need, list[Job]] = {}
    for job in jobs:
        groups.setdefault(Need.of(job.config.resources), []).append(job)
    kinds = []
    for need, group in groups.items():
        fit = what_fits(nodes, group[0].config.resources)
        models = tuple(dict.fromkeys(job.size for job in group))
        waits = fit.trials < 1 and all(job.config.resources.autoscaling for job in group)
        kinds.append(Kind(models, len(group), need, fit, waits))
    refused = [kind for kind in kinds if kind.fit.trials < 1 and not kind.waits]
    if refused:
        named = len(kinds) > 1
        raise ResourceError(
            "\n".join(_refusal(kind.fit.why_not_more, kind.models if named else ()) for kind in refused)
        )
    return sorted(kinds, key=lambda kind: -kind.fit.trials)


def limit_of(jobs: Iterable[Job]) -> int | None:
    """Trials at once that the file allows, whatever fits; None for any number."""
    limits = [job.config.resources.max_concurrent for job in jobs]
    return min((limit for limit in limits if limit is not None), default=None)


def describe(need: Need) -> str:
    """``4 workers x (1 CPU + 1 GPU)``."""
    return f"{need.workers} {_plural('worker', need.workers)} x {per_worker(need)}"


def per_worker(need: Need) -> str:
    """What one worker needs: ``1 CPU``, ``(1 CPU + 0.25 GPUs)``."""
    parts = [f"{need.cpus:g} {_plural('CPU', need.cpus)}"]
    if need.gpus:
        parts.append(f"{need.gpus:g} {_plural('GPU', need.gpus)}")
    if need.memory:
        parts.append(size_text(need.memory))
    return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"


def as_json(need: Need) -> dict[str, Any]:
    """A need's parts by their names in a sweep file, memory in bytes."""
    return {
        "workers": need.workers,
        "cpus_per_worker": need.cpus,
        "gpus_per_worker": need.gpus,
        "memory_per_worker": need.memory,
        "labels": dict(need.labels),
    }


def _refusal(why: str, models: Sequence[str] = ()) -> str:
    of = f" of {', '.join(models)}" if models else ""
    return (
        f"not one trial{of} fits: {why}. Lower resources.workers, cpus_per_worker or gpus_per_worker, or add nodes; "
        "on a cluster that adds them itself set resources.autoscaling: true"
    )


def _offer(nodes: Sequence[Node], need: Need) -> str:
    """``2 nodes with 32 CPUs, 16 GPUs``."""
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    parts = [f"{cpus:g} {_plural('CPU', cpus)}"]
    if gpus:
        parts.append(f"{gpus:g} {_plural('GPU', gpus)}")
    if need.memory:
        parts.append(size_text(sum(node.memory for node in nodes)))
    labelled = f" labelled {_labels(need.labels)}" if need.labels else ""
    return f"{len(nodes)} {_plural('node', len(nodes))}{labelled} with {', '.join(parts)}"


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    return " and ".join(f"{name}={value}" for name, value in labels)


def _labels_there(nodes: Sequence[Node]) -> str:
    """The labels of the nodes, but those that name a single one."""
    counts = Counter(label for node in nodes for label in node.labels.items() if label[0] != "ray.io/node-id")
    if not counts:
        return "nodes have no labels: give them some (`ray start --labels=NAME=VALUE`)"
    listed = [f"{name}={value} ({count} {_plural('node', count)})" for (name, value), count in sorted(counts.items())]
    return f"labels there are: {', '.join(listed)}"


def _plural(word: str, count: float) -> str:
    return word if count == 1 else f"{word}s"
