"""``xling submit`` and ``xling attach``: sweeps as jobs of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from xling.cli.options import Cells, Failed, FromScratch, Json, Sets, Stopped, console
from xling.errors import ConfigError

Dashboard = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option("--address", help="The cluster's dashboard, http://HEAD:8265; RAY_API_SERVER_ADDRESS by default."),
]


def submit(
    file: Annotated[Path, typer.Argument(help="A sweep file, as in sweeps/.")],
    set_: Sets = None,
    address: Dashboard = None,
    env: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Send this variable along: MLFLOW_*, AWS_*, GOOGLE_*, HF_*, XLING_*. Repeatable."),
    ] = None,
    working_tree: Annotated[
        bool, typer.Option("--working-tree", help="Send xling as it is here, not the version installed there.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait: print the job's id and leave.")] = False,
    failed: Failed = False,
    stopped: Stopped = False,
    cell: Cells = None,
    from_scratch: FromScratch = False,
    json: Json = False,
) -> None:
    """Run a sweep as a job of a Ray cluster, from anywhere; launch, resume and extend are this one command."""
    from xling.sweep.selection import Selection
    from xling.sweep.submit.commands import dashboard_address, environment, watch
    from xling.sweep.submit.commands import submit as send
    from xling.sweep.submit.package import pack

    Selection(failed=failed, stopped=stopped, cells=tuple(cell or ()))  # what the job would refuse is told here
    where, variables, parcel = dashboard_address(address), environment(env or ()), pack(file, set_ or ())
    only = [
        *(["--failed"] if failed else ()),
        *(["--stopped"] if stopped else ()),
        *(part for name in cell or () for part in ("--cell", name)),
        *(["--from-scratch"] if from_scratch else ()),
    ]
    arguments = [
        "resume" if only else "sweep",
        parcel.file,
        *(part for value in set_ or () for part in ("--set", value)),
        *only,
        *("--address", "auto"),
        *(["--json"] if json else ()),
    ]
    from xling.sweep.submit.ray_jobs import RayJobs  # what is wrong with the file is told before this slow import

    api = RayJobs(where)
    name = send(api, parcel, arguments, env=variables, working_tree=working_tree, tell=_tell)
    if detach:
        typer.echo(name)
        return
    raise typer.Exit(watch(api, name, _tell))


def attach(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="A job's id, or a sweep's name: its newest job. All jobs are listed without."),
    ] = None,
    address: Dashboard = None,
    stop: Annotated[bool, typer.Option("--stop", help="Ask the job to save and end, then watch it do so.")] = False,
    json: Json = False,
) -> None:
    """Watch a submitted sweep again, from its first line; ends with the sweep's exit status."""
    if name is None and stop:
        raise ConfigError("--stop needs the job to stop: give its id or its sweep's name")
    if name is not None and json:
        raise ConfigError("--json is for the list of jobs; how a job's log is written was said when it was submitted")
    from xling.sweep.submit.commands import attach as watch_again
    from xling.sweep.submit.commands import dashboard_address, show_jobs

    where = dashboard_address(address)
    from xling.sweep.submit.ray_jobs import RayJobs

    api = RayJobs(where)
    if name is None:
        show_jobs(api, console(), as_json=json)
        return
    raise typer.Exit(watch_again(api, name, _tell, stop=stop))


def _tell(text: str) -> None:
    """Beside the job's log, which alone goes to standard output."""
    Console(stderr=True, markup=False, emoji=False, highlight=False).print(text, soft_wrap=True)
