"""Every death, really caused, on a real Ray cluster of this machine: the sweep goes on to the same weights."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import torch
from commands import (
    TRAIN_WORKER,
    TRIAL_DRIVER,
    Command,
    assert_one_run_a_cell,
    in_training,
    kill_all,
    ray_processes,
    reference_weights,
    signal_one,
    wait_until_gone,
)

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.jobs import build_study
from xling.train.checkpoint import tensors_from_bytes
from xling.train.metrics import stored_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

STEPS = 500
SWEEP = """
name: small
storage: {storage}
data:
  train: {{dataset: geo, languages: [de, en]}}
  evaluate: [{{dataset: geo, languages: [de, en]}}]
model: {{preset: tiny, dropout: 0.1, max_query_tokens: 48, max_passage_tokens: 48}}
train: {{batch_size: 64, budget: {{steps: 500}}, lr: 4e-3, checkpoint_every: 20, report_every: 5}}
resources: {{hang_timeout: 6}}
retries: 0
"""


def write_sweep(folder: Path, storage: Path | None = None, more: str = "") -> Path:
    file = folder / "small.yaml"
    file.write_text(SWEEP.format(storage=storage or folder / "runs") + more)
    return file


def only_cell(file: Path) -> tuple[CellFolder, str]:
    loaded = load_sweep(file)
    (job,) = build_study(loaded.cells).cells
    return CellFolder(Storage(loaded.config.storage).child(job.folder("small"))), job.label


def assert_undisturbed(folder: Path, file: Path, cell: CellFolder, label: str) -> None:
    """The cell's steps and weights are those of a run in this process that nothing happened to."""
    assert [record["step"] for record in stored_steps(cell.storage)] == list(range(STEPS))
    expected = reference_weights(Storage(str(folder / "runs")), file, label)
    trained = tensors_from_bytes(cell.storage.read("model/model.safetensors"))
    assert all(torch.equal(expected[name], trained[name]) for name in expected)


def wait_for_note(command: Command, text: str) -> None:
    command.wait_for(lambda event: text in event.get("note", ""))


def test_workers_drivers_and_the_whole_cluster_die(tmp_path):
    file = write_sweep(tmp_path)
    cell, label = only_cell(file)
    before = ray_processes()

    sweep = Command("sweep", str(file), "--json")
    sweep.wait_for(in_training(50))
    signal_one(TRAIN_WORKER, signal.SIGKILL, before)
    wait_for_note(sweep, "going on from the last checkpoint")

    sweep.wait_for(in_training(120))
    signal_one(TRAIN_WORKER, signal.SIGSTOP, before)  # hangs: found out after hang_timeout, and ended
    wait_for_note(sweep, "no sign of life from its workers for 6 s")

    sweep.wait_for(in_training(200))
    signal_one(TRIAL_DRIVER, signal.SIGKILL, before)
    wait_for_note(sweep, "its driver died; another one takes over")

    sweep.wait_for(in_training(300))
    os.kill(sweep.process.pid, signal.SIGKILL)
    kill_all(ray_processes() - before)
    sweep.process.wait()
    wait_until_gone(ray_processes() - before)

    resumed = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    first = resumed.wait_for(in_training(1))
    assert first["step"] >= 300
    assert resumed.finish() == 0, resumed.tail()

    attempts = cell.attempts()
    assert len(attempts) == 5
    assert [a["end"]["infra"] if a["end"] else None for a in attempts] == [True, True, None, None, False]
    assert_undisturbed(tmp_path, file, cell, label)
    assert_one_run_a_cell(tmp_path, label, STEPS)


