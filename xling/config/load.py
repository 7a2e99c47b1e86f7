"""Reading a sweep file: YAML, ``--set``, the schema, the grid, and whatever the caller checks.

All that is wrong is found in one pass and raised as one :class:`~xling.errors.ConfigError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from xling.config import dotted
from xling.config.by_model import refuse_unknown_models
from xling.config.document import Document, read_document
from xling.config.dotted import Parts
from xling.config.early_stopping import refuse_other_scales, tuned_paths
from xling.config.evaluation import EvaluationConfig
from xling.config.findings import Findings
from xling.config.grid import Cell, Grid, MisplacedError, Position, expand, fill, read_grid
from xling.config.messages import about, sentence, show
from xling.config.schema import CellConfig, EarlyStoppingConfig, SweepConfig
from xling.config.secret_values import secrets_in
from xling.errors import ConfigError

Check = Callable[[CellConfig], Iterable[tuple[str, str]]]
"""Says what is wrong with a cell: (dotted path, what to say of it, as in "is 'foo', must be …")."""

MAX_REMOVALS = 6  # deeper than any section

_MADE_UP = {"name": "unknown", "model": {"preset": "unknown"}, "data": {"train": {"dataset": "unknown"}}}
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep file that was read and found right.

    ``config`` holds what is one for the whole sweep (name, storage, tracking, retries), and in
    the swept paths the grid's first values; what is trained is in ``cells`` alone.
    """

    config: SweepConfig
    cells: tuple[Cell, ...]  # in the grid's order, the first axis slowest
    source: Path
    text: str  # the file as it was read, overrides not applied
    overrides: tuple[str, ...]


def load_sweep(
    path: Path, overrides: Sequence[str] = (), checks: Sequence[Check] = (), *, places: bool = True
) -> LoadedSweep:
    """Read a sweep file and expand its grid.

    ``path``, ``mined`` and ``storage`` may hold ``~`` and environment variables, and are relative to the
    current working directory; they are absolute in what is returned.

    Args:
        path: the YAML file.
        overrides: ``train.lr=2e-3`` and the like, applied in this order; values are YAML.
        checks: called with every cell's configuration; what they say joins the same report.
        places: expand paths and ``storage``; else they are left as written, and may hold variables that are not set.

    Raises:
        ConfigError: with every problem, each naming file and line, dotted path, value and rule.
    """
    document = read_document(path)
    for assignment in overrides:
        document.override(assignment, SweepConfig)
    before = len(document.problems)
    grid = read_grid(document)
    tuned = tuned_paths(document, grid, _early_stopping(document), grid_is_whole=len(document.problems) == before)
    refuse_unknown_models(document, grid)
    findings = Findings()
    validated = [
        _validate(document.data, grid, position, checks, findings, places=places) for position in grid.positions()
    ]
    findings.report(document, grid)
    sweeps = [sweep for sweep in validated if sweep is not None]
    cells: list[Cell] = []
    if not document.problems:
        assert len(sweeps) == len(validated), "a cell was refused, and nothing says why"
        configs = [_cell_config(sweep) for sweep in sweeps]
        refuse_other_scales(document, tuned, configs)
        cells = expand(grid, configs, document, tuned)
    if document.problems:
        texts = [problem.text for problem in sorted(document.problems, key=lambda problem: problem.line)]
        raise ConfigError(list(dict.fromkeys(texts)))
    return LoadedSweep(sweeps[0], tuple(cells), path, document.text, tuple(overrides))


def load_evaluation(overrides: Sequence[str], **given: Any) -> EvaluationConfig:
    """The ``evaluation`` section alone, for scoring without a sweep file.

    Args:
        overrides: ``index.kind=ivf`` and the like, without the section's name.
        given: fields set by other means.

    Raises:
        ConfigError: with every problem.
    """
    document = Document("--set", data=dict(given))
    for assignment in overrides:
        document.override(assignment, EvaluationConfig)
    try:
        settings = EvaluationConfig.model_validate(_frozen(document.data), strict=True)
    except ValidationError as refusal:
        for details in refusal.errors(include_url=False):
            document.report(*sentence(details, EvaluationConfig))
    if document.problems:
        raise ConfigError([problem.text for problem in document.problems])
    return settings


