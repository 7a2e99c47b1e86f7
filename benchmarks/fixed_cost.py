"""What a sweep costs beside training and scoring: the demo's nine cells, one after another.

(the command's wall time - the time inside steps and evaluation) / cells, with its parts, then what
checkpoints cost on ``mid``, then the time from a worker's death to its next step.

    python benchmarks/fixed_cost.py
    python benchmarks/fixed_cost.py --steps 20    the same parts in a quarter of the time
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos_processes import WORKER_TITLE, below

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.jobs import Job
from xling.sweep.study import build_study
from xling.train.metrics import stored_steps

SWEEP = Path(__file__).parents[1] / "sweeps" / "demo.yaml"
BAR_S, BAR_CHECKPOINTS = 12.0, 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of each cell and warm start in the first part")
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory(prefix="xling-fixed-cost-") as scratch:
        per_cell = fixed_cost(Path(scratch), steps)
        share = checkpoint_share(Path(scratch), steps)
        gap, startup = death_to_next_step(Path(scratch))
    print(f"fixed cost a cell: {per_cell:.1f} s  ratio={BAR_S / per_cell:.2f} bar=1")
    print(f"checkpoints on mid: {share:.2%} of training  ratio={BAR_CHECKPOINTS / share:.2f} bar=1")
    print(f"a worker's death to its next step: {gap:.1f} s (the first start of a group: {startup:.1f} s)")
    return 0 if per_cell <= BAR_S and share <= BAR_CHECKPOINTS else 1


def fixed_cost(scratch: Path, steps_each: int) -> float:
    """Run the demo with one trial at a time; seconds a cell that are neither steps nor evaluation."""
    overrides = [
        "resources.max_concurrent=1",
        f"storage={scratch}/runs",
        f"train.budget={{steps: {steps_each}}}",
        f"model.warm_start.steps={steps_each}",
    ]
    began = time.time()
    events, wall = run_sweep("sweep", str(SWEEP), *(word for one in overrides for word in ("--set", one)))
    study = build_study(load_sweep(SWEEP, overrides).cells)
    root = Storage(f"{scratch}/runs")
    steps = sum(step_seconds(root, job) for job in (*study.warm, *study.cells))
    progress = [event for event in events if event["event"] == "progress"]
    phases = phase_seconds(progress)
    evaluation = phases.pop("evaluating")
    first_job = progress[0]["time"] - began
    last_job = began + wall - progress[-1]["time"]
    between = wall - first_job - last_job - sum(phases.values()) - evaluation
    rest = phases.pop("training") - steps
    cells = len(study.cells)
    print(f"wall {wall:.1f} s; steps {steps:.1f} s; scoring and recording {evaluation:.1f} s; {cells} cells")
    parts = {
        "until the first job (data, tokens, Ray, MLflow's tables)": first_job,
        "starting (lease, attempt, MLflow's run; the first: the group of workers)": sum(phases.values()),
        "training, outside steps (model, tokens, dev, checkpoints, publishing)": rest,
        "between jobs (Ray Tune)": between,
        "after the last job (tables, MLflow's parent run)": last_job,
    }
    for name, seconds in parts.items():
        print(f"  {name}: {seconds:.1f} s, {seconds / cells:.2f} s a cell")
    return (wall - steps - evaluation) / cells


def run_sweep(*arguments: str) -> tuple[list[dict], float]:
    """One command: its JSON events and its wall time in seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "xling", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall = time.perf_counter() - started
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')], wall


def step_seconds(root: Storage, job: Job) -> float:
    """Time inside the optimiser's steps of one job."""
    batch = job.config.train.batch_size
    return sum(batch / record["pairs_per_s"] for record in stored_steps(root.child(job.folder("demo"))))


def phase_seconds(progress: list[dict]) -> dict[str, float]:
    """Seconds in each phase, over all jobs: from the event that began it to the job's next one."""
    found: dict[str, float] = {}
    last: dict[str, dict] = {}
    for event in progress:
        before = last.get(event["job"])
        if before is not None:
            found[before["phase"]] = found.get(before["phase"], 0.0) + event["time"] - before["time"]
        last[event["job"]] = event
    return found


def checkpoint_share(scratch: Path, warm_steps: int) -> float:
    """Time in writing checkpoints at the default interval, of the training time of one ``mid`` cell."""
    import torch

    from xling.sweep.trials.workers import worker_spec
    from xling.train import worker

    study = build_study(load_sweep(SWEEP, [f"storage={scratch}/runs", f"model.warm_start.steps={warm_steps}"]).cells)
    job = next(job for job in study.cells if job.size == "mid")
    spent = 0.0
    save = worker._Job.save

    def timed(self: worker._Job, state: object) -> None:
        nonlocal spent
        began = time.perf_counter()
        save(self, state)
        spent += time.perf_counter() - began

    worker._Job.save = timed
    spec = worker_spec(job, f"{scratch}/runs", "alone")
    began = time.perf_counter()
    worker.run(spec, rank=0, world_size=1, device=torch.device("cpu"), send=lambda message: None)
    whole = time.perf_counter() - began
    worker._Job.save = save
    print(f"mid alone: {whole:.1f} s, of which checkpoints {spent:.2f} s")
    return spent / (whole - spent)


def death_to_next_step(scratch: Path) -> tuple[float, float]:
    """Kill the worker of a running cell; seconds to the first report of the next steps, and of the first start."""
    arguments = [
        *("train", str(SWEEP), "--set", "grid=[]", "--set", "model.preset=mini", "--set", "model.warm_start=null"),
        *("--set", f"storage={scratch}/death", "--set", "train.report_every=1", "--json"),
    ]
    command = subprocess.Popen([sys.executable, "-m", "xling", *arguments], stdout=subprocess.PIPE, text=True)
    starting = killed = 0.0
    startup = gap = 0.0
    for line in command.stdout or ():
        event = json.loads(line) if line.startswith('{"') else {}
        starting = starting or (event["time"] if event.get("phase") == "starting" else 0.0)
        if event.get("phase") == "training" and "loss" in event:
            startup = startup or event["time"] - starting
            if not killed and event["step"] >= 40:
                os.kill(worker_below(command.pid), signal.SIGKILL)
                killed = time.time()
            elif killed and not gap and event["time"] > killed + 1.0:  # what was under way had come by then
                gap = event["time"] - killed
    if command.wait():
        raise SystemExit("the killed cell did not go on")
    return gap, startup


def worker_below(root: int) -> int:
    """The Train worker among the processes below one."""
    (worker,) = (pid for pid, title in below(root).items() if title.startswith(WORKER_TITLE))
    return worker


if __name__ == "__main__":
    sys.exit(main())
