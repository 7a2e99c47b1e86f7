"""Sizes in bytes as the sweep file writes them, 4GiB or 0.5GiB, and as they are told: 4 GiB."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]iB)", re.ASCII)
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def one_spelling(value: str, *, above_0: bool = False) -> str:
    """A size as it is kept, however it was written.

    Raises:
        ValueError: it is none; the message is value and rule.
    """
    match = _SIZE.fullmatch(value)
    if not match or (above_0 and float(match[1]) == 0):
        rule = "a size above 0" if above_0 else "a size"
        raise ValueError(f"is {value!r}, must be {rule} in KiB, MiB, GiB or TiB, as in 4GiB or 0.5GiB")
    return f"{float(match[1]):g}{match[2]}"


def in_bytes(size: str) -> int:
    """Bytes of a size that :func:`one_spelling` took."""
    number, unit = _SIZE.fullmatch(size).groups()  # type: ignore[union-attr]
    return int(float(number) * 1024 ** (_UNITS.index(unit) + 1))


def size_text(count: float) -> str:
    """Bytes as people read them: ``1.2 GiB``, ``512 MiB``, ``12 B``."""
    for unit in ("B", *_UNITS):
        if round(count, 1) < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    number = f"{count:,.0f}" if unit == "B" else f"{count:,.1f}".removesuffix(".0")
    return f"{number} {unit}"
