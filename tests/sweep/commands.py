"""``xling`` commands run and killed as processes, and what they must leave behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.study import build_study
from xling.sweep.trials.workers import worker_spec
from xling.train.attempts import MANIFEST, stored_checkpoints
from xling.train.checkpoint import tensors_from_bytes
from xling.train.worker import run


class Command:
    """One ``xling`` command in a process of its own; its JSON events can be followed."""

    def __init__(
        self, *arguments: str, python: str = sys.executable, folder: Path | None = None, **environment: str
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-m", "xling", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []

    def events(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith('{"'):
                yield json.loads(line)

    def wait_for(self, wanted) -> dict:
        for event in self.events():
            if wanted(event):
                return event
        raise AssertionError("the command ended before that:\n" + self.tail())

    def tail(self) -> str:
        """Its last lines, for messages."""
        return "\n".join(line[:300] for line in self.lines[-30:])

    def finish(self) -> int:
        for _ in self.events():
            pass
        return self.process.wait()

    def steps(self) -> list[int]:
        """Those that training reports from now on, to the end of the command."""
        return [event["step"] for event in self.events() if event.get("phase") == "training"]

    def interrupt(self, times: int = 1) -> None:
        """Ctrl-C, each one after the one before was heard."""
        for _ in range(times - 1):
            self.process.send_signal(signal.SIGINT)
            self.wait_for(lambda event: "Ctrl-C again leaves at once" in event.get("text", ""))
        self.process.send_signal(signal.SIGINT)


def in_training(step: int):
    return lambda event: event.get("phase") == "training" and event["step"] >= step


def newest_checkpoint(cell: CellFolder) -> int:
    """The step that a cell's newest whole checkpoint was written after; that of its end once it is trained."""
    if cell.is_trained():
        return int(cell.storage.read_json("model/trained.json")["step"])
    return max(
        name.step for name in stored_checkpoints(cell.storage) if cell.storage.exists(f"checkpoints/{name}/{MANIFEST}")
    )


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 120
    while pids & ray_processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not pids & ray_processes()


def ray_processes(*titles: str) -> set[int]:
    """Pids of Ray's processes; with titles, of those whose title holds one of them."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            ours = "raylet" in command or "gcs_server" in command or command.startswith("ray::")
            agent = command.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))  # linger, and hold nothing
            if ours and not agent and (not titles or any(title in command for title in titles)):
                found.add(int(folder.name))
    return found


TRAIN_WORKER, TRIAL_DRIVER = "RayTrainWorker", "ImplicitFunc"


def signal_one(title: str, number: int, but: set[int] = frozenset()) -> int:
    """Send a signal to the newest process of a title that was not there before; its pid."""
    pid = max(ray_processes(title) - but, key=lambda pid: psutil.Process(pid).create_time())
    os.kill(pid, number)
    return pid


def kill_all(pids: set[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def reference_weights(root: Storage, file: Path, label: str) -> dict[str, torch.Tensor]:
    """The cell trained in this process without Ray and without any disturbance."""
    study = build_study(load_sweep(file).cells)
    job = next(job for job in study.cells if job.label == label)
    spec = worker_spec(job, root.url, "reference")
    threads = torch.get_num_threads()
    run(spec, rank=0, world_size=1, device=torch.device("cpu"), send=lambda message: None)
    torch.set_num_threads(threads)
    return tensors_from_bytes(root.read("reference/model/model.safetensors"))


def assert_one_run_a_cell(folder: Path, label: str, steps: int) -> None:
    """MLflow holds each step of the cell once, in one run below the sweep's."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    (child,) = [r for r in runs if r.info.run_name == label]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.status == "FINISHED"
    history = client.get_metric_history(child.info.run_id, "train/loss")
    assert sorted(point.step for point in history) == list(range(steps))
    assert "eval/geo/mAP/pair/de-en" in child.data.metrics
