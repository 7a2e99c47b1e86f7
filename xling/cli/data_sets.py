"""The subcommands of ``xling data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from xling.cli.options import Json, console
from xling.errors import ConfigError

data = typer.Typer(help="Which data sets there are, and what is in yours.", no_args_is_help=True)


@data.command("list")
def list_(json: Json = False) -> None:
    """List the data sets."""
    from xling.sweep.data_check import list_sets

    list_sets(console(), as_json=json)


@data.command()
def show(name: Annotated[str, typer.Argument(help="A data set.")], json: Json = False) -> None:
    """Show one data set: its files, licence, languages, options, and how to write it in a sweep file."""
    from xling.sweep.data_check import show_set

    show_set(name, console(), as_json=json)


@data.command()
def check(
    spec: Annotated[str, typer.Argument(help="A sweep file, or a data set, NAME or NAME=PATH, and options.")],
    path: Annotated[Optional[str], typer.Option(help="Its file or folder.")] = None,  # noqa: UP045 - typer reads it
    languages: Annotated[Optional[str], typer.Option(help="Only these, with commas.")] = None,  # noqa: UP045
    titles: Annotated[Optional[list[str]], typer.Option("--title", help="Only this article. Repeatable.")] = None,  # noqa: UP045
    split: Annotated[Optional[str], typer.Option(help="The split to score, in place of training data.")] = None,  # noqa: UP045
    limit: Annotated[Optional[int], typer.Option(min=1, help="At most so many items.")] = None,  # noqa: UP045
    bad_rows: Annotated[str, typer.Option(help="stop at a wrong row, or skip and count.")] = "stop",
    model: Annotated[Optional[str], typer.Option(help="Preset, folder or hub id, to count tokens.")] = None,  # noqa: UP045
    rows: Annotated[int, typer.Option(min=0, help="Rows shown of each set.")] = 3,
    json: Json = False,
) -> None:
    """Load data as a sweep would: counts, lengths, overlaps of training and evaluation, rows left out."""
    from xling.sweep.data_check import check_set, check_sweep

    if spec.endswith((".yaml", ".yml")):
        own = {"bad-rows": bad_rows != "stop"}
        refuse_options(path=path, languages=languages, title=titles, split=split, limit=limit, model=model, **own)
        from xling.config.load import load_sweep
        from xling.sweep.registered import check_registered

        check_sweep(load_sweep(Path(spec), (), [check_registered]), console(), rows=rows, as_json=json)
        return
    if bad_rows not in ("stop", "skip"):
        raise ConfigError(f"--bad-rows is {bad_rows!r}, must be stop or skip")
    from xling.config.schema import DatasetConfig
    from xling.data import registry

    name, _, place = spec.partition("=")
    if place and path:
        raise ConfigError(f"--path {path} and the path in {spec} exclude each other; give one")
    if name not in registry.names() and Path(spec).exists():
        raise ConfigError(
            f"{spec} is no sweep file (.yaml), must be that or a data set with its path, such as parallel-jsonl={spec} "
            f"or pairs={spec}"
        )
    config = DatasetConfig(
        dataset=name,
        path=place or path,
        languages=tuple(code.strip() for code in languages.split(",")) if languages else None,
        titles=tuple(titles) if titles else None,
        split=split,
        limit=limit,
        bad_rows="skip" if bad_rows == "skip" else "stop",
    )
    check_set(config, model, console(), rows=rows, as_json=json)


def refuse_options(**given: object) -> None:
    """A sweep file says all that itself."""
    wrong = [f"--{name}" for name, value in given.items() if value]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} goes with a data set's name, a sweep file gives that itself; remove it")
