"""The command line: subcommands only. What they do is in the rooms; heavy imports are theirs too."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from xling.cli import cluster, health, listing, measured, mining, options, reporting, upkeep, use
from xling.cli.data_sets import data
from xling.cli.named import Name, SweepStorage
from xling.cli.named import is_file as _is_file
from xling.cli.named import load as _load
from xling.cli.named import load_named as _load_named
from xling.cli.options import Csv, Json, Sets, StorageOption, Trust, require_one_format
from xling.cli.options import console as _console
from xling.errors import ConfigError, UserInterrupt, XlingError
from xling.redaction import redacted
from xling.refusals import of_file

if TYPE_CHECKING:
    from xling.config.load import LoadedSweep
    from xling.sweep.jobs import Job
    from xling.sweep.live import Display
    from xling.sweep.selection import Selection

app = typer.Typer(
    help="Sweep multilingual dual encoders over model size x batch mixing ratio.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="--debug, anywhere, shows the traceback of an error.",
)
track = typer.Typer(help="What MLflow has not got yet.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A sweep file, as in sweeps/.")]
Address = Annotated[Optional[str], typer.Option(help="Ray cluster to run on; one on this machine by default.")]  # noqa: UP045 - typer reads it


def sweep(
    file: File,
    set_: Sets = None,
    address: Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="One cell a model, 2 steps, made-up data, random weights; nothing kept.")
    ] = False,
    json: Json = False,
) -> None:
    """Run every cell of a sweep that is not done: launch, resume and extend are this one command."""
    if dry_run:
        if address is not None:
            raise ConfigError("--dry-run runs on this machine, --address names a cluster: give one of them")
        from xling.sweep.launching.dry_run import dry_run as run_in_small

        raise typer.Exit(run_in_small(file, set_ or (), _console(), as_json=json))
    loaded = _load(file, set_)  # before the slow imports: a wrong file is told at once

    from xling.sweep.selection import Selection

    _launch(loaded, Selection(), address, json)


def resume(
    name: Name,
    set_: Sets = None,
    failed: options.Failed = False,
    stopped: options.Stopped = False,
    cell: options.Cells = None,
    from_scratch: options.FromScratch = False,
    storage: SweepStorage = None,
    address: Address = None,
    json: Json = False,
) -> None:
    """Go on with a sweep that was launched before, by its name."""
    from xling.sweep.selection import Selection

    selection = Selection(failed=failed, stopped=stopped, cells=tuple(cell or ()), from_scratch=from_scratch)
    _launch(_load_named(name, storage, set_), selection, address, json, known=not _is_file(name))


def plan(
    file: File,
    set_: Sets = None,
    address: Address = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Make a few steps of each kind of cell here, and foretell time and memory."),
    ] = False,
    json: Json = False,
) -> None:
    """Show the cells, what each needs and what fits at once, without training any."""
    loaded = _load(file, set_)

    from xling.sweep.launching.plan import show_plan

    show_plan(loaded, address, _console(), as_json=json, measure=measure)


def train(file: File, set_: Sets = None, address: Address = None, json: Json = False) -> None:
    """Train and score the one cell of a file without a grid, its driver in this process (no Ray Tune)."""
    loaded = _load(file, set_)
    if len(loaded.cells) != 1:
        count = len(loaded.cells)
        raise ConfigError(f"{file} has {count} cells, `xling train` takes one: use `xling sweep`, or --set 'grid=[]'")

    from xling.sweep.selection import Selection

    _launch(loaded, Selection(), address, json, with_tune=False)


def status(name: Name, storage: SweepStorage = None, json: Json = False, csv: Csv = False) -> None:
    """Show each cell's state, how far it is, the time it still takes, and why it failed."""
    require_one_format(json, csv)
    from xling.sweep.inspect import show_status

    show_status(_load_named(name, storage, with_data=False), _console(), as_json=json, as_csv=csv)


def logs(name: Name, cell: Annotated[str, typer.Argument(help="Label or id.")], storage: SweepStorage = None) -> None:
    """Show a cell's history: attempts, errors with their tracebacks, the latest metrics."""
    from xling.sweep.inspect import show_logs

    show_logs(_load_named(name, storage, with_data=False), cell, _console())


def stop(name: Name, cell: Annotated[str, typer.Argument(help="Label or id.")], storage: SweepStorage = None) -> None:
    """Ask a running cell to finish its step, save and stop; it stays stopped until resumed with --stopped."""
    from xling.sweep.inspect import stop_cell

    stop_cell(_load_named(name, storage, with_data=False), cell, _console())