def test_a_node_of_three_is_lost(tmp_path):
    file = write_sweep(tmp_path, more="")
    more = ["--set", "resources.workers=2", "--json"]
    cell, _ = only_cell(file)
    ray = Path(shutil.which("ray", path=Path(os.sys.executable).parent) or "ray")
    port, temp = 26379, tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    quick = {
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    common = ["--node-ip-address=127.0.0.1", "--block", "--object-store-memory=100000000", "--memory=4000000000"]
    nodes = [[f"--port={port}", "--head", "--num-cpus=0", f"--temp-dir={temp}", "--include-dashboard=true"]]
    nodes += [[f"--address=127.0.0.1:{port}", "--num-cpus=1"] for _ in range(3)]
    started: list[subprocess.Popen] = []
    try:
        for node in nodes:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            command = [str(ray), "start", *node, *common]
            started.append(subprocess.Popen(command, env={**os.environ, **quick}, start_new_session=True, **quiet))
            time.sleep(6)
        sweep = Command("sweep", str(file), "--address", f"127.0.0.1:{port}", *more, **quick)
        sweep.wait_for(in_training(60))
        lost = {node_of(pid) for pid in ray_processes(TRAIN_WORKER)} - {started[0].pid}
        victim = min(lost)
        kill_all(descendants(victim) | {victim})
        sweep.wait_for(
            lambda event: (
                "going on from the last checkpoint" in event.get("note", "") or "driver ended" in event.get("note", "")
            )
        )
        sweep.wait_for(in_training(80))
        assert sweep.finish() == 0, sweep.tail()
    finally:
        for process in started:
            kill_all(descendants(process.pid) | {process.pid})
            process.wait()
        shutil.rmtree(temp, ignore_errors=True)
    assert [record["step"] for record in stored_steps(cell.storage)] == list(range(STEPS))
    assert len(cell.attempts()) >= 2


def parents() -> dict[int, int]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def descendants(root: int) -> set[int]:
    tree = parents()
    found, new = set(), {root}
    while new:
        new = {pid for pid, parent in tree.items() if parent in new}
        found |= new
    return found


def node_of(pid: int) -> int:
    """The `ray start --block` above a process."""
    tree = parents()
    while "start" not in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
        pid = tree[pid]
    return pid


def test_a_failing_model_and_a_worker_out_of_memory_fail_alone(tmp_path):
    """Two cells fail, each by its own reason, and the third is done."""
    file = write_sweep(tmp_path, more="grid:\n  - train.batch_size: [64, 1024]\n    model.preset: [tiny, mid]\n")
    total = int(next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line).split()[1])
    available = int(next(x for x in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in x).split()[1])
    # Ray ends processes once this share of the memory is used: what is used now, and as much as the small cell takes.
    share = (total - available + 6_000_000) / total
    if share > 0.85:
        pytest.skip("needs 10 GB of free memory")
    command = Command(
        "sweep", str(file), "--json", "--set", "resources.max_concurrent=1", "--set", "train.budget={steps: 40}",
        RAY_memory_usage_threshold=f"{share:.4f}", RAY_memory_monitor_refresh_ms="100",
    )  # fmt: skip
    assert command.finish() == 1, command.tail()
    said = json.loads(next(line for line in command.lines if '"event": "results"' in line))
    assert sorted(said["states"].values()) == ["done", "done", "done", "failed"]
    (reason,) = said["failures"].values()
    assert reason.startswith("its processes died 3 times in a row without a new step; the last time: ")
    assert "a worker ran out of memory (it was killed when its machine had none left); lower train.batch_size" in reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_storage_stops_cleanly_and_goes_on_when_there_is_room(tmp_path):
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        file = write_sweep(tmp_path, storage=small / "runs")
        cell, label = only_cell(file)
        sweep = Command("sweep", str(file), "--json", "--set", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
        sweep.wait_for(in_training(60))
        ballast = small / "ballast"
        with ballast.open("wb") as stream:
            try:
                while stream.write(b"\0" * 65536):
                    stream.flush()
            except OSError:
                pass
        assert sweep.finish() == 2, sweep.tail()
        text = "".join(sweep.lines)
        assert "is full; make room there" in text
        assert "Traceback" not in text
        ballast.unlink()
        kept = max(int(name[5:13]) for name in cell.storage.list("checkpoints"))
        resumed = Command("resume", "small", "--storage", str(small / "runs"), "--json")
        assert resumed.wait_for(in_training(1))["step"] >= kept > 0
        assert resumed.finish() == 0, resumed.tail()
        assert_undisturbed(small, file, cell, label)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_ctrl_c_twice_leaves_at_once_and_nothing_is_lost(tmp_path):
    file = write_sweep(tmp_path)
    cell, _ = only_cell(file)
    before = ray_processes()
    sweep = Command("sweep", str(file), "--json")
    sweep.wait_for(in_training(60))
    sweep.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.process.wait(timeout=60) == 130
    wait_until_gone(ray_processes() - before)
    kept = max(int(name[5:13]) for name in cell.storage.list("checkpoints"))
    assert kept >= 40
    resumed = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    assert resumed.wait_for(in_training(1))["step"] >= kept
    assert resumed.finish() == 0
