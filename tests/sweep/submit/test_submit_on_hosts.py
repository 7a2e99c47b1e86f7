"""A sweep submitted to three hosts: `benchmarks/hosts.py` in short, on a real cluster through Ray's own Job API."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from chaos import new_folder
from chaos_processes import Processes
from commands import reference_weights
from hosts import Client, Sweep, outcome, refusals, settings, table_of
from hosts_network import WORKERS, Hosts, Namespaces, network

from xling.storage import Storage
from xling.sweep.cells import CellFolder
from xling.sweep.selection import stored_jobs
from xling.train.checkpoint import tensors_from_bytes

STEPS = 400
SECRET = "do-not-show-this"
WENT_ON = ("going on from the last checkpoint", "another one takes over")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]


def xling(hosts, *arguments):
    """A command on the user's host: exit status, and what it printed where."""
    command = [*hosts.xling, *arguments, "--address", hosts.dashboard]
    done = subprocess.run(command, env=hosts.environment, capture_output=True, text=True, check=False, timeout=240)
    return done.returncode, done.stdout, done.stderr


def cells_in_training(client: Client) -> set[str]:
    """Those that have made a step."""
    lines = client.log.read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.startswith('{"') and line.endswith("}\n")]
    return {event["job"] for event in events if event.get("phase") == "training" and event["step"] > 0}


def assert_as_undisturbed(sweep: Sweep, folder: Path) -> None:
    """Every step once in MLflow, all cells in the table; of a cell that was disturbed, the weights of training here."""
    root = Storage(str(folder / "b" / "runs"))
    cells = [job for job in stored_jobs(root, sweep.name) if job.kind == "cell"]
    table = table_of(sweep, folder / "b")
    assert {job.label for job in cells} == {row["label"] for row in table if row["alpha"] is not None}
    histories = outcome(sweep, folder / "b", table).histories
    for job in cells:
        assert [step for step, _ in histories[job.label]["train/loss"]] == list(range(STEPS))
    disturbed = max(cells, key=lambda job: len(CellFolder(root.child(job.folder(sweep.name))).attempts()))
    expected = reference_weights(root, sweep.file, disturbed.label)
    trained = tensors_from_bytes(root.read(f"{disturbed.folder(sweep.name)}/model/model.safetensors"))
    assert all(torch.equal(expected[name], trained[name]) for name in expected)


def test_a_submitted_sweep_outlives_the_loss_of_a_host_and_a_stop():
    folder = new_folder()
    sweep = Sweep.small(folder, STEPS, seeds=(0,))
    with ExitStack() as stack:
        wiring = stack.enter_context(network(named=False))
        if not isinstance(wiring, Namespaces):  # `benchmarks/hosts.py --one-machine` is for those
            pytest.skip("no network namespaces may be made here: nothing could be cut off")
        processes = stack.enter_context(Processes())
        hosts = Hosts(processes, wiring, folder / "ray")
        hosts.start()
        hosts.environment["HF_TOKEN"] = SECRET  # of the client alone
        client = Client(sweep, hosts, processes, folder, "--env", "HF_TOKEN")
        for what, (status, _, said) in refusals(sweep, hosts, folder).items():  # while the job starts
            assert (what, status) == (what, 2)
            assert said.startswith("error: the Ray cluster at ")
            assert len(said.splitlines()) == 1
        client.until(lambda: len(cells_in_training(client)) == 2, "host")  # one a host
        hosts.cut_off(WORKERS[1])
        client.until(lambda: any(note in client.log.read_text() for note in WENT_ON), "host")
        status, _, said = xling(hosts, "submit", str(sweep.file), *settings(folder / "b" / "runs"))
        assert (status, "runs already, as job xling-chaos-1" in said) == (2, True)
        status, log, said = xling(hosts, "attach", sweep.name, "--stop")
        assert status == 130, said
        assert "was stopped; submit the sweep again" in said
        hosts.come_back(WORKERS[1])
        client.until(lambda: False, "end")
        assert client.command.ended() == 130
        shown = client.log.read_text()
        assert set(log.splitlines()) <= set(shown.splitlines())  # the same, from its first line
        assert SECRET not in shown + log + said
        assert not any(SECRET.encode() in file.read_bytes() for file in (folder / "b").rglob("*") if file.is_file())

        client.submit()
        client.until(lambda: False, "end")
        assert client.command.ended() == 0, client.log.read_text()[-3000:]
        _, listed, _ = xling(hosts, "attach", "--json")
        assert [(job["job"], job["exit_status"]) for job in json.loads(listed)] == [
            ("xling-chaos-2", 0),
            ("xling-chaos-1", 130),
        ]
    assert_as_undisturbed(sweep, folder)
    shutil.rmtree(folder)  # a failed test leaves it
