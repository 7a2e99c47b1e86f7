"""The ``resources`` section: what a trial needs of the cluster, for all models or for some of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from xling import sizes
from xling.config.encoder import ModelConfig
from xling.config.section import Section

# As Ray takes them: docs.ray.io, "Use labels to control scheduling".
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL_NAME = re.compile(rf"(?:[a-z0-9.-]+/)?{_LABEL}")
_LABEL_VALUE = re.compile(rf"(!?){_LABEL}|(!?)in\({_LABEL}(?:, ?{_LABEL})*\)")


def _memory(size: str | None) -> str | None:
    return None if size is None else sizes.one_spelling(size, above_0=True)


def _gpus(share: float | None) -> float | None:
    if share is not None and share > 1 and share % 1:
        raise ValueError(f"is {share:g}, must be whole above 1: Ray gives shares of one GPU, or whole ones")
    return share


def _labels(labels: dict[str, str] | None) -> dict[str, str] | None:
    for name, value in (labels or {}).items():
        if _LABEL_NAME.fullmatch(name) is None:
            raise ValueError(f"has the name {name!r}, must be a label as in accelerator or ray.io/accelerator-type")
        if _LABEL_VALUE.fullmatch(value) is None:
            raise ValueError(f"has {name}: {value!r}, must be a value, or as '!A100', 'in(A100, H100)', '!in(T4)'")
    return labels


def accepts(selectors: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a node of these labels is what the selectors ask for, as Ray reads them.

    A node without a label has no value that ``!`` could exclude.
    """
    for name, selector in selectors.items():
        values = {value.strip() for value in selector.removeprefix("!").removeprefix("in(").rstrip(")").split(",")}
        if (labels.get(name) in values) == selector.startswith("!"):
            return False
    return True


Memory = Annotated[str | None, AfterValidator(_memory)]
Gpus = Annotated[float | None, AfterValidator(_gpus)]
Labels = Annotated[dict[str, str] | None, AfterValidator(_labels)]


class ModelResources(Section):
    """What trials of one model need; what is left out is as for all models."""

    workers: int | None = Field(None, ge=1, description="Ray Train workers a trial.")
    cpus_per_worker: int | None = Field(None, ge=1, description="CPU cores a worker.")
    gpus_per_worker: Gpus = Field(None, ge=0, description="GPUs a worker: a share of one, or whole ones.")
    memory_per_worker: Memory = Field(None, description="Memory that a worker holds on its node, as in 4GiB.")
    labels: Labels = Field(None, description="Labels that a worker's node must have, in place of those for all models.")


class ResourcesConfig(Section):
    """What one trial needs of the cluster."""

    workers: int = Field(1, ge=1, description="Ray Train workers a trial.")
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores a worker.")
    gpus_per_worker: Annotated[float, AfterValidator(_gpus)] = Field(
        0, ge=0, description="GPUs a worker: a share of one, or whole ones."
    )
    memory_per_worker: Memory = Field(
        None, description="Memory that a worker holds on its node, as in 4GiB; not counted by default."
    )
    labels: Annotated[dict[str, str], AfterValidator(_labels)] = Field(
        {}, description="Labels that a worker's node must have, as in {ray.io/accelerator-type: A100}."
    )
    by_model: dict[str, ModelResources] = Field(
        {}, description="The same for some models: by preset, hub id or folder, as the grid or a label names them."
    )
    autoscaling: bool = Field(
        False, description="The cluster adds nodes: what fits on none that is there waits for one, and asks for it."
    )
    max_concurrent: int | None = Field(None, ge=1, description="Trials at once; what fits by default.")
    hang_timeout: float = Field(
        600,
        gt=0,
        description="Seconds of silence after which a trial's workers are ended, to go on from the last checkpoint.",
    )

    @property
    def memory_bytes(self) -> int:
        """Memory of a worker; 0 where it is not counted."""
        return 0 if self.memory_per_worker is None else sizes.in_bytes(self.memory_per_worker)

    def of(self, model: ModelConfig) -> ResourcesConfig:
        """What a trial of this model needs, said once."""
        own = self.by_model.get(self._key(model) or "")
        given = {} if own is None else {name: value for name, value in own if value is not None}
        return self.model_copy(update={**given, "by_model": {}})

    def where(self, model: ModelConfig, field: str) -> str:
        """The path that says a field for this model."""
        key = self._key(model)
        own = key is not None and getattr(self.by_model[key], field) is not None
        return f"resources.by_model.{key}.{field}" if own else f"resources.{field}"

    def _key(self, model: ModelConfig) -> str | None:
        source = {"preset": model.preset, "hub": model.hub, "path": model.path}
        return next((name for name in names_of(source) if name in self.by_model), None)


def names_of(model: dict[str, Any]) -> Iterator[str]:
    """The names by which ``by_model`` knows a ``model`` section, the whole one first."""
    for kind in ("preset", "hub", "path"):
        if isinstance(name := model.get(kind), str):
            yield name
            if kind != "preset":
                yield PurePosixPath(name).name
