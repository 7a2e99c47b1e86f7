"""Ways a file can be wrong, as a hypothesis strategy over what to do to its bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

# Values that no reader expects where they end up, as they stand in JSON.
HOSTILE = (
    *("null", "true", "-1", "0", "1e999", "-0.0", "NaN", "9" * 25, "1" * 5000, '""', '" "', '"\\ud800"', '"\\u0000"'),
    *(
        "[]",
        "{}",
        "[[]]",
        "[null]",
        '{"": ""}',
        '{"a": {"a": {}}}',
        "[" * 3000 + "]" * 3000,
        '"\ufeff"',
        '"a b"',
        '"-"',
    ),
)
# The same for a column of a table.
HOSTILE_CELLS = (
    "",
    " ",
    "-1",
    "0",
    "2147483648",
    "9" * 25,
    "1.5",
    "١",
    "\x00",
    "\ufeff",
    "a b",
    "Q0",
    "\r",
    '"',
    "é" * 300,
)


@dataclass(frozen=True)
class Damage:
    """One change; ``place`` and ``length`` are shares of what is changed."""

    name: str
    place: float
    length: float
    payload: bytes
    pick: int

    def __call__(self, content: bytes) -> bytes:
        return _CHANGES[self.name](content, self)


def _span(content: bytes, damage: Damage) -> tuple[int, int]:
    start = int(damage.place * len(content))
    return start, min(len(content), start + 1 + int(damage.length * 40))


def _cut(content: bytes, damage: Damage) -> bytes:
    return content[: _span(content, damage)[0]]


def _remove(content: bytes, damage: Damage) -> bytes:
    start, stop = _span(content, damage)
    return content[:start] + content[stop:]


def _repeat(content: bytes, damage: Damage) -> bytes:
    start, stop = _span(content, damage)
    return content[:stop] + content[start:stop] * 3 + content[stop:]


def _insert(content: bytes, damage: Damage) -> bytes:
    start, _ = _span(content, damage)
    return content[:start] + damage.payload + content[start:]


def _overwrite(content: bytes, damage: Damage) -> bytes:
    start, _ = _span(content, damage)
    return content[:start] + damage.payload + content[start + len(damage.payload) :]


def _replace_all(content: bytes, damage: Damage) -> bytes:
    return damage.payload


def _prefix_mark(content: bytes, damage: Damage) -> bytes:
    return b"\xef\xbb\xbf" + content


def _lines(content: bytes, damage: Damage) -> bytes:
    """Repeat, drop, move or empty a line."""
    lines = content.splitlines(keepends=True) or [b""]
    at = int(damage.place * len(lines)) % len(lines)
    changed = {
        0: lines[:at] + [lines[at]] * 2 + lines[at + 1 :],
        1: lines[:at] + lines[at + 1 :],
        2: lines[at:] + lines[:at],
        3: lines[:at] + [b"\n"] + lines[at + 1 :],
        4: lines[:at] + [lines[at].rstrip(b"\n")] + lines[at + 1 :],
    }
    return b"".join(changed[damage.pick % 5])


def _cell(content: bytes, damage: Damage) -> bytes:
    """Another value in, or one more or fewer, column of a table."""
    lines = content.split(b"\n")
    at = int(damage.place * len(lines)) % len(lines)
    cells = lines[at].split(b"\t")
    column = int(damage.length * len(cells)) % len(cells)
    value = HOSTILE_CELLS[damage.pick % len(HOSTILE_CELLS)].encode()
    lines[at] = b"\t".join([*cells[:column], value, *cells[column + 1 + damage.pick % 2 :]])
    return b"\n".join(lines)


def _value(content: bytes, damage: Damage) -> bytes:
    """Another value somewhere in a JSON document or a line of JSON; nothing where it is none."""
    lines = content.split(b"\n")
    at = int(damage.place * len(lines)) % len(lines)
    try:
        document = json.loads(lines[at])
    except (ValueError, RecursionError):
        return content
    places: list[Callable[[Any], None]] = []
    _collect(document, places)
    if not places:
        return content
    mark = "\ue000put it here\ue000"
    places[int(damage.length * len(places)) % len(places)](mark)
    hostile = HOSTILE[damage.pick % len(HOSTILE)]
    text = json.dumps(document, ensure_ascii=False).replace(json.dumps(mark, ensure_ascii=False), hostile)
    lines[at] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _collect(value: Any, places: list[Callable[[Any], None]]) -> None:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        places.append(lambda new, owner=value, key=key: owner.__setitem__(key, new))  # type: ignore[misc]
        _collect(inner, places)


def _key(content: bytes, damage: Damage) -> bytes:
    """Misspell a key, or give it twice."""
    parts = content.split(b'": ')
    if len(parts) < 2:
        return content
    at = int(damage.place * (len(parts) - 1))
    parts[at] += (b"x", b'": 1, "id', b" ", b"\\ud800")[damage.pick % 4]
    return b'": '.join(parts)


def _endings(content: bytes, damage: Damage) -> bytes:
    return content.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b"\x85", b"\x0b")[damage.pick % 5])


def _recode(content: bytes, damage: Damage) -> bytes:
    codec = ("utf-16", "utf-8-sig", "utf-32", "utf-7")[damage.pick % 4]
    return content.decode("utf-8", "replace").encode(codec)


_CHANGES: dict[str, Callable[[bytes, Damage], bytes]] = {
    "value": _value,
    "cell": _cell,
    "cut": _cut,
    "remove": _remove,
    "repeat": _repeat,
    "insert": _insert,
    "overwrite": _overwrite,
    "lines": _lines,
    "key": _key,
    "endings": _endings,
    "mark": _prefix_mark,
    "recode": _recode,
    "replace": _replace_all,
}

damages = st.lists(
    st.builds(
        Damage,
        name=st.sampled_from([*_CHANGES, "value", "value", "cell", "cell"]),
        place=st.floats(0, 1, exclude_max=True, allow_subnormal=False),
        length=st.floats(0, 1, exclude_max=True, allow_subnormal=False),
        payload=st.binary(max_size=40),
        pick=st.integers(0, 99),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, changes: list[Damage], *, inside: bool) -> bytes:
    """The content with the changes made, of a whole gzipped file ``inside`` to what it holds."""
    if inside and content[:2] == b"\x1f\x8b":
        with suppress(EOFError, OSError, zlib.error):  # damaged before
            return gzip.compress(damaged(gzip.decompress(content), changes, inside=False), compresslevel=1, mtime=0)
    for change in changes:
        content = change(content)
    return content
