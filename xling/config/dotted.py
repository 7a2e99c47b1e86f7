"""Dotted paths such as ``train.lr`` or ``data.evaluate.0.path``: in the schema and in a raw sweep file.

A path is a tuple of *parts*: a name is a key of a section, a number an index into a list.
Below ``grid.<number>`` the rest is one key, itself a dotted path.
"""

from __future__ import annotations

import difflib
import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Parts = tuple[str | int, ...]


def split(text: str) -> Parts:
    """``data.evaluate.0`` as ``("data", "evaluate", 0)``."""
    parts: Parts = tuple(int(part) if part.isascii() and part.isdigit() else part for part in text.split("."))
    if parts[0] == "grid" and len(parts) > 2:
        return (*parts[:2], text.split(".", 2)[2])
    return parts


def join(parts: Parts) -> str:
    return ".".join(map(str, parts))


def starts_with(parts: Parts, start: Parts) -> bool:
    return parts[: len(start)] == start


@dataclass(frozen=True)
class Slot:
    """A place in the schema: what may stand there."""

    annotation: Any
    metadata: tuple[Any, ...] = ()
    description: str = ""
    rule: str = ""  # said in place of a pattern
    tuning: bool = False  # marked so in the schema

    @property
    def section(self) -> type[BaseModel] | None:
        """The section that stands here, or may stand here, if one does."""
        options = _options(self.annotation)
        return next((plain for plain in options if isinstance(plain, type) and issubclass(plain, BaseModel)), None)

    @property
    def takes_null(self) -> bool:
        plain = get_args(self.annotation)[0] if get_origin(self.annotation) is Annotated else self.annotation
        return type(None) in get_args(plain)


def slot_at(model: type[BaseModel], parts: Parts) -> Slot | None:
    """The schema at a path; None when the schema has no such path."""
    slot = Slot(model)
    for part in parts:
        below = _step(slot, part)
        if below is None:
            return None
        slot = below
    return slot


def _step(slot: Slot, part: str | int) -> Slot | None:
    below = (_step_into(plain, part) for plain in _options(slot.annotation))
    return next((found for found in below if found is not None), None)


def _step_into(plain: Any, part: str | int) -> Slot | None:
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        field = plain.model_fields.get(str(part))
        return None if field is None else _field_slot(field)
    arguments = get_args(plain)
    if get_origin(plain) is dict:
        return Slot(arguments[1])
    if get_origin(plain) is not tuple or not isinstance(part, int):
        return None
    if arguments[-1] is Ellipsis:
        return _element_slot(arguments[0])
    return _element_slot(arguments[part]) if part < len(arguments) else None


def _field_slot(field: FieldInfo) -> Slot:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    rule, tuning = str(extra.get("rule", "")), bool(extra.get("tuning"))
    constraints = (*field.metadata, *_constraints_of_choices(field.annotation))
    return Slot(field.annotation, constraints, field.description or "", rule, tuning)


def _element_slot(annotation: Any) -> Slot:
    if get_origin(annotation) is not Annotated:
        return Slot(annotation)
    plain, *marks = get_args(annotation)
    fields = (mark.metadata if isinstance(mark, FieldInfo) else [mark] for mark in marks)
    return Slot(plain, tuple(constraint for constraints in fields for constraint in constraints))


def _constraints_of_choices(annotation: Any) -> tuple[Any, ...]:
    """Where a number or a section may stand, the number's range."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return ()
    return tuple(found for option in get_args(annotation) for found in _element_slot(option).metadata)


def _options(annotation: Any) -> list[Any]:
    """What may stand at a place, null aside: several where a section may also be a list of such."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    return [plain for option in get_args(annotation) if option is not type(None) for plain in _options(option)]


