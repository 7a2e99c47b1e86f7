"""Whether torch can use the GPUs that Ray gives away."""

from __future__ import annotations

from typing import Any

from xling.sizes import size_text
from xling.sweep.doctor.checks import Answers, Order, State, Verdict, by_value, check, listed, probe

USED_SHARE = 0.2  # of a GPU's memory, by whom it may be

# In a process of its own: it sees GPUs that Ray hides from a task without any, and its CUDA context goes with it.
LOOK = """
import json
import torch
found, problem = [], ""
try:
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        torch.ones(2, device=number).sum().item()
        found.append({"name": torch.cuda.get_device_name(number), "free": free, "total": total})
    if not found:
        torch.cuda.init()
except Exception as error:
    problem = str(error).splitlines()[0]
print(json.dumps({"cuda": torch.version.cuda or "", "gpus": found, "problem": problem}))
"""


@probe()
def usable_gpus(order: Order) -> dict[str, Any]:
    """What torch makes of a node's GPUs; nothing where there is no sign of any."""
    import json
    import os
    import shutil
    import subprocess
    import sys
    from pathlib import Path

    present = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
    if not present and not order["gpus"]:
        return {"cuda": "", "gpus": [], "problem": "", "driver": ""}
    driver = ""
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        driver = asked.stdout.strip().splitlines()[0] if asked.returncode == 0 and asked.stdout.strip() else ""
    environment = dict(os.environ)
    if not environment.get("CUDA_VISIBLE_DEVICES", "all"):  # Ray's, not the user's
        del environment["CUDA_VISIBLE_DEVICES"]
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    if looked.returncode:
        problem = (looked.stderr.strip() or f"exit status {looked.returncode}").splitlines()[-1]
        return {"cuda": "", "gpus": [], "problem": problem, "driver": driver}
    return {**json.loads(looked.stdout), "driver": driver}


@check(
    "torch uses them",
    why="A worker that was given a GPU which torch cannot use fails, or trains on the CPU.",
    fix="install a driver that is new enough for torch's CUDA, or a torch that is built for the driver; torch from "
    "PyTorch's CPU index has no CUDA at all",
    probes=[usable_gpus],
)
def usable(answers: Answers) -> Verdict:
    found = answers.of(usable_gpus)
    wanted = max((gpus for _, gpus in answers.subject.workers), default=0)
    broken, unused = {}, []
    for node, seen in found.items():
        offered, usable = answers.node(node).gpus, len(seen["gpus"])
        if usable < offered or (seen["problem"] and not usable):
            broken[node] = f"{usable} of {offered:g} GPUs usable ({seen['problem'] or 'torch finds no more'})"
        elif usable > offered and answers.subject.on_cluster:
            unused.append(node)
    if broken:
        return Verdict(State.FAILED, "; ".join(f"{node}: {text}" for node, text in broken.items()), nodes=tuple(broken))
    if wanted and not any(seen["gpus"] for seen in found.values()):
        return Verdict(
            State.FAILED,
            f"no node has a GPU, a worker asks for {wanted:g}",
            "add nodes with GPUs, or set resources.gpus_per_worker to 0",
        )
    if not any(seen["gpus"] for seen in found.values()):
        return Verdict(State.NOT_APPLICABLE, "no GPU, and none is asked for")
    kinds = by_value({node: _tell(seen) for node, seen in found.items()})
    shown = "; ".join(f"{kind} on {listed(on)}" for kind, on in kinds.items())
    if unused:
        fix = "start Ray there with --num-gpus, or without CUDA_VISIBLE_DEVICES"
        return Verdict(State.WARNING, f"{shown}; Ray does not offer all of {listed(unused)}", fix, tuple(unused))
    return Verdict(State.OK, shown)


def _tell(seen: dict[str, Any]) -> str:
    if not seen["gpus"]:
        return "none"
    kinds = by_value({number: f"{gpu['name']}, {size_text(gpu['total'])}" for number, gpu in enumerate(seen["gpus"])})
    driver = f", driver {seen['driver']}" if seen["driver"] else ""
    return " + ".join(f"{len(on)} x {kind}" for kind, on in kinds.items()) + f", CUDA {seen['cuda']}{driver}"


@check(
    "their memory is free",
    why="What another process holds of a GPU's memory is missing to the batch, and training fails at its first step.",
    fix="end what runs there (`nvidia-smi` lists it)",
    probes=[],
)
def free_memory(answers: Answers) -> Verdict:
    shares = {
        node: max(1 - gpu["free"] / gpu["total"] for gpu in seen["gpus"])
        for node, seen in answers.of(usable_gpus).items()
        if seen["gpus"]
    }
    if not shares:
        return Verdict(State.NOT_APPLICABLE, "no GPU")
    full = {node: share for node, share in shares.items() if share > USED_SHARE}
    if full:
        seen = "; ".join(f"{node}: up to {share:.0%} in use" for node, share in full.items())
        return Verdict(State.WARNING, seen, nodes=tuple(full))
    return Verdict(State.OK, f"at most {max(shares.values()):.0%} in use")
