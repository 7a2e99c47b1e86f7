"""infra/slurm/sweep.sbatch with a real Ray and a real sweep, on one node: Slurm alone is stood in for."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from xling.storage import Storage
from xling.train.metrics import stored_steps

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "infra/slurm/sweep.sbatch"
SLURM = {
    "srun": 'while [ "$1" != ray ]; do shift; done; exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then echo this-node; else echo "$*" >> "$REQUEUED"; fi',
}
STEPS = 400
SWEEP = """\
name: requeued
storage: {folder}/runs
data:
  train: {{dataset: geo, languages: [de, en]}}
  evaluate: [{{dataset: geo, languages: [de, en]}}]
model: {{preset: tiny}}
train: {{batch_size: 32, budget: {{steps: {steps}}}}}
tracking: {{system_metrics: false}}
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Job:
    """One start of the batch script, as Slurm would start it."""

    def __init__(self, folder: Path, restart: int) -> None:
        environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder),  # no token of the user's is found or touched
            "RAY_TMPDIR": str(folder / "ray"),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "this-node",
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_RESTART_COUNT": str(restart),
            "REQUEUED": str(folder / "requeued"),
            "XLING_HEAD_IP": "127.0.0.1",
            "XLING_RAY_PORT": str(free_port()),
            "XLING_DASHBOARD_PORT": str(free_port()),
        }
        environment.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen(
            ["bash", str(SCRIPT), str(folder / "sweep.yaml"), "--json"],
            env=environment,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def steps(self):
        """The steps that training reports, as they come."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith('{"') and (event := json.loads(line)).get("phase") == "training":
                yield event["step"]

    def finish(self) -> int:
        for _ in self.steps():
            pass
        return self.process.wait()

    @property
    def output(self) -> str:
        return "".join(self.lines)


@pytest.mark.slow
@pytest.mark.timeout(1500)  # two starts of a cluster
def test_a_sweep_stopped_at_the_time_limit_goes_on_in_the_next_turn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")  # short: the paths of Ray's sockets have a limit
    (folder / "sweep.yaml").write_text(SWEEP.format(folder=folder, steps=STEPS))
    (folder / "bin").mkdir()
    programs = {**SLURM, "xling": f'exec {sys.executable} -m xling "$@"'}
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(stat.S_IRWXU)

    first = Job(folder, restart=0)
    reached = next(step for step in first.steps() if step >= 5)
    first.process.send_signal(signal.SIGUSR1)
    assert first.finish() == 130, first.output
    assert (folder / "requeued").read_text() == "requeue 77\n"
    done_before = len(list((folder / "runs").rglob("result.json")))  # the baseline, which trains nothing

    second = Job(folder, restart=1)
    steps = list(second.steps())
    assert second.process.wait() == 0, second.output
    assert min(steps, default=STEPS) >= reached, "it began anew"
    (segments,) = (folder / "runs/requeued").glob("cells/*/metrics")
    assert [record["step"] for record in stored_steps(Storage(str(segments.parent)))] == list(range(STEPS))
    assert (folder / "requeued").read_text() == "requeue 77\n"  # once
    assert len(list((folder / "runs").rglob("result.json"))) == done_before + 1
