"""What a launch came to, as its user reads it: tables, what failed and why, how to go on, where everything is."""

from __future__ import annotations

from rich.console import Console

from xling.config.load import LoadedSweep
from xling.sweep.cells import CellState, Outcome
from xling.sweep.inspect import ended_as, failures
from xling.sweep.jobs import Job
from xling.sweep.launching.launch import Launched
from xling.sweep.outcome.gather import gather
from xling.sweep.outcome.results import print_json, show_places, show_tables
from xling.sweep.places import page_addresses, sweep_storage
from xling.sweep.remembered import how_to_go_on


def show_outcome(loaded: LoadedSweep, done: Launched, console: Console, *, as_json: bool) -> None:
    """After a launch: the tables, what failed and why, how to go on, where everything is."""
    root, sweep = sweep_storage(loaded), loaded.config.name
    gathered = done.gathered or gather(root, loaded, done.study, done.states)
    if as_json:
        print_json(gathered, done.states, console)
        return
    if not done.ran:
        console.print("Nothing to run: no cell that was asked for is left to do.")
    show_tables(gathered, console)
    for job, message, trace in failures(root, sweep, _in(done, CellState.FAILED)):
        console.print(f"failed: {job.label}: {message}", style="red", soft_wrap=True)
        if trace:
            console.print(f"  traceback: {trace}", soft_wrap=True)
    for job, message, _ in ended_as(Outcome.INTERRUPTED, root, sweep, _in(done, CellState.INTERRUPTED)):
        if message:  # the storage had no room left
            console.print(f"interrupted: {job.label}: {message}", style="red", soft_wrap=True)
    if done.interrupted:
        console.print("Interrupted; everything is saved.")
    for line in how_to_go_on(loaded, done.states.values()):
        console.print(line, soft_wrap=True)
    show_places(loaded, root, console)
    if done.ran:
        for line in page_addresses(loaded):
            console.print(line, soft_wrap=True)


def _in(done: Launched, state: CellState) -> list[Job]:
    """The jobs that are in a state: of the others nothing is read."""
    return [job for job in done.study.scored if done.states[job.id] is state]
