"""Processes killed with SIGKILL while they log: afterwards every step is there, once."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from xling.track.mlflow import CellTracker
from xling.track.store import connect
from xling.track.sync import sync

STEPS = 400
KEYS = ("train/loss", "dev/mAP")

# Trains from a checkpoint file as the loop would: a checkpoint every 50 steps, a report each step.
TRIAL = textwrap.dedent("""
    import os, signal, sys, time
    from pathlib import Path
    from xling.track import deliver, spool
    from xling.track.mlflow import CellTracker, MetricPoint

    uri, folder, kill_at = sys.argv[1:]
    folder = Path(folder)

    def killed(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    if kill_at == "before sending":
        deliver.Delivery._send_points = killed
    if kill_at == "before acknowledging":
        acknowledge = spool.Spool.acknowledge
        spool.Spool.acknowledge = lambda self, end: killed() if end > 2000 else acknowledge(self, end)

    tracker = CellTracker(uri, "demo", "demo", "c1", folder / "spool")
    tracker.open()
    checkpoint = folder / "checkpoint"
    start = int(checkpoint.read_text()) if checkpoint.exists() else 0
    (folder / "started").touch()
    for step in range(start + 1, %d + 1):
        now = time.time_ns() // 1_000_000
        tracker.log_points([MetricPoint(key, step, step, now) for key in %r])
        if step %% 50 == 0:
            checkpoint.write_text(str(step))
        time.sleep(0.005)
    assert tracker.finish(timeout=60)
""") % (STEPS, KEYS)


def run_trial(uri, folder, kill_at="never", kill_after=None):
    started = folder / "started"
    started.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-c", TRIAL, uri, str(folder), kill_at], stderr=subprocess.PIPE)
    if kill_after is not None:
        while not started.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(kill_after)
        os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors.decode()


def recorded(uri):
    client = connect(uri)
    experiment = client.get_experiment_by_name("demo").experiment_id
    (run,) = client.search_runs([experiment], "tags.`xling.cell` = 'c1'")
    steps = {key: [point.step for point in client.get_metric_history(run.info.run_id, key)] for key in KEYS}
    return run, steps


def assert_each_step_once(uri):
    run, steps = recorded(uri)
    assert run.info.status == "FINISHED"
    for key in KEYS:
        assert sorted(steps[key]) == list(range(1, STEPS + 1))


@pytest.mark.parametrize("kill_at", ["before sending", "before acknowledging"])
def test_killed_between_spooling_sending_and_acknowledging(new_store, tmp_path, kill_at):
    uri = f"sqlite:///{new_store()}"
    code, errors = run_trial(uri, tmp_path, kill_at)
    assert code == -signal.SIGKILL, errors
    _, before = recorded(uri)
    assert (sum(map(len, before.values())) > 0) == (kill_at == "before acknowledging")
    code, errors = run_trial(uri, tmp_path)
    assert code == 0, errors
    assert_each_step_once(uri)


@pytest.mark.slow
def test_killed_before_acknowledging_and_resumed_on_a_host_without_the_spool(new_store, tmp_path):
    uri = f"sqlite:///{new_store()}"
    assert run_trial(uri, tmp_path, "before acknowledging")[0] == -signal.SIGKILL
    (tmp_path / "spool").rename(tmp_path / "spool-lost")
    code, errors = run_trial(uri, tmp_path)
    assert code == 0, errors
    left = CellTracker(uri, "demo", "demo", "c1", tmp_path / "spool-lost").spool.count_pending()
    (result,) = sync(tmp_path / "spool-lost")
    assert (left > 0, result.left) == (True, 0)
    assert_each_step_once(uri)


@pytest.mark.slow
def test_killed_again_and_again_at_any_moment(new_store, tmp_path):
    uri = f"sqlite:///{new_store()}"
    chance = random.Random(0)
    for _ in range(6):
        code, errors = run_trial(uri, tmp_path, kill_after=chance.uniform(0.0, 3.0))
        assert code in (0, -signal.SIGKILL), errors
    code, errors = run_trial(uri, tmp_path)
    assert code == 0, errors
    assert_each_step_once(uri)
