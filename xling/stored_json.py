"""JSON that xling has written, read back: a file that was cut or changed is named, or passed over aloud."""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

from xling.errors import DataError

_FIX = "bring it back from a copy, or delete it and launch the sweep again, which makes again what is missing"


class DamagedFile(DataError):
    """A file of xling's own was cut or changed. ``what``: which, and how one sees it; ``fix``: what mends it."""

    def __init__(self, what: str, fix: str = _FIX) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


def parsed(data: bytes | str, place: str) -> Any:
    """What a file says. Raises DamagedFile when it is no JSON. Args: place: the file's name."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        what = f"is no JSON ({error})" if data.strip() else "is empty"
        raise DamagedFile(f"{place} {what}: it was cut or changed") from error


def pass_over(error: DamagedFile, so: str) -> None:
    """Say, once in a process, that a file is as good as none. Args: so: what follows from it."""
    _tell_once(f"warning: {error.what}; {so}")


@cache
def _tell_once(text: str) -> None:
    """On standard error, beside what may be for programs."""
    print(text, file=sys.stderr, flush=True)
