"""What there is to choose from: model presets, and the settings of a sweep file."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from xling.cli.options import Json, console
from xling.errors import ConfigError


def models(
    name: Annotated[Optional[str], typer.Argument(help="A preset, to show it whole.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """List the model presets: where they come from, their sizes, prefixes, and rates to begin with."""
    from xling.model.listing import list_models, show_model

    if name is None:
        list_models(console(), as_json=json)
    else:
        show_model(name, console(), as_json=json)


def settings(
    wanted: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it
        typer.Argument(metavar="PATH or word", help="Only those below a path, as train, or that a word finds."),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="A JSON Schema instead, by which editors complete and check sweep files.")
    ] = False,
    json: Json = False,
) -> None:
    """List the settings of a sweep file: what may stand there, defaults, what another value trains anew."""
    from xling.config.show_settings import print_editor_schema, show_settings

    if schema and (json or wanted is not None):
        raise ConfigError("--schema is of all settings and JSON already: give it alone")
    if schema:
        print_editor_schema(console())
    else:
        show_settings(wanted, console(), as_json=json)