def _validate(
    data: dict[str, Any],
    grid: Grid,
    position: Position,
    checks: Sequence[Check],
    findings: Findings,
    *,
    places: bool,
) -> SweepConfig | None:
    """Validate one cell; what is wrong goes to ``findings``. None when the schema refuses it."""
    try:
        raw = fill(data, grid, position)
    except MisplacedError as error:
        findings.add(position, error.parts, str(error))
        return None
    raw.setdefault("storage", SweepConfig.model_fields["storage"].default)
    nowhere: list[Parts] = []
    if places:
        raw = _expand_places(raw, (), position, findings, nowhere)
    for parts, text in secrets_in(raw):
        findings.add(position, parts, about(parts, text))
    raw["grid"] = [{dotted.join(parts): values for parts, values in axis.values.items()} for axis in grid.axes]
    sweep, errors = _try(raw)
    for parts, text in errors:
        findings.add(position, parts, text)
    removed: list[Parts] = []
    checked = sweep if sweep is not None or not checks else _without_errors(raw, errors, removed)
    if checked is not None:
        config = _cell_config(checked)
        for name, text in (said for check in checks for said in check(config)):
            parts = dotted.split(name)
            silent = [path for path in (*removed, *nowhere) if path]
            if not any(dotted.starts_with(parts, path) or dotted.starts_with(path, parts) for path in silent):
                findings.add(position, parts, about(parts, text))
    return sweep


def _try(raw: dict[str, Any]) -> tuple[SweepConfig | None, list[tuple[Parts, str]]]:
    try:
        return SweepConfig.model_validate(_frozen(raw), strict=True), []
    except ValidationError as refusal:
        return None, [sentence(details, SweepConfig) for details in refusal.errors(include_url=False)]


def _without_errors(
    raw: dict[str, Any], errors: Sequence[tuple[Parts, str]], removed: list[Parts]
) -> SweepConfig | None:
    """The sweep with what is wrong left out, so that the rest can be checked in the same pass.

    A value goes first, then, if what remains is still refused, the sections around it; what a
    sweep cannot be without is made up. ``removed`` receives the paths left out: what checks say of
    those means nothing. None when even that is refused.
    """
    for _round in range(MAX_REMOVALS):
        dropped: list[Parts] = []
        for parts, _ in errors:
            if any(dotted.starts_with(parts, section) for section in dropped):
                continue
            path = parts
            while path and (path in removed or not dotted.has_in(raw, path) or isinstance(path[-1], int)):
                path = path[:-1]
            if path:
                dotted.drop(raw, path)
                dropped.append(path)
            removed += [path, parts]
        sweep, errors = _try({**_MADE_UP, **raw})
        if sweep is not None:
            return sweep
    return None


def _early_stopping(document: Document) -> EarlyStoppingConfig | None:
    """The section, on its own: what is wrong with it is said with every cell."""
    with suppress(ValidationError):
        if document.data.get("early_stopping") is not None:
            return EarlyStoppingConfig.model_validate(_frozen(document.data["early_stopping"]), strict=True)
    return None


def _cell_config(sweep: SweepConfig) -> CellConfig:
    fields = {name: getattr(sweep, name) for name in CellConfig.model_fields}
    return CellConfig.model_validate({**fields, "resources": sweep.resources.of(sweep.model)})


def _frozen(value: Any) -> Any:
    """Lists as tuples, which is what the schema's fields are."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _expand_places(value: Any, parts: Parts, position: Position, findings: Findings, nowhere: list[Parts]) -> Any:
    """Make every ``path``, ``mined`` and ``storage`` absolute, with ``~`` and environment variables replaced.

    ``nowhere`` receives the paths of those that name no place, which ``findings`` says: checks look for nothing there.
    """
    if isinstance(value, dict):
        return {key: _expand_places(item, (*parts, key), position, findings, nowhere) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand_places(item, (*parts, n), position, findings, nowhere) for n, item in enumerate(value)]
    if not isinstance(value, str) or not (parts[-1] in ("path", "mined") or parts == ("storage",)):
        return value
    names = [first or second for first, second in _VARIABLE.findall(value)]
    unset = [name for name in names if name not in os.environ]
    for name in unset:
        text = f"is {show(value)}, but the environment variable {name} is not set; set it or write the path out"
        findings.add(position, parts, about(parts, text))
    if not value:
        findings.add(
            position, parts, about(parts, "is empty text, must name a file or folder; remove it for the default")
        )
    if unset or not value:
        nowhere.append(parts)
        return value
    expanded = _VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], value)
    return expanded if "://" in expanded else os.path.abspath(os.path.expanduser(expanded))
