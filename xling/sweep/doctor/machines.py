"""What a machine has beside cores: shared memory, room for temporary files and caches, open files."""

from __future__ import annotations

from typing import Any

from xling.sizes import size_text
from xling.sweep.doctor.checks import Answers, Order, State, Verdict, check, listed, probe

RAY_FULL = 0.95  # Ray spills nothing to a disk that is fuller (RAY_local_fs_capacity_threshold)
OPEN_FILES = 8192


@probe()
def machine(order: Order) -> dict[str, Any]:
    """Bytes and limits of this machine."""
    import os
    import resource
    import shutil
    import tempfile
    from pathlib import Path

    def disk(place: str) -> dict[str, Any]:
        path = Path(place).expanduser()
        while not path.exists():
            path = path.parent
        usage = shutil.disk_usage(path)
        return {"path": place, "free": usage.free, "total": usage.total, "writable": os.access(path, os.W_OK)}

    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    caches = [
        os.environ.get("HF_HOME", f"{home}/huggingface"),
        os.environ.get("XLING_CACHE", f"{home}/xling"),
    ]
    shm = Path("/dev/shm")
    return {
        "shm": shutil.disk_usage(shm).total if shm.exists() else None,
        "temp": disk(tempfile.gettempdir()),
        "caches": [disk(cache) for cache in caches],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],  # Ray raises the soft limit to the hard one
    }


@check(
    "shared memory",
    why="Ray's object store lies in /dev/shm, and NCCL talks there between GPUs; where it is smaller the store lies "
    "on the disk, and workers may die with a bus error.",
    fix="give containers more (`--shm-size`, `shm_size:`, an emptyDir of medium Memory), or lower "
    "--object-store-memory",
    probes=[machine],
)
def shared_memory(answers: Answers) -> Verdict:
    found = {node: seen["shm"] for node, seen in answers.of(machine).items() if seen["shm"] is not None}
    if not found:
        return Verdict(State.NOT_APPLICABLE, "no /dev/shm")
    small = {node: shm for node, shm in found.items() if shm < answers.node(node).object_store}
    if small:
        seen = "; ".join(
            f"{node}: {size_text(shm)}, Ray's object store has {size_text(answers.node(node).object_store)}"
            for node, shm in small.items()
        )
        return Verdict(State.WARNING, seen, nodes=tuple(small))
    return Verdict(State.OK, f"{size_text(min(found.values()))} or more")


@check(
    "room for temporary files",
    why="Token tables are copied there, Ray keeps its sessions there and spills what memory cannot hold.",
    fix="make room there, or point TMPDIR, and `ray start --temp-dir`, at a disk that has some",
    probes=[machine],
    quick=True,
)
def temporary(answers: Answers) -> Verdict:
    found = {node: seen["temp"] for node, seen in answers.of(machine).items()}
    closed = [node for node, disk in found.items() if not disk["writable"]]
    if closed:
        return Verdict(State.FAILED, f"cannot be written on {listed(closed)}", nodes=tuple(closed))
    short = {node: disk for node, disk in found.items() if disk["free"] < answers.subject.floor}
    if short:
        return Verdict(State.FAILED, _rooms(short), nodes=tuple(short))
    full = {node: disk for node, disk in found.items() if 1 - disk["free"] / disk["total"] > RAY_FULL}
    if full:
        return Verdict(State.WARNING, f"{_rooms(full)}: more than {RAY_FULL:.0%} in use", nodes=tuple(full))
    return Verdict(State.OK, f"{size_text(min((disk['free'] for disk in found.values()), default=0))} free or more")


@check(
    "room for caches",
    why="Hub models and data sets' corpora are kept there.",
    fix="make room there, or point HF_HOME and XLING_CACHE at a disk that has some",
    probes=[machine],
)
def caches(answers: Answers) -> Verdict:
    found = {node: min(seen["caches"], key=lambda disk: disk["free"]) for node, seen in answers.of(machine).items()}
    short = {node: disk for node, disk in found.items() if disk["free"] < answers.subject.floor or not disk["writable"]}
    if short:
        return Verdict(State.WARNING, _rooms(short), nodes=tuple(short))
    return Verdict(State.OK, f"{size_text(min((disk['free'] for disk in found.values()), default=0))} free or more")


def _rooms(disks: dict[str, Any]) -> str:
    return "; ".join(f"{node}: {size_text(disk['free'])} free at {disk['path']}" for node, disk in disks.items())


@check(
    "open files",
    why="Ray holds several sockets for each process and node; where they run out, workers cannot start.",
    fix="raise the hard limit (`ulimit -n`, LimitNOFILE=, ulimits.nofile of a container) to 65536",
    probes=[machine],
)
def open_files(answers: Answers) -> Verdict:
    found = {node: seen["files"] for node, seen in answers.of(machine).items()}
    few = {node: limit for node, limit in found.items() if 0 <= limit < OPEN_FILES}
    if few:
        return Verdict(State.WARNING, "; ".join(f"{node}: {limit}" for node, limit in few.items()), nodes=tuple(few))
    least = min((limit for limit in found.values() if limit >= 0), default=None)
    return Verdict(State.OK, "no limit" if least is None else f"{least} or more")
