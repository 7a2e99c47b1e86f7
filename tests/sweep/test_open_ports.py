"""What a sweep on one machine and `xling ui` listen on."""

from __future__ import annotations

import ipaddress

import psutil
import pytest
from commands import Command

SWEEP = """\
name: small
storage: {folder}/runs
data: {{train: {{dataset: geo, languages: [de, en]}}, evaluate: []}}
model: {{preset: tiny, max_query_tokens: 16, max_passage_tokens: 16}}
train: {{batch_size: 8, budget: {{steps: 400}}, checkpoint_every: 400, report_every: 5}}
"""


def listening(pid: int) -> dict[str, set[str]]:
    """Addresses that a process and all below it listen on, each with the names of who does."""
    found: dict[str, set[str]] = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            name = " ".join(process.cmdline()[:3])
            sockets = process.net_connections(kind="inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        for one in sockets:
            if one.status == psutil.CONN_LISTEN:
                found.setdefault(one.laddr.ip, set()).add(name)
    return found


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback


def wildcard(found: dict[str, set[str]]) -> set[str]:
    """Who listens on more than this machine."""
    return {name for address, names in found.items() if not is_loopback(address) for name in names}


@pytest.mark.slow
def test_the_pages_of_mlflow_are_for_this_machine_alone(new_store):
    database = new_store()
    command = Command("ui", "--storage", str(database.parent), "--port", "0")
    try:
        for line in command.process.stdout:
            if line.startswith("MLflow: "):
                break
        found = listening(command.process.pid)
        assert found
        assert wildcard(found) == set()
    finally:
        command.process.terminate()
        command.process.wait(timeout=60)
