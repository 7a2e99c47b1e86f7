"""What `xling plan --measure` foretold beside what the sweep then took: seconds of each job, memory of each worker.

Runs the plan, then the sweep, in a fresh storage, on this machine. A job's real seconds are those of its attempts, from
start to end; the first jobs' wait for their workers to start is in them. A worker's real memory is what it noted
as its peak, in a process that also holds Ray.

    python benchmarks/plan_error.py [SWEEP] [--set PATH=VALUE …] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from xling.storage import Storage
from xling.sweep.cells import CellFolder

DEMO = Path(__file__).resolve().parents[1] / "sweeps" / "demo.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, nargs="?", default=DEMO)
    parser.add_argument("--set", action="append", default=[], help="as for xling sweep")
    parser.add_argument("--keep", type=Path, help="an empty folder for the sweep, which stays there")
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = None if options.keep else stack.enter_context(tempfile.TemporaryDirectory(prefix="xling-bench-"))
        folder = scratch or str(options.keep.resolve())
        sets = [*options.set, f"storage={folder}"]
        arguments = [str(options.sweep.resolve()), *(part for value in sets for part in ("--set", value))]
        began = time.monotonic()
        plan = json.loads(xling("plan", *arguments, "--measure", "--json", folder=folder))
        planned_s = time.monotonic() - began
        began = time.monotonic()
        xling("sweep", *arguments, folder=folder)
        took = time.monotonic() - began
        root = Storage(folder)
        rows = [row(root, plan["sweep"], cell) for cell in plan["cells"] if cell["kind"] == "cell"]
    print(f"{'cell':24} {'foretold':>9} {'took':>9} {'error':>7} {'MiB foretold':>14} {'held':>6} {'error':>7}")
    for label, (seconds, took_s), (memory, held) in rows:
        time_part = f"{seconds:8.0f}s {took_s:8.0f}s {error(seconds, took_s):+7.0%}"
        print(f"{label:24} {time_part} {memory:14.0f} {held:6.0f} {error(memory, held):+7.0%}")
    times, memories = ([abs(error(*pair)) for pair in of] for of in list(zip(*rows, strict=True))[1:])
    mean_time, mean_memory = statistics.mean(times), statistics.mean(memories)
    print(f"mean error of a cell's time {mean_time:.0%}, of a worker's memory {mean_memory:.0%}")
    expected = plan["expected_seconds"]
    print(f"the plan took {planned_s:.0f} s; the whole sweep: {expected:.0f} s foretold, {took:.0f} s taken")
    print(f"plan_whole_sweep ratio={expected / took:.3f}")
    return 0


def xling(command: str, *arguments: str, folder: str) -> str:
    run = [sys.executable, "-m", "xling", command, *arguments]
    return subprocess.run(run, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout


def row(root: Storage, sweep: str, cell: dict[str, Any]) -> tuple[str, tuple[float, float], tuple[float, float]]:
    """A cell's label; its seconds, foretold and real; its worker's MiB, likewise."""
    job = CellFolder(root.child(f"{sweep}/cells/{cell['id']}"))
    took = sum(attempt["end"]["ended"] - attempt["started"] for attempt in job.attempts())
    held = job.storage.read_json("used.json")["peak_bytes"]
    return cell["label"], (cell["seconds"], took), (cell["worker_bytes"] / 2**20, held / 2**20)


def error(foretold: float, real: float) -> float:
    return foretold / real - 1


if __name__ == "__main__":
    sys.exit(main())
