"""Every death, really caused, on a real Ray cluster of this machine: the sweep goes on to the same weights."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
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
    newest_checkpoint,
    ray_processes,
    reference_weights,
    signal_one,
    wait_until_gone,
)

from xling.config.load import load_sweep
from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.launching.prepare import prepare
from xling.sweep.study import build_study
from xling.train.checkpoint import tensors_from_bytes
from xling.train.metrics import stored_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS = 400  # a machine several times as fast as ours must not be done before the last kill
SWEEP = """
name: small
storage: {storage}
data:
  train: {{dataset: geo, languages: [de, en]}}
  evaluate: [{{dataset: geo, languages: [de, en]}}]
model: {{preset: tiny, dropout: 0.1, max_query_tokens: 48, max_passage_tokens: 48}}
train: {{batch_size: 64, budget: {{steps: 400}}, lr: 4e-3, checkpoint_every: 20, report_every: 5}}
resources: {{hang_timeout: 15}} # a busy machine takes seconds to load what it trains on
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of the only cell, trained in this process with nothing happening to it."""
    file = write_sweep(tmp_path_factory.mktemp("undisturbed"))
    study, root = build_study(load_sweep(file).cells), Storage(str(file.parent / "runs"))
    prepare(root, "small", study, study.cells, lambda line: None)
    return reference_weights(root, file, study.cells[0].label)


def assert_as(undisturbed: dict[str, torch.Tensor], cell: CellFolder) -> None:
    """The cell made each step once, and its weights are the undisturbed ones."""
    assert [record["step"] for record in stored_steps(cell.storage)] == list(range(STEPS))
    trained = tensors_from_bytes(cell.storage.read("model/model.safetensors"))
    assert all(torch.equal(undisturbed[name], trained[name]) for name in undisturbed)


def wait_for_note(command: Command, text: str) -> None:
    command.wait_for(lambda event: text in event.get("note", ""))


def test_workers_drivers_and_the_whole_cluster_die(tmp_path, undisturbed):
    file = write_sweep(tmp_path)
    cell, label = only_cell(file)
    before = ray_processes()

    sweep = Command("sweep", str(file), "--json")
    sweep.wait_for(in_training(30))
    signal_one(TRAIN_WORKER, signal.SIGKILL, before)
    wait_for_note(sweep, "going on from the last checkpoint")

    sweep.wait_for(in_training(60))
    signal_one(TRAIN_WORKER, signal.SIGSTOP, before)  # hangs: found out after hang_timeout, and ended
    wait_for_note(sweep, "no sign of life from its workers for 15 s")

    sweep.wait_for(in_training(100))
    signal_one(TRIAL_DRIVER, signal.SIGKILL, before)
    wait_for_note(sweep, "its driver died; another one takes over")

    sweep.wait_for(in_training(140))
    os.kill(sweep.process.pid, signal.SIGKILL)
    kill_all(ray_processes() - before)
    sweep.process.wait()
    wait_until_gone(ray_processes() - before)
    kept = newest_checkpoint(cell)
    assert kept >= 120

    resumed = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    assert resumed.wait_for(in_training(1))["step"] >= kept
    resumed.wait_for(in_training(180))
    resumed.interrupt(times=2)  # leaves at once
    assert resumed.process.wait(timeout=60) == 130
    wait_until_gone(ray_processes() - before)  # by themselves; workers train on until they notice
    kept = newest_checkpoint(cell)
    assert kept >= 160

    last = Command("resume", "small", "--storage", str(tmp_path / "runs"), "--json")
    steps = last.steps()
    assert last.process.wait() == 0, last.tail()
    assert min(steps, default=STEPS) >= kept  # there are none where the workers came to the end before they noticed

    attempts = cell.attempts()
    ends = [attempt["end"]["infra"] if attempt["end"] else None for attempt in attempts]
    assert ends[-1] is False
    # Nobody was left to write an end to the driver's attempt and the sweep's, nor always after Ctrl-C twice.
    assert 2 <= ends.count(None) <= 3
    assert ends.count(True) >= 2  # a machine under load may let so many seconds of silence pass by itself
    assert_as(undisturbed, cell)
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
model: {{preset: mid, max_query_tokens: 16, max_passage_tokens: 512}}
train: {{budget: {{steps: 4}}}}
resources: {{max_concurrent: 1}}
grid:
  - train.batch_size: [8, 1024]
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
    assert sorted(said["states"].values()) == ["done", "done", "failed"]
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
def test_a_storage_without_room_stops_cleanly_and_goes_on_when_there_is_some(tmp_path, undisturbed):
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        file = write_sweep(tmp_path, storage=small / "runs")
        cell, _ = only_cell(file)
        ballast = small / "ballast"
        options = ["--json", "--set", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "--set"]

        low = Command("sweep", str(file), *options, "min_free_space=24MiB")
        low.wait_for(in_training(45))
        fill(ballast, leave=12 * 2**20)
        assert low.finish() == 1, low.tail()
        end = cell.attempts()[-1]["end"]
        assert end["outcome"] == "interrupted"
        assert "24 MiB must stay free (min_free_space): make room there" in end["message"]
        kept = newest_checkpoint(cell)
        assert kept >= 40
        refused = Command("resume", "small", "--storage", str(small / "runs"))
        assert refused.finish() == 2
        assert "(min_free_space): make room there, then resume the sweep" in refused.tail()
        ballast.unlink()

        full = Command("sweep", str(file), *options, "min_free_space=0GiB")
        assert full.wait_for(in_training(1))["step"] >= kept
        fill(ballast, leave=0)
        assert full.finish() == 2, full.tail()
        text = "".join(low.lines + full.lines)
        assert "is full; make room there" in text
        assert "Traceback" not in text
        ballast.unlink()

        kept = newest_checkpoint(cell)
        resumed = Command("resume", "small", "--storage", str(small / "runs"), "--json")
        assert resumed.wait_for(in_training(1))["step"] >= kept > 0
        assert resumed.finish() == 0, resumed.tail()
        assert_as(undisturbed, cell)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
