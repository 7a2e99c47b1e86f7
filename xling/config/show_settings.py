"""``xling settings``: all of them, those of a section, or those that a word finds."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from rich.console import Console
from rich.padding import Padding

from xling.config import dotted
from xling.config.schema import SweepConfig
from xling.config.settings import Setting, editor_schema, settings
from xling.errors import ConfigError

_ABOUT = """\
--set and the grid take these paths. "Trained anew": another value is another cell; what says nothing can be changed
without training again. Data sets and model folders count by their content, as `languages` or `limit` choose it."""


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
    """Those of a path, or with it within theirs; else those with all the words in path, meaning or values."""
    every, words = settings(), re.split(r"[\s._-]+", wanted.strip().casefold())
    sought = [part for part in re.sub(r"[\s-]+", "_", wanted.strip().casefold()).split(".") if part]
    named = [one for one in every if _names(one, sought)]
    found = named or [one for one in every if all(word in _text(one) for word in words)]
    parts = dotted.split(wanted)
    if not found and dotted.slot_at(SweepConfig, parts) is not None:  # an entry of a plain list
        return _found(dotted.join(parts[:-1]))
    if not found:
        raise ConfigError(f"{dotted.unknown(SweepConfig, parts)}; `xling settings` lists all")
    return found


def _names(one: Setting, sought: list[str]) -> bool:
    """Whether these parts stand in a row in a setting's path: NAME is any, but not the first, and numbers are none."""
    sought = [part for part in sought if not part.isdigit()]
    parts = [part.casefold() if part != "NAME" else part for part in one.path.split(".") if part != "0"]
    return bool(sought) and any(
        parts[at] == sought[0] and all(a in ("NAME", b) for a, b in zip(parts[at:], sought, strict=False))
        for at in range(len(parts) - len(sought) + 1)
    )


def _text(one: Setting) -> str:
    return re.sub(r"[_.-]", " ", f"{one.path} {one.meaning} {one.values}").casefold()


def _given(one: Setting) -> str:
    return "(must be given)" if one.default is None else one.default


def _told(one: Setting) -> str:
    marks = [one.values]
    if one.anew and one.values != "section":
        marks.append("trained anew" if one.anew == "training" else "scored anew")
    if one.tuning:
        marks.append("tuning")
    return f"{one.meaning} [{'; '.join(marks)}]"