def results(name: Name, storage: SweepStorage = None, json: Json = False, csv: Csv = False) -> None:
    """Show the tables of a sweep again."""
    require_one_format(json, csv)
    from xling.sweep.outcome.results import show_results

    show_results(_load_named(name, storage), _console(), as_json=json, as_csv=csv)


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder, SWEEP/CELL, SWEEP (its cells), a preset or a hub id.")],
    dataset: Annotated[list[str], typer.Option(help="Registered data set, NAME or NAME=PATH. Repeatable.")],
    path: Annotated[Optional[str], typer.Option(help="File or folder, where there is one data set.")] = None,  # noqa: UP045
    languages: Annotated[Optional[str], typer.Option(help="Only these, with commas.")] = None,  # noqa: UP045
    pairs: Annotated[Optional[str], typer.Option(help="Only these pairs: ar-en,de-en; query first.")] = None,  # noqa: UP045
    titles: Annotated[Optional[list[str]], typer.Option("--title", help="Only this article. Repeatable.")] = None,  # noqa: UP045
    split: Annotated[Optional[str], typer.Option(help="Split; each set's test split by default.")] = None,  # noqa: UP045
    run_files: Annotated[Optional[Path], typer.Option(help="Folder for TREC run files and qrels.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Folder for the results' files.")] = None,  # noqa: UP045
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="A field of a sweep's evaluation section: index.kind=ivf. Repeatable."),
    ] = None,
    trust_remote_code: Trust = False,
    workers: Annotated[int, typer.Option(min=1, help="Ray tasks at most.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of a task that encodes.")] = 0,
    storage: StorageOption = "runs",
    address: Address = None,
    json: Json = False,
) -> None:
    """Score models on data sets, for every language pair or for those asked for."""
    from xling.config.load import load_evaluation
    from xling.config.schema import DatasetConfig
    from xling.data.selected import languages_of, parse_pairs
    from xling.sweep.models.standalone import evaluate_models

    asked = parse_pairs(pairs) if pairs else ()
    if asked and languages:
        raise ConfigError("--languages and --pairs exclude each other: the pairs name the languages")
    if path is not None and (len(dataset) > 1 or "=" in dataset[0]):
        raise ConfigError("--path belongs to a single --dataset NAME; with several write --dataset NAME=PATH each")
    codes = languages_of(asked) or tuple(code.strip() for code in (languages or "").split(",") if code.strip())
    configs = [
        DatasetConfig(
            dataset=name,
            path=place or path,
            languages=codes or None,
            titles=tuple(titles) if titles else None,
            split=split,
        )
        for name, _, place in (one.partition("=") for one in dataset)
    ]
    evaluate_models(
        model,
        configs,
        asked,
        load_evaluation(set_ or (), **({"run_files": True} if run_files is not None else {})),
        storage,
        _console(),
        address=address,
        workers=workers,
        gpus=gpus,
        run_files=run_files,
        out=out,
        as_json=json,
        trust_remote_code=trust_remote_code,
    )


def ui(
    name: Annotated[Optional[str], typer.Argument(help="A sweep, to open its table at once.")] = None,  # noqa: UP045
    storage: StorageOption = "runs",
    port: Annotated[int, typer.Option(help="Port on this machine; 0 for any free one.")] = 5000,
) -> None:
    """Serve the MLflow UI on what was tracked, until Ctrl-C."""
    from xling.sweep.inspect import open_ui

    open_ui(name, storage, port, _console())


@track.command("sync")
def track_sync(storage: StorageOption = "runs") -> None:
    """Send to MLflow what could not be sent while its server was away."""
    from xling.sweep.tracking import sync_tracking

    raise typer.Exit(sync_tracking(storage, _console()))


app.callback()(options.of_every_command)
# In the order that `xling --help` shows them.
for panel, commands in {
    "Sweeps": (sweep, resume, plan, train, cluster.submit, cluster.attach),
    "While they run": (status, logs, stop, ui),
    "What came out": (results, reporting.report, measured.top, measured.matrix, measured.compare, measured.score),
    "Models": (evaluate, mining.mine, use.export, use.search),
    "What there is": (listing.settings, listing.models, health.doctor),
    "Storage": (upkeep.pull, upkeep.gc),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(data, name="data", rich_help_panel="What there is")
app.add_typer(track, name="track", rich_help_panel="Storage")


def main() -> None:
    """The console script: user errors become one message and exit status 2, Ctrl-C and SIGTERM 130."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    options.print_whatever_can_be()
    for number in (signal.SIGINT, signal.SIGTERM):  # the latter is how Slurm, Kubernetes and Docker end a command
        signal.signal(number, _interrupt)
    try:
        app(prog_name="xling")
    except UserInterrupt:
        typer.echo("Interrupted. The same command goes on from here.", err=True)
        sys.exit(130)
    except (XlingError, OSError) as error:
        if debug or (isinstance(error, OSError) and error.filename is None):  # of no file: a bug of ours
            raise
        text = redacted(str(of_file(error) if isinstance(error, OSError) else error))
        typer.echo(f"error: {text}" if "\n" not in text else f"errors:\n{text}", err=True)
        sys.exit(2)
    finally:
        sys.excepthook = _show_traceback  # typer has put its own there meanwhile


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    typer.echo(redacted("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise UserInterrupt


def _launch(
    loaded: LoadedSweep,
    selection: Selection,
    address: str | None,
    as_json: bool,
    *,
    with_tune: bool = True,
    known: bool = False,
) -> None:
    from xling.sweep.launching.launch import launch
    from xling.sweep.launching.show_outcome import show_outcome
    from xling.sweep.live import display_for

    console = _console()

    def make_display(jobs: Sequence[Job]) -> Display:
        return display_for(console, jobs, as_json=as_json)

    done = launch(loaded, make_display, address=address, selection=selection, with_tune=with_tune, known=known)
    show_outcome(loaded, done, console, as_json=as_json)
    raise typer.Exit(done.exit_status)
