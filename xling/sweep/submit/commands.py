"""``xling submit`` and ``xling attach``: a sweep as a job of a cluster, and its log from anywhere."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table

import xling
from xling.errors import INTERRUPTED, ConfigError, UserInterrupt
from xling.sweep.submit.follow import follow
from xling.sweep.submit.jobs import JobApi, JobSpec, Submission, find_job, next_id, refuse_running
from xling.sweep.submit.package import Parcel
from xling.train.attempts import local_time

SENDABLE = ("MLFLOW_", "AWS_", "GOOGLE_", "HF_", "XLING_")  # beginnings of the variables that may go with a job


def dashboard_address(given: str | None) -> str:
    """The address of the Job API: as given, else of the environment, by Ray's own names.

    Raises:
        ConfigError: there is none, or it is not a URL.
    """
    names = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    source = "--address" if given else next((name for name in names if os.environ.get(name)), "")
    address = given or os.environ.get(source, "")
    rule = "http://HEAD:8265 or https://…, that of the cluster's dashboard"
    if not address:
        raise ConfigError(f"no cluster is named: give --address {rule}, or set RAY_API_SERVER_ADDRESS")
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"{source} is {address!r}, must be {rule}; other addresses are for `xling sweep --address`")
    return address.rstrip("/")


def environment(names: Sequence[str]) -> dict[str, str]:
    """The variables of this process that are to go with a job; ``AWS_*`` names all that begin so.

    Raises:
        ConfigError: with every name that is not set here, or may not go.
    """
    found: dict[str, str] = {}
    problems = []
    for name in names:
        matches = [known for known in os.environ if fnmatch.fnmatchcase(known, name)]
        if not name.startswith(SENDABLE):
            listed = ", ".join(f"{start}*" for start in SENDABLE)
            problems.append(f"--env is {name!r}, must be one of {listed}; set others on the cluster's machines")
        elif not matches:
            problems.append(f"--env names {name}, which is not set here: export it, or leave it out")
        found |= {match: os.environ[match] for match in matches}
    if problems:
        raise ConfigError(problems)
    return found


def submit(
    api: JobApi,
    parcel: Parcel,
    arguments: Sequence[str],
    *,
    env: dict[str, str],
    working_tree: bool,
    tell: Callable[[str], None],
) -> str:
    """Send a sweep to a cluster and start its job, whose id is returned.

    Raises:
        ConfigError: a job runs this sweep already.
        ResourceError: the cluster refuses us.
    """
    config = parcel.loaded.config
    known = api.list()
    refuse_running(known, config.name, config.storage)
    name = next_id(config.name, known)
    with tempfile.TemporaryDirectory(prefix="xling-submit-") as scratch:
        package = Path(scratch) / "sweep.zip"
        parcel.write(package, arguments)
        modules = Path(xling.__file__).parent if working_tree else None
        api.submit(JobSpec(name, config.name, config.storage, package, modules, env))
    code = "this working tree" if working_tree else f"xling {xling.__version__} as installed there"
    also = f"; variables: {', '.join(sorted(env))}" if env else ""
    tell(f"Job {name} on {api.address}: {code}; sent: {parcel.describe()}{also}.")
    if "://" not in config.storage:
        tell(f"Results go to {config.storage}, as the cluster's machines see it.")
    return name


def watch(api: JobApi, name: str, tell: Callable[[str], None]) -> int:
    """Show a job's log to its end; the sweep's exit status, or 130 when Ctrl-C detaches."""
    tell(f"Ctrl-C detaches, the job goes on. {_how_to(api, name)}")
    try:
        job = follow(api, name, _write, tell)
    except UserInterrupt:
        tell(f"Detached; the job goes on. {_how_to(api, name)}")
        return INTERRUPTED
    tell(job.ending())
    return job.exit_status


def attach(api: JobApi, name: str, tell: Callable[[str], None], *, stop: bool) -> int:
    """Show a job's log from its beginning, after asking it to stop if that is wanted; the sweep's exit status."""
    job = find_job(api.list(), name, api.address)
    if stop and job.is_live:
        api.stop(job.id)
        tell(f"Job {job.id} was asked to stop: running cells finish their step and save.")
    return watch(api, job.id, tell)


def show_jobs(api: JobApi, console: Console, *, as_json: bool) -> None:
    """A row a job, the newest first."""
    jobs = sorted(api.list(), key=lambda job: job.started, reverse=True)
    if as_json:
        console.print_json(json.dumps([_as_json(job) for job in jobs]))
        return
    table = Table()
    for name in ("job", "sweep", "status", "exit", "started", "storage"):
        table.add_column(name, overflow="fold")
    for job in jobs:
        status = "" if job.is_live else str(job.exit_status)
        table.add_row(job.id, job.sweep, job.status, status, local_time(job.started), job.storage)
    console.print(table if jobs else f"{api.address} has no job of xling's: xling submit SWEEP.yaml makes one")


def _as_json(job: Submission) -> dict[str, object]:
    return {
        "job": job.id,
        "sweep": job.sweep,
        "storage": job.storage,
        "status": job.status,
        "exit_status": None if job.is_live else job.exit_status,
        "started": job.started,
    }


def _how_to(api: JobApi, name: str) -> str:
    command = f"xling attach {name} --address {quote(api.address)}"
    return f"Attach: {command}   Stop: {command} --stop"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
