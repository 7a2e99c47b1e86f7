"""A sweep file as it is written: YAML with the line of every value, and ``--set`` over it.

The YAML is read by version 1.2's rules: ``2e-3`` is a number, ``no`` is the Norwegian language
and not false, ``010`` is ten. A key given twice is an error.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from xling.config import dotted
from xling.config.dotted import Parts
from xling.errors import ConfigError

MAX_VALUES = 100_000  # aliases can make a small file expand without end
OVERRIDDEN = 0  # the "line" of what came by --set

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"null|Null|NULL|~|")


class _Loader(yaml.SafeLoader):
    """Plain values get their type by :func:`_plain_value`; only the merge key is left to PyYAML."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and type
        "<": [(f"{_TAG}merge", re.compile("<<$"))]
    }


@dataclass(frozen=True)
class Problem:
    """Something wrong, with the place it stands at."""

    line: int
    text: str


@dataclass
class Document:
    """A raw sweep file: mappings, lists and plain values, and where each stands."""

    name: str
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Parts, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, parts: Parts) -> int | None:
        """The line of a value or, where it is not given, of the section it belongs to; None: the file."""
        for end in range(len(parts), 0, -1):
            if parts[:end] in self.lines:
                return self.lines[parts[:end]]
        return None

    def report(self, parts: Parts, text: str) -> None:
        """Note a problem with the value at a path."""
        line = self.line(parts)
        place = "--set" if line == OVERRIDDEN else self.name if line is None else f"{self.name}:{line}"
        self.problems.append(Problem(line or 0, f"{place}: {text}"))

    def override(self, assignment: str, schema: type[BaseModel]) -> None:
        """Apply one ``path=value`` of ``--set``; the value is YAML and replaces what stood there."""
        path, equals, text = assignment.partition("=")
        parts = dotted.split(path.strip())
        if not equals or not path.strip():
            self._refuse(f"{assignment!r} is not path=value, as in train.lr=2e-3")
        elif dotted.slot_at(schema, parts) is None:
            self._refuse(dotted.unknown(schema, parts))
        else:
            try:
                dotted.set_in(self.data, parts, parse_value(text))
            except ValueError as error:
                self._refuse(str(error))
                return
            self.lines = {known: line for known, line in self.lines.items() if not dotted.starts_with(known, parts)}
            self.lines[parts] = OVERRIDDEN

    def _refuse(self, text: str) -> None:
        self.problems.append(Problem(OVERRIDDEN, f"--set: {text}"))


def read_document(path: Path) -> Document:
    """Read a sweep file.

    Returns:
        The document; smaller mistakes, such as repeated keys, are in its ``problems``.

    Raises:
        ConfigError: there is no such file, or it is not a YAML mapping.
    """
    document = Document(str(path))
    try:
        document.text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file{_similar_files(path)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8; a sweep is a YAML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        data = _build(document.text, document)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(str(path), error)) from None
    except yaml.reader.ReaderError:
        raise ConfigError(f"{path}: is not a text file: it holds control characters; a sweep is a YAML file") from None
    if data is None and document.problems:
        raise ConfigError([problem.text for problem in document.problems])
    if data is None:
        raise ConfigError(f"{path}: is empty; a sweep needs at least name, data and model")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: holds no settings such as 'name: demo'; a sweep is a YAML mapping")
    document.data = data
    return document


def parse_value(text: str) -> Any:
    """A single YAML value, as ``--set`` takes it. Raises ValueError when it is none."""
    scratch = Document("--set")
    try:
        value = _build(text, scratch)
    except (yaml.YAMLError, ConfigError) as error:
        reason = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)
        raise ValueError(f"{text!r} is not a YAML value: {reason}") from None
    if scratch.problems:
        raise ValueError(f"{text!r} is not a YAML value: {scratch.problems[0].text}")
    return value


def _build(text: str, document: Document) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _Builder(loader, document).build(node, ())
    except RecursionError:
        raise ConfigError(f"{document.name}: is nested too deeply to be a sweep") from None
    finally:
        loader.dispose()


class _Builder:
    """Turns YAML nodes into plain values, noting the line of each."""

    def __init__(self, loader: _Loader, document: Document) -> None:
        self.loader, self.document = loader, document
        self.open: list[yaml.Node] = []  # the nodes being built, from the root down
        self.count = 0
        self.flat: set[int] = set()  # ids of mappings whose merge keys are resolved already

    def build(self, node: yaml.Node, parts: Parts) -> Any:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(parts, line)
        self.count += 1
        if node in self.open or self.count > MAX_VALUES:
            raise ConfigError(f"{self.document.name}:{line}: an alias makes the file expand without end")
        self.open.append(node)
        value: Any
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            value = self._mapping(node, parts)
        elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            value = [self.build(item, (*parts, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str":
            value = _plain_value(node.value) if node.style is None else node.value
        else:
            value = None
            self.document.report(parts, f"has the tag {node.tag.replace(_TAG, '!!')}; a sweep is YAML without tags")
        self.open.pop()
        return value

    def _mapping(self, node: yaml.MappingNode, parts: Parts) -> dict[str, Any]:
        if id(node) not in self.flat:
            self.flat.add(id(node))
            self._report_repeats(node, parts)
            self.loader.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.document.report(parts, "has a list or mapping as a key; a key is a name")
                continue
            here: Parts = (*parts, key.value)
            self.document.lines[here] = key.start_mark.line + 1
            mapping[key.value] = self.build(value, here)
        return mapping

    def _report_repeats(self, node: yaml.MappingNode, parts: Parts) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                path = dotted.join((*parts, key.value))
                self.document.lines[(*parts, key.value)] = line
                self.document.report((*parts, key.value), f"{path} is given twice, first in line {seen[key.value]}")
            elif isinstance(key, yaml.ScalarNode):
                seen[key.value] = line


def _plain_value(text: str) -> str | int | float | bool | None:
    """A plain (unquoted) scalar by YAML 1.2's core schema; ``1e6`` is a whole number."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    exponent_only = "." not in text and math.isfinite(number) and number.is_integer() and abs(number) < 2**53
    return int(number) if exponent_only else number


def _syntax(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{name}:{mark.line + 1}: is not YAML at column {mark.column + 1}" if mark else f"{name}: is not YAML"
    reason = error.problem or "it cannot be read"
    if "\\t" in reason:
        reason += "; indent with spaces"
    elif "mapping values are not allowed" in reason:
        reason += "; put text that holds ': ' in quotes"
    return f"{place}: {reason}"


def _similar_files(path: Path) -> str:
    """The file whose name is most alike: beside it, or in ``sweeps/``, where a study is often named without its end."""
    for folder in (path.parent, path.parent / "sweeps"):
        names = [file.name for file in folder.glob("*") if file.suffix in (".yaml", ".yml")]
        close = difflib.get_close_matches(path.name, names, n=1)
        if close:
            return f"; did you mean {folder / close[0]}?"
    return ""
