"""JSON that xling has written, read back: a file that was cut or changed is named, or passed over aloud.

What a reader takes out of a file it says as a *shape*: a TypedDict, or a dataclass, which is then made. Keys beside
those pass, so that what a newer version writes still reads.
"""

from __future__ import annotations

import json
import sys
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from xling.errors import DataError
from xling.redaction import redacted

_FIX = "bring it back from a copy, or delete it and launch the sweep again, which makes again what is missing"
_SHOWN = 60  # characters of a wrong value


class DamagedFile(DataError):
    """A file of xling's own was cut or changed. ``what``: which, and how one sees it; ``fix``: what mends it."""

    def __init__(self, what: str, fix: str = _FIX) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


def parsed(data: bytes | str, place: str, shape: Any = Any) -> Any:
    """What a file says. Raises DamagedFile when it is no JSON, or not of the shape. Args: place: the file's name."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = f"is no JSON ({error})" if data.strip() else "is empty"
        raise DamagedFile(f"{place} {what}: it was cut or changed") from error
    return shaped(value, shape, place)


def shaped(value: Any, shape: Any, place: str) -> Any:
    """A file's value as it is, where it has the shape; of a dataclass an instance. Raises DamagedFile."""
    try:
        if is_dataclass(shape):
            return checker(shape).validate_python(value)
        checker(shape).validate_python(value, strict=True)
    except ValidationError as error:
        raise DamagedFile(f"{place} {_wrong(error)}: it was cut or changed, or another version wrote it") from error
    return value


def checker(shape: Any) -> TypeAdapter[Any]:
    """What holds values against a shape; made once, it takes a microsecond a file."""
    return _made(shape)


@cache
def _made(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _wrong(error: ValidationError) -> str:
    """The first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"has no {where}"
    value = redacted(repr(first["input"]))
    value = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    rule = first["msg"].replace("Input should", "must", 1).removeprefix("Value error, ")
    return f"has {value} as {where} ({rule})" if where else f"holds {value} ({rule})"


def pass_over(error: DamagedFile, so: str) -> None:
    """Say, once in a process, that a file is as good as none. Args: so: what follows from it."""
    _tell_once(f"warning: {error.what}; {so}")


@cache
def _tell_once(text: str) -> None:
    """On standard error, beside what may be for programs."""
    print(text, file=sys.stderr, flush=True)
