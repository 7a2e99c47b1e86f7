"""All settings of a sweep file, taken from the schema: a list to read, and a JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from xling.config.schema import SweepConfig

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
_RANGES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
# What pydantic says to itself, or the schema says to us: nothing that an editor would know.
_NOT_FOR_EDITORS = frozenset({"identity", "identity_default", "tuning", "counts", "rule", "title"})

Node = dict[str, Any]  # of a JSON Schema


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a sweep file."""

    path: str  # as ``--set`` and the grid name it; 0 is any entry of a list, NAME any key
    values: str  # what may stand there, in words
    default: str | None  # as a file would spell it; None where it must be given
    meaning: str
    anew: Literal["training", "scores", ""]  # what another value makes anew
    tuning: bool  # an axis over it alone is a tuning axis


def settings() -> list[Setting]:
    """All that a file may hold, in the schema's order; a section stands before what is in it."""
    schema = SweepConfig.model_json_schema()
    return list(_inside(schema, schema["$defs"], (), counts=True))


def _inside(section: Node, definitions: dict[str, Node], start: tuple[str, ...], *, counts: bool) -> Iterator[Setting]:
    """The settings of a section. ``counts``: what is marked in it is part of a cell's identity."""
    for name, node in section["properties"].items():
        path, marked = (*start, name), bool(node.get("identity"))
        forms = [_resolved(form, definitions) for form in node.get("oneOf", node.get("anyOf", [node]))]
        sections = [found for form in forms for found in _sections(form, definitions)]
        scores = path[0] == "evaluation"  # not part of what is trained, though its fields are marked
        yield Setting(
            path=".".join(path),
            values=" or ".join(filter(None, (_words(form, definitions) for form in forms))),
            default=None if name in section.get("required", ()) else _default(node, forms[0]),
            meaning=node.get("description") or forms[0]["description"],
            anew="training"
            if node.get("counts")
            else ""
            if not (counts and marked)
            else "scores"
            if scores
            else "training",
            tuning=bool(node.get("tuning")),
        )
        for below, found in sections[:1]:  # a list of several is of the same section as a single one
            yield from _inside(found, definitions, (*path, *below), counts=counts and (marked or scores))


def _resolved(node: Node, definitions: dict[str, Node]) -> Node:
    return definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _sections(form: Node, definitions: dict[str, Node]) -> Iterator[tuple[tuple[str, ...], Node]]:
    """The section that a value of this form is, or holds several of, and what paths name those by."""
    if "properties" in form:
        yield (), form
    for keyword, below in (("items", ("0",)), ("additionalProperties", ("NAME",))):
        if isinstance(form.get(keyword), dict) and "$ref" in form[keyword]:
            yield below, _resolved(form[keyword], definitions)


def _words(form: Node, definitions: dict[str, Node]) -> str:
    """What a value of this form is; empty for none, which a default says."""
    if "enum" in form or "const" in form:
        *some, last = map(str, form.get("enum", [form.get("const")]))
        return f"{', '.join(some)} or {last}" if some else last
    kind = form.get("type")
    if kind == "array":
        entries = form.get("prefixItems", [form["items"]] if "items" in form else [])
        each = _words(_resolved(entries[0], definitions), definitions)
        number = f" of {len(entries)}" if "prefixItems" in form else ""
        return f"list{number}" + (f", each {each}" if each else "")
    if kind == "object":
        within = form.get("additionalProperties")
        return f"section NAME: {_words(_resolved(within, definitions), definitions)}" if within else "section"
    return " ".join(filter(None, (_PLAIN.get(kind or "", ""), _range(form))))


def _range(form: Node) -> str:
    if "minimum" in form and "maximum" in form:
        return f"from {form['minimum']} to {form['maximum']}"
    return " and ".join(text.format(form[keyword]) for keyword, text in _RANGES.items() if keyword in form)


def _default(node: Node, form: Node) -> str:
    """A default as a file would spell it; of a section only what is not each field's own default."""
    value = node.get("default")
    if isinstance(value, dict):
        own = {name: field.get("default") for name, field in form.get("properties", {}).items()}
        value = {name: given for name, given in value.items() if name not in own or own[name] != given}
        return "{" + ", ".join(f"{name}: {json.dumps(given)}" for name, given in value.items()) + "}" if value else ""
    return value if isinstance(value, str) and value else json.dumps(value)


def editor_schema() -> Node:
    """The JSON Schema that editors complete and check a sweep file by.

    The grid may give what is missing elsewhere, so that nothing but a sweep's name must stand in its place. What only
    xling can tell (a path that the grid names wrongly, fields that exclude each other) is left to it.
    """
    schema = _plain(SweepConfig.model_json_schema())
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("required", None)
    schema["required"] = ["name"]
    axes = {one.path: {"type": "array", "description": one.meaning} for one in settings() if one.path != "grid"}
    schema["properties"]["grid"]["items"]["properties"] = axes
    return {"$schema": _DRAFT, "title": "A sweep of xling", **schema}


def _plain(node: Any) -> Any:
    """Without marks; names of fields, which may be called like one, stay."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _plain(field) for name, field in inner.items()} if key in ("properties", "$defs") else _plain(inner)
        for key, inner in node.items()
        if key not in _NOT_FOR_EDITORS
    }