def known_paths(model: type[BaseModel], start: Parts = ()) -> list[str]:
    """Every dotted path of a schema, sections and values, lists of sections under index 0."""
    found = []
    for name, field in model.model_fields.items():
        here: Parts = (*start, name)
        found.append(join(here))
        slot = _field_slot(field)
        element = None if slot.section else _step(slot, 0)
        if slot.section is not None:
            found += known_paths(slot.section, here)
        elif element is not None and element.section is not None:
            found += known_paths(element.section, (*here, 0))
    return found


def nearest(model: type[BaseModel], parts: Parts) -> str | None:
    """The valid dotted path most like a wrong one: misspelt in its section, or of another section."""
    depth = next(depth for depth in range(1, len(parts) + 1) if slot_at(model, parts[:depth]) is None)
    above = slot_at(model, parts[: depth - 1])
    if above is not None and above.section is None and depth > 1:  # below a plain value, or a list without its index
        listed: Parts = (*parts[: depth - 1], 0, *parts[depth - 1 :])
        return join(listed if slot_at(model, listed) is not None else parts[: depth - 1])
    siblings = list(above.section.model_fields) if above is not None and above.section is not None else []
    close = difflib.get_close_matches(str(parts[depth - 1]), siblings, n=1)
    if close:
        mended = (*parts[: depth - 1], close[0], *parts[depth:])
        return join(mended if slot_at(model, mended) is not None else mended[:depth])
    known = {path: path.rpartition(".")[2] for path in sorted(known_paths(model), key=len)}
    alike = difflib.get_close_matches(str(parts[-1]), set(known.values()), n=1, cutoff=0.7)
    return next((path for path, last in known.items() if [last] == alike), None)


def unknown(model: type[BaseModel], parts: Parts) -> str:
    """What to say of a path that the schema does not have."""
    text = f"{join(parts)} is not a known setting"
    if re.search("accum", str(parts[-1])):
        return (
            f"{text}: gradient accumulation would leave each query only the negatives of its own part of the batch; "
            "keep train.batch_size as it is, and set train.chunk_size, which holds that many texts' activations at once"
        )
    suggestion = nearest(model, parts)
    if suggestion is not None:
        return f"{text}; did you mean {suggestion}?"
    above = slot_at(model, parts[:-1])
    if above is not None and above.section is not None:
        return f"{text}; {join(parts[:-1]) or 'a sweep'} has {', '.join(above.section.model_fields)}"
    return text


def set_in(data: dict[str, Any], parts: Parts, value: Any) -> None:
    """Put a value at a path of a raw file, making the sections on the way.

    Raises:
        ValueError: something on the way holds neither a section nor a list, a section is given a number, or a list is
            too short.
    """
    here: Any = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        empty: Any = [] if not last and isinstance(parts[depth + 1], int) else {}
        if isinstance(here, list) and isinstance(part, int):
            if part > len(here):
                raise ValueError(
                    f"{join(parts[:depth])} has {len(here)} entries, there is no {join(parts[: depth + 1])}"
                )
            here.extend([None] * (part + 1 - len(here)))
        elif not isinstance(here, dict):
            kind = "list" if isinstance(part, int) else "section"
            raise ValueError(f"{join(parts[:depth])} is {here!r}, not a {kind}, so {join(parts)} cannot be set")
        elif isinstance(part, int):
            without = join((*parts[:depth], *parts[depth + 1 :]))
            raise ValueError(f"{join(parts[:depth])} is one section, not a list: write {without} for {join(parts)}")
        if last:
            here[part] = value
        elif (here.get(part) if isinstance(here, dict) else here[part]) is None:
            here[part] = empty
        here = here[part]


def has_in(data: Any, parts: Parts) -> bool:
    """Whether a raw file gives anything at a path."""
    for part in parts:
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if not in_list and not (isinstance(data, dict) and part in data):
            return False
        data = data[part]
    return True


def drop(data: dict[str, Any], parts: Parts) -> None:
    """Take what is given at a path out of a raw file; entries of lists stay, as their number is their name."""
    above: Any = data
    for part in parts[:-1]:
        above = above[part]
    if isinstance(above, dict):
        del above[parts[-1]]
