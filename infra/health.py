"""Whether this container is well: exit status 0, or 1 with the reason on stderr.

A Ray node is well when its raylet is alive in the cluster's eyes, and on the head when the cluster's store answers. Any
other container (a job's, a command's) is well when it can run this. Ray itself is not imported: a check every half
minute must cost nothing.

Source of the two addresses: ray/dashboard/modules/reporter/{healthz_agent,reporter_head}.py of Ray 2.60. They answer
without the cluster's token.
"""

import os
import sys
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

AGENT_PORT = 52365  # `ray start --dashboard-agent-listen-port`
DASHBOARD_PORT = 8265  # `ray start --dashboard-port`
CHECKS = {  # a process of Ray's, and what it or its neighbour must answer with "success"
    "raylet": f"http://127.0.0.1:{AGENT_PORT}/api/local_raylet_healthz",
    "gcs_server": f"http://127.0.0.1:{DASHBOARD_PORT}/api/gcs_healthz",
}
TIMEOUT_S = 5.0


def running(proc: Path = Path("/proc")) -> set[str]:
    """Names of the programs that run in this container."""
    names = set()
    for folder in proc.glob("[0-9]*"):
        try:
            program = (folder / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:  # it ended meanwhile
            continue
        names.add(os.path.basename(program).decode(errors="replace"))
    return names


def failures(programs: Iterable[str]) -> list[str]:
    """What is wrong with the Ray processes among ``programs``."""
    found = []
    for program, url in CHECKS.items():
        if program not in programs:
            continue
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            found.append(f"{program}: {url}: {error}")
            continue
        if "success" not in text:
            found.append(f"{program}: {url}: {text.strip()[:200]}")
    return found


if __name__ == "__main__":
    wrong = failures(running())
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    sys.exit(1 if wrong else 0)
