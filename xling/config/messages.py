"""What pydantic finds wrong, said in one house sentence: the path, its value, the rule."""

from __future__ import annotations

from typing import Any, get_args

import annotated_types
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from xling.config import dotted
from xling.config.dotted import Parts, Slot
from xling.config.section import CHOICES
from xling.redaction import redacted

_MUST_BE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text in Unicode",
    "tuple_type": "a list",
}
_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_PREDICATES = ("is ", "needs ", "names ", "has ", "holds ", "must ")


def show(value: Any, limit: int = 60) -> str:
    """A value as the user wrote it, more or less, not too long, and without secrets."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        text = f"[{', '.join(show(item, limit) for item in value)}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {show(item, limit)}" for key, item in value.items()) + "}"
    else:
        text = redacted(repr(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def about(parts: Parts, text: str) -> str:
    """A sentence on a path: joined to what goes on from it ("is 3, must …"), else set off by a colon."""
    if not parts:
        return text
    return f"{dotted.join(parts)} {text}" if text.startswith(_PREDICATES) else f"{dotted.join(parts)}: {text}"


def sentence(error: ErrorDetails, schema: type[BaseModel]) -> tuple[Parts, str]:
    """The path an error belongs to and the sentence that says it."""
    parts: Parts = tuple(part for part in error["loc"] if part not in CHOICES)
    kind, value = error["type"], error["input"]
    slot = dotted.slot_at(schema, parts)
    if kind == "extra_forbidden" or slot is None:
        return parts, dotted.unknown(schema, parts)
    if kind == "missing" and isinstance(parts[-1], int):
        above = dotted.slot_at(schema, parts[:-1])
        count = len(get_args(above.annotation)) if above is not None else 0
        return parts[:-1], about(parts[:-1], f"is {show(value)}, must be a list of {count} values")
    if kind == "too_long":
        return parts, about(parts, f"is {show(value)}, must be a list of {error['ctx']['max_length']} values")
    if kind == "missing":
        meaning = slot.description[:1].lower() + slot.description[1:].rstrip(".")
        return parts, about(parts, f"is missing, must be given: {meaning}")
    if kind == "value_error":
        return parts, about(parts, str(error["ctx"]["error"]))
    return parts, about(parts, f"is {show(value)}, {_rule(kind, value, slot, error)}{_or_null(slot, value)}")


def _rule(kind: str, value: Any, slot: Slot, error: ErrorDetails) -> str:
    if kind in _OUT_OF_RANGE:
        return f"must be {_range(slot)}"
    if kind in ("model_type", "dict_type"):
        keys = ", ".join(slot.section.model_fields) if slot.section is not None else "names"
        return f"must be a section with keys such as {keys}"
    if kind == "literal_error":
        return f"must be one of {str(error['ctx']['expected']).replace(' or ', ', ')}{_or_section(slot)}"
    if kind == "string_pattern_mismatch":
        return slot.rule
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"must be text; put it in quotes: '{show(value)}'"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"must be a whole number; write {value:.0f}"
    if kind == "tuple_type" and not isinstance(value, dict):
        return f"must be a list; write [{'' if value is None else value}]"
    if kind not in _MUST_BE:  # one that none of the fields gives today
        return error["msg"]
    return f"must be {_MUST_BE[kind]}{_or_section(slot)}"


def _or_section(slot: Slot) -> str:
    """What may stand in place of a plain value, where that is so."""
    return f" or a section with keys such as {', '.join(slot.section.model_fields)}" if slot.section is not None else ""


def _or_null(slot: Slot, value: Any) -> str:
    """How none is written, for who wrote it as it is said."""
    return "; write null for none" if slot.takes_null and value in ("none", "None") else ""


def _range(slot: Slot) -> str:
    least = greater = most = less = None
    for constraint in slot.metadata:
        if isinstance(constraint, annotated_types.Ge):
            least = constraint.ge
        elif isinstance(constraint, annotated_types.Gt):
            greater = constraint.gt
        elif isinstance(constraint, annotated_types.Le):
            most = constraint.le
        elif isinstance(constraint, annotated_types.Lt):
            less = constraint.lt
    if least is not None and most is not None:
        return f"within {least}..{most}"
    low = f"at least {least}" if least is not None else f"above {greater}" if greater is not None else ""
    high = f"at most {most}" if most is not None else f"below {less}" if less is not None else ""
    return " and ".join(filter(None, (low, high)))
