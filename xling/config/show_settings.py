"""``xling settings``: all of them, those of a section, or those that a word finds."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.padding import Padding

from xling.config import dotted
from xling.config.schema import SweepConfig
from xling.config.settings import Setting, editor_schema, settings
from xling.errors import ConfigError

_ABOUT = """\
--set and the grid take these paths. "Trained anew": another value is another cell; what says nothing can be changed
without training again. Data sets and model folders count by their content."""


def show_settings(wanted: str | None, console: Console, *, as_json: bool) -> None:
    """Print them; with ``wanted`` only what it names, or else those with it in their path or meaning.

    Raises:
        ConfigError: there are none.
    """
    shown = settings() if wanted is None else _found(wanted)
    if as_json:
        console.print_json(json.dumps([asdict(one) for one in shown]))
        return
    for one in shown:
        console.print(f"{one.path}: {_given(one)}".rstrip(": "), soft_wrap=True)
        console.print(Padding(_told(one), (0, 0, 0, 4)))
    console.print(f"\n{_ABOUT}", soft_wrap=True)


def print_editor_schema(console: Console) -> None:
    """Print the JSON Schema of a sweep file."""
    console.print_json(json.dumps(editor_schema()))


def _found(wanted: str) -> list[Setting]:
    every, sought = settings(), wanted.strip().rstrip(".").casefold()
    named = [one for one in every if f".{sought}." in f".{one.path.casefold()}."]
    found = named or [one for one in every if sought in f"{one.path} {one.meaning}".casefold()]
    if not found:
        raise ConfigError(f"{dotted.unknown(SweepConfig, dotted.split(wanted))}; `xling settings` lists all")
    return found


def _given(one: Setting) -> str:
    return "(must be given)" if one.default is None else one.default


def _told(one: Setting) -> str:
    marks = [one.values]
    if one.anew and one.values != "section":
        marks.append("trained anew" if one.anew == "training" else "scored anew")
    if one.tuning:
        marks.append("tuning")
    return f"{one.meaning} [{'; '.join(marks)}]"
