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
from chaos_processes import WORKER_TITLE, Cluster, Processes
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

    sweep.wait_for(in_training(260))
    sweep.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    sweep.process.send_signal(signal.SIGINT)  # leaves at once
    assert sweep.process.wait(timeout=60) == 130
    wait_until_gone(ray_processes() - before)
    kept = max(int(name[5:13]) for name in cell.storage.list("checkpoints"))
    assert kept >= 240

    resumed = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    assert resumed.wait_for(in_training(1))["step"] >= kept
    resumed.wait_for(in_training(360))
    os.kill(resumed.process.pid, signal.SIGKILL)
    kill_all(ray_processes() - before)
    resumed.process.wait()
    wait_until_gone(ray_processes() - before)

    last = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    assert last.wait_for(in_training(1))["step"] >= 340
    assert last.finish() == 0, last.tail()

    attempts = cell.attempts()
    ends = [attempt["end"]["infra"] if attempt["end"] else None for attempt in attempts]
    assert ends[-1] is False
    # Nobody was left to write an end to the driver's attempt and the sweep's, nor always after Ctrl-C twice.
    assert 2 <= ends.count(None) <= 3
    assert ends.count(True) >= 2  # a machine under load may let six seconds of silence pass by itself
    assert_undisturbed(tmp_path, file, cell, label)
    assert_one_run_a_cell(tmp_path, label, STEPS)


def test_a_node_of_three_is_lost(tmp_path):
    file = write_sweep(tmp_path)
    cell, _ = only_cell(file)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as short, Processes() as processes:
        cluster = Cluster(processes, Path(short) / "ray", nodes=3)
        address = ["--address", cluster.address, "--set", "resources.workers=2"]
        sweep = Command("sweep", str(file), *address, "--json", **cluster.environment)
        sweep.wait_for(in_training(60))
        assert cluster.lose_node(having=cluster.titled(WORKER_TITLE)[0]) is not None
        went_on = ("going on from the last checkpoint", "another one takes over")
        sweep.wait_for(lambda event: any(text in event.get("note", "") for text in went_on))
        sweep.wait_for(in_training(80))
        assert sweep.finish() == 0, sweep.tail()
    assert [record["step"] for record in stored_steps(cell.storage)] == list(range(STEPS))
    assert len(cell.attempts()) >= 2


LONG_TEXTS = """
name: small
storage: {folder}/runs
data:
  train: {{dataset: parallel-jsonl, path: {folder}/rows.jsonl}}
  evaluate: [{{dataset: geo, languages: [de, en]}}]
model: {{max_query_tokens: 16, max_passage_tokens: 512}}
train: {{budget: {{steps: 4}}}}
resources: {{max_concurrent: 1}}
grid:
  - model.preset: [tiny, mid]
    train.batch_size: [8, 1024]
"""


def write_long_texts(folder: Path) -> Path:
    """A sweep whose second cell needs some ten GB: a thousand passages of 512 tokens a batch."""
    rows = []
    for number in range(1300):
        texts = {
            code: {
                "question": f"{code} {number}?",
                "passage": " ".join(f"{code}{number + word}" for word in range(400)),
            }
            for code in ("de", "en")
        }
        rows.append({"id": f"r{number}", "title": f"t{number}", "texts": texts})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = folder / "small.yaml"
    file.write_text(LONG_TEXTS.format(folder=folder))
    return file


def test_a_worker_out_of_memory_fails_alone_and_is_told_as_such(tmp_path):
    file = write_long_texts(tmp_path)
    total = int(next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line).split()[1])
    available = int(next(x for x in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in x).split()[1])
    # Ray ends processes once this share of the memory is used: what is used now, and room for Ray and the small cell.
    share = (total - available + 9_000_000) / total
    if share > 0.85:
        pytest.skip("needs 12 GB of free memory")
    command = Command(
        "sweep", str(file), "--json",
        RAY_memory_usage_threshold=f"{share:.4f}", RAY_memory_monitor_refresh_ms="100",
    )  # fmt: skip
    assert command.finish() == 1, command.tail()
    said = json.loads(next(line for line in command.lines if '"event": "results"' in line))
    assert sorted(said["states"].values()) == ["done", "done", "done", "failed"]
    (reason,) = said["failures"].values()
    assert reason.startswith("its processes died 3 times in a row without a new step; the last time: ")
    assert "a worker ran out of memory (it was killed when its machine had none left); lower train.batch_size" in reason


def fill(ballast: Path, leave: int) -> None:
    """Write until so many bytes are free, or none."""
    with ballast.open("wb") as stream:
        try:
            while shutil.disk_usage(ballast.parent).free > leave:
                stream.write(b"\0" * 65536)
                stream.flush()
        except OSError:
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_storage_without_room_stops_cleanly_and_goes_on_when_there_is_some(tmp_path):
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        file = write_sweep(tmp_path, storage=small / "runs")
        cell, label = only_cell(file)
        ballast = small / "ballast"
        options = ["--json", "--set", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "--set"]

        low = Command("sweep", str(file), *options, "min_free_space=24MiB")
        low.wait_for(in_training(60))
        fill(ballast, leave=12 * 2**20)
        assert low.finish() == 1, low.tail()
        end = cell.attempts()[-1]["end"]
        assert end["outcome"] == "interrupted"
        assert "24 MiB must stay free (min_free_space): make room there" in end["message"]
        kept = max(int(name[5:13]) for name in cell.storage.list("checkpoints"))
        assert kept >= 40
        refused = Command("resume", "small", "--storage", str(small / "runs"))
        assert refused.finish() == 2
        assert "(min_free_space): make room there, then resume the sweep" in refused.tail()
        ballast.unlink()

        full = Command("sweep", str(file), *options, "min_free_space=0GiB")
        assert full.wait_for(in_training(1))["step"] >= kept
        full.wait_for(in_training(kept + 60))
        fill(ballast, leave=0)
        assert full.finish() == 2, full.tail()
        text = "".join(low.lines + full.lines)
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
