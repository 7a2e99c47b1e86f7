"""Whether MLflow is reached from where trials run."""

from __future__ import annotations

from xling.redaction import without_password
from xling.sweep.doctor.checks import Answers, Order, State, Verdict, check, listed, probe
from xling.sweep.doctor.storage import apart_from_caller
from xling.track.store import sqlite_path

NONE_NAMED = "no tracking is named: give a sweep file"


@probe(by_caller=True)
def reach_tracking(order: Order) -> str | None:
    """Why MLflow cannot be reached; empty where it can, None where this node need not.

    Before a launch only that a server of MLflow's answers: its client takes seconds to import.
    """
    from urllib.parse import urlsplit

    uri = order["tracking"]
    if uri is None or uri.startswith(("sqlite:", "databricks")):
        return None
    try:
        if not order["quick"]:
            from xling.track.reach import translated
            from xling.track.store import connect

            with translated(uri):
                connect(uri).search_experiments(max_results=1)
        elif uri.startswith("http"):
            from xling.track.reach import why_away

            return why_away(uri, timeout=5)
        else:
            import socket

            parts = urlsplit(uri)
            ports = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
            port = parts.port or ports.get(parts.scheme.partition("+")[0], 0)
            socket.create_connection((parts.hostname or "localhost", port), timeout=5).close()
    except Exception as error:  # of MLflow, of a database's driver, of the network: they have no common root
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""


@probe()
def host(order: Order) -> list[str]:
    """What tells machines apart: Ray nodes may share one."""
    import socket
    from pathlib import Path

    boot = Path("/proc/sys/kernel/random/boot_id")
    return [socket.gethostname(), boot.read_text().strip() if boot.exists() else ""]


@check(
    "MLflow is reached",
    why="Each trial's driver logs to MLflow from the node it runs on; what it cannot send waits in its spool.",
    fix="set tracking.uri to an address that all nodes reach (never localhost), start the server with --host on that "
    "interface, and give the nodes MLFLOW_TRACKING_USERNAME and _PASSWORD if it asks for them",
    probes=[reach_tracking],
    quick=True,
)
def reached(answers: Answers) -> Verdict:
    uri = answers.subject.tracking
    if uri is None:
        return Verdict(State.NOT_APPLICABLE, NONE_NAMED)
    asked = {node: problem for node, problem in answers.of(reach_tracking).items() if problem is not None}
    shown = without_password(uri)
    if not asked:
        return Verdict(State.NOT_APPLICABLE, f"{shown} is no server that could be asked")
    away = {node: problem for node, problem in asked.items() if problem}
    if len(away) == len(asked):  # training goes on without it, and what it missed is sent when it is back
        seen = f"{shown}: {next(iter(away.values()))}"
        return Verdict(State.FAILED, seen, "start the server, or correct tracking.uri", stops=False)
    if away:
        seen = "; ".join(f"{node}: {problem}" for node, problem in away.items())
        return Verdict(State.FAILED, f"{shown} is not reached from {seen}", nodes=tuple(away))
    return Verdict(State.OK, f"{shown}, from {len(asked)} {'place' if len(asked) == 1 else 'places'}")


@check(
    "a store for several machines",
    why="A SQLite file is one machine's: what others write to a file of their own is nowhere to be seen, and over a "
    "network file system its locks may not hold.",
    fix="start an MLflow server that all nodes reach and set tracking.uri to it (infra/ has one)",
    probes=[host],
    quick=True,
)
def not_a_local_file(answers: Answers) -> Verdict:
    uri = answers.subject.tracking
    if uri is None:
        return Verdict(State.NOT_APPLICABLE, NONE_NAMED)
    database = sqlite_path(uri)
    if database is None:
        return Verdict(State.OK, "a server")
    machines = {tuple(found) for found in answers.of(host).values()}
    if len(machines) < 2:
        return Verdict(State.OK, f"{database}, and one machine")
    apart = apart_from_caller(answers, "tracking" if "tracking" in answers.subject.places else "storage")
    if apart:
        return Verdict(State.FAILED, f"{database} is another file on {listed(apart)}", nodes=apart)
    return Verdict(State.WARNING, f"{database}, written from {len(machines)} machines")
