"""infra/slurm/sweep.sbatch, run for real with recorders in place of Slurm, Ray and xling."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray._common.utils import get_default_ray_temp_dir
from ray._private.utils import validate_socket_filepath

SCRIPT = Path(__file__).resolve().parents[2] / "infra/slurm/sweep.sbatch"

# Each appends what it was asked to one log, in the order in which things happen.
RECORDERS = {
    "srun": """
        echo "srun $*" >> "$LOG"
        while [ "$1" != ray ]; do shift; done
        exec "$@"
    """,
    "ray": """
        if [ "$1" = list ]; then echo "[$(seq "$ALIVE" | sed 's/.*/{}/' | paste -sd,)]"; exit; fi
        trap 'echo "ray stopped" >> "$LOG"; exit 0' TERM
        echo "ray $* token=$RAY_AUTH_TOKEN" >> "$LOG"
        echo "$RAY_TMPDIR" >> "$LOG.folders"
        [ -z "${RAY_DIES:-}" ] || exit 1
        while true; do sleep 0.02; done
    """,
    "xling": """
        trap 'sleep 0.05; echo "xling saved" >> "$LOG"; exit "${XLING_STATUS_WHEN_STOPPED:-130}"' TERM
        echo "xling $* token=$RAY_AUTH_TOKEN" >> "$LOG"
        [ -z "${XLING_STATUS:-}" ] || exit "$XLING_STATUS"
        while true; do sleep 0.02; done
    """,
    "scontrol": """
        if [ "$1" = show ]; then printf '%s\\n' $NODES; else echo "scontrol $*" >> "$LOG"; fi
    """,
    "python": 'exec "$PYTHON" "$@"',
}

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def start(tmp_path: Path, log: Path) -> Iterator[Run]:
    """A function: starts the script with these arguments and settings of the recorders."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in RECORDERS.items():
        path = programs / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    started = []

    def run(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LOG": str(log),
            "PYTHON": sys.executable,
            "NODES": "node-a node-b node-c",
            "ALIVE": "3",
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "node-[a-c]",
            "SLURM_CPUS_PER_TASK": "16",
            "XLING_HEAD_IP": "10.9.8.7",
            **settings,
        }
        process = subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def test_a_cluster_a_sweep_and_nothing_left(start, log):
    process = start("sweeps/demo.yaml", "--set", "storage=/shared/my runs", XLING_STATUS="0")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    text = log.read_text()
    (token,) = set(re.findall(r"token=(\S*)", text))  # the same for all
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token not in output
    lines = text.replace(f" token={token}", "").splitlines()
    head, others = [line for line in lines if line.startswith("srun")]
    assert head.startswith("srun --nodes=1 --ntasks=1 --cpus-per-task=16 --nodelist=node-a ray start --block")
    assert "--head --node-ip-address=10.9.8.7 --port=6379 --dashboard-host=127.0.0.1" in head
    assert others.startswith("srun --nodes=2 --ntasks=2 --cpus-per-task=16 --exclude=node-a ray start --block")
    assert others.endswith("--num-cpus=16 --address=10.9.8.7:6379")
    assert lines[-3:] == [
        "xling sweep sweeps/demo.yaml --set storage=/shared/my runs --address 10.9.8.7:6379",
        "ray stopped",
        "ray stopped",
    ]


@pytest.mark.parametrize("given", [None, "/scratch/77"])
def test_rays_files_are_apart_from_other_users(start, log, given):
    process = start("sweeps/demo.yaml", XLING_STATUS="0", **({} if given is None else {"RAY_TMPDIR": given}))
    process.communicate(timeout=30)
    (folder,) = set(log.with_name("log.folders").read_text().splitlines())  # one for the head and the others
    assert folder == (given or f"/tmp/xling-{os.getuid()}")


def test_sockets_below_the_folder_of_any_user_have_a_path_that_is_short_enough(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/xling-{2**32 - 2}")
    session = "session_2026-11-27_04-16-31_123456_4194304"  # as Ray names it: the time, microseconds, a process' number
    path = f"{get_default_ray_temp_dir()}/{session}/sockets/dash_TaskEventsHead"  # of Ray's sockets the longest name
    assert path.startswith("/tmp/xling-4294967294/ray/")
    validate_socket_filepath(path)


def test_on_one_node_the_exit_status_is_the_sweeps(start, log):
    process = start("sweeps/demo.yaml", XLING_STATUS="3", NODES="node-a", ALIVE="1")
    process.communicate(timeout=30)
    assert process.returncode == 3
    assert log.read_text().count("srun") == log.read_text().count("ray stopped") == 1
    assert "scontrol requeue" not in log.read_text()


@pytest.mark.parametrize(
    ("number", "status", "requeued"),
    [
        (signal.SIGUSR1, 130, True),  # the time limit is near
        (signal.SIGTERM, 130, False),  # preempted (Slurm queues it again) or cancelled
        (signal.SIGUSR1, 0, False),  # it had just finished
    ],
)
def test_a_signal_stops_the_sweep_before_the_cluster(start, log, number, status, requeued):
    process = start("sweeps/demo.yaml", XLING_STATUS_WHEN_STOPPED=str(status))
    wait_for(log, "xling sweep")
    process.send_signal(number)  # to the script alone, as --signal=B: does
    output, _ = process.communicate(timeout=30)
    assert process.returncode == status, output
    after = [line for line in log.read_text().splitlines() if not line.startswith(("srun", "ray start", "xling sweep"))]
    requeue = ["scontrol requeue 77"] if requeued else []
    assert after == ["xling saved", *requeue, "ray stopped", "ray stopped"]


def test_nodes_that_do_not_come_end_it_with_a_reason(start, log):
    process = start("sweeps/demo.yaml", ALIVE="2", XLING_NODES_WAIT_S="0")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "not all of node-a node-b node-c joined 10.9.8.7:6379 within 0 s" in output
    assert "xling" not in log.read_text()
    assert log.read_text().count("ray stopped") == 2


def test_a_ray_that_does_not_start_is_not_waited_for(start, log):
    began = time.monotonic()
    process = start("sweeps/demo.yaml", ALIVE="0", RAY_DIES="1")
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert time.monotonic() - began < 20  # of 300
    assert "xling" not in log.read_text()


def test_a_sweep_file_is_needed(start):
    process = start()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output.startswith("usage: sbatch")
