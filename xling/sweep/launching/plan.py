"""``xling plan``: the cells, what each needs, what fits at once, before anything is trained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.sizes import size_text
from xling.sweep.cell_table import show_cells
from xling.sweep.jobs import Job
from xling.sweep.order import weights_bytes
from xling.sweep.places import sweep_storage
from xling.sweep.placing.packing import Need, Node
from xling.sweep.placing.resources import Kind, as_json, per_worker, require_kinds, this_machine
from xling.sweep.selection import states_of, warm_to_run
from xling.sweep.study import Study, build_study
from xling.train.rungs import as_percent, best_share

if TYPE_CHECKING:
    from xling.sweep.launching.forecast import Forecast

# A running cell keeps two checkpoints, each of the weights and AdamW's two moments; a done one keeps
# its model alone (train/checkpoint.py, CellFolder.drop_scratch).
COPIES_WHILE_RUNNING = 6


def show_plan(
    loaded: LoadedSweep, address: str | None, console: Console, *, as_json: bool, measure: bool = False
) -> None:
    """Print the plan; with ``measure`` also what it will take, after a few real steps here.

    Raises:
        ResourceError: not one trial fits, by cores or, measured, by memory.
    """
    study = build_study(loaded.cells)
    root, sweep = sweep_storage(loaded), loaded.config.name
    states = states_of(root, sweep, study.scored)
    nodes, where = _nodes(address)
    kinds = require_kinds(nodes, study.cells)
    need = {job.id: weights_bytes(job.config) for job in study.scored}
    left = [need[job.id] for job in study.scored if states[job.id] != "done"]
    early = _early_stopping(loaded, study)
    expected: dict[str, Forecast] = {}
    left_s = 0.0
    if measure:
        # Imported here: it brings Ray Train, which a plan that measures nothing need not wait for.
        from xling.sweep.launching.forecast import forecast, total_seconds

        expected = forecast(root, study, nodes, (lambda text: None) if as_json else console.print)
        todo = [job for job in study.scored if states[job.id] != "done"]
        left_jobs = [*warm_to_run(root, sweep, study, todo), *todo]
        left_s = total_seconds(nodes, left_jobs, {job.id: expected[job.id].seconds for job in left_jobs})
    # A cell that was stopped keeps its own.
    with_checkpoints = len(left) if early else sum(kind.fit.trials for kind in kinds)
    disk = sum(left) + COPIES_WHILE_RUNNING * sum(sorted(left, reverse=True)[:with_checkpoints])
    free = root.free_bytes()
    if as_json:
        cells = [
            {**_as_json(job), "state": states[job.id], "disk_bytes": need[job.id], **_foretold(expected.get(job.id))}
            for job in study.scored
        ]
        text = {
            "sweep": sweep,
            "storage": root.url,
            "cells": cells,
            "warm_starts": [{**_as_json(job), **_foretold(expected.get(job.id))} for job in study.warm],
            "at_once": kinds[-1].fit.trials,  # of the kind that fewest can run of
            "why_not_more": kinds[-1].fit.why_not_more,
            "kinds": [_kind_as_json(kind) for kind in kinds],
            "disk_bytes": disk,
            "disk_free_bytes": free,
            "early_stopping": early,
        }
        if measure:
            text["expected_seconds"] = left_s
        console.print_json(json.dumps(text))
        return
    figures = ["disk", "time", "memory"] if measure else ["disk"]
    rows = []
    for job in study.scored:
        row = [job.label, states[job.id], _budget(job), _needs(job), size_text(need[job.id])]
        if measure:
            row += [_time(expected[job.id].seconds), size_text(expected[job.id].worker_bytes)]
        rows.append(row)
    console.print(
        f"{sweep}: {len(study.cells)} cells, {len(study.baselines)} baselines, storage {root.url}", soft_wrap=True
    )
    show_cells(["cell", "state", "budget", "needs", *figures], rows, console, right=figures)
    _print_rest(console, study.warm, kinds, where, disk, free)
    if measure:
        console.print(
            f"Expected: {_time(left_s)} for what is not done, from steps measured here. Memory is a worker's.",
            soft_wrap=True,
        )
    if early:
        console.print(_compared(early), soft_wrap=True)


def _foretold(expected: Forecast | None) -> dict[str, float]:
    if expected is None:
        return {}
    parts = {"train_seconds": expected.train_s, "score_seconds": expected.score_s, "seconds": expected.seconds}
    return {**parts, "worker_bytes": expected.worker_bytes}


def _early_stopping(loaded: LoadedSweep, study: Study) -> dict[str, Any] | None:
    """Milestones, and the labels of the cells that are compared with each other."""
    config = loaded.config.early_stopping
    if config is None:
        return None
    groups: dict[str, list[str]] = {}
    for job in study.cells:
        groups.setdefault(job.group, []).append(job.label)
    return {
        "milestones": list(config.milestones),
        "reduction_factor": config.reduction_factor,
        "groups": list(groups.values()),
    }


def _compared(early: dict[str, Any]) -> str:
    counts = Counter(map(len, early["groups"]))
    groups = " and ".join(f"{count} x {size}" for size, count in sorted(counts.items(), reverse=True))
    return (
        f"Early stopping after {' and '.join(map(as_percent, early['milestones']))} of the steps: "
        f"{best_share(early['reduction_factor'])} of those so far go on. Cells compared with each other: {groups}."
    )


def _print_rest(
    console: Console, warm: Sequence[Job], kinds: Sequence[Kind], where: str, disk: float, free: float | None
) -> None:
    alone = [f", {', '.join(kind.models)} alone" if len(kinds) > 1 else "" for kind in kinds]
    lines = [f"At once on {where}{of}: {kind.text}." for kind, of in zip(kinds, alone, strict=True)]
    if warm:
        lines.append(f"Warm starts first: {', '.join(job.label for job in warm)}.")
    left = f", {size_text(free)} are free" if free is not None else ""
    lines.append(f"Disk for what is not done: about {size_text(disk)}{left}.")
    if free is not None and disk > free:
        lines.append("That is more than is free: storage will run full, choose another `storage:`.")
    for line in lines:
        console.print(line, soft_wrap=True)


def _nodes(address: str | None) -> tuple[list[Node], str]:
    if address is None:
        return this_machine(), "this machine"
    from xling.sweep.placing.cluster import ray_cluster
    from xling.sweep.placing.resources import ray_nodes

    with ray_cluster(address):
        return ray_nodes(), f"the cluster at {address}"


def _budget(job: Job) -> str:
    budget = job.config.train.budget
    if budget.steps is not None:
        return f"{budget.steps} steps"
    return f"{budget.examples} examples" if budget.examples is not None else f"{budget.flops:g} FLOPs"


def _needs(job: Job) -> str:
    need = Need.of(job.config.resources)
    labels = "".join(f", {name}={value}" for name, value in need.labels)
    return f"{need.workers} x {per_worker(need)}{labels}" if job.kind == "cell" else "scoring"


def _kind_as_json(kind: Kind) -> dict[str, Any]:
    about = {"models": list(kind.models), "cells": kind.jobs, **as_json(kind.need), "at_once": kind.fit.trials}
    return {**about, "waits_for_nodes": kind.waits, "why_not_more": kind.fit.why_not_more}


def _as_json(job: Job) -> dict[str, Any]:
    return {"id": job.id, "label": job.label, "kind": job.kind, "size": job.size, "budget": _budget(job)}


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
