"""The units of work of a sweep: its cells, the warm starts they begin from, and their baselines.

A *baseline* is a cell of zero steps: the scores of the weights that a size starts from. A *warm
start* is trained once and shared; it lies beside the sweeps, ``<storage>/warm/<id>``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal, cast

from xling.config.grid import Cell, alpha_of, size_of
from xling.config.schema import CellConfig
from xling.stored_json import checker

Kind = Literal["warm", "baseline", "cell"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One retrieval set to score, below ``eval/<id>`` of a cell."""

    id: str
    dataset: str  # its name in tables and metrics
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work on the cluster; what a driver needs to know, as JSON."""

    kind: Kind
    id: str
    label: str
    size: str
    alpha: float  # of a schedule, its mean over the budget
    config: CellConfig
    training: str  # fingerprint of the training set, or of its names for a warm start
    texts: str  # fingerprint of the training set without mined negatives: a built preset's tokenizer goes by it
    weights: str  # digest of the weights before any training of ours
    dev: str = ""  # fingerprint of the dev set
    warm: str | None = None  # id of the warm start it begins from
    evaluations: tuple[Evaluation, ...] = ()
    variant: str = ""  # what else the grid varies, beside size, alpha and seed, as its label says it
    axes: dict[str, object] = field(default_factory=dict)
    group: str = ""  # of the cells that early stopping compares it with; empty without
    schedule: str = ""  # of alpha, as tables spell it; empty where it is constant

    @property
    def row_size(self) -> str:
        """Its size as rows of tables have it: with what else the grid varies."""
        return f"{self.size} {self.variant}".rstrip()

    @property
    def start(self) -> tuple[str, str | None, str]:
        """The weights before training, by what tells them apart in a sweep; tokenizers are learnt from texts."""
        return self.size, self.warm, self.texts

    def folder(self, sweep: str) -> str:
        """Where its files are, below the storage's root."""
        return f"warm/{self.id}" if self.kind == "warm" else f"{sweep}/cells/{self.id}"

    def to_json(self) -> str:
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("config", "evaluations")}
        values["config"] = self.config.model_dump(mode="json")
        values["evaluations"] = [[e.id, e.dataset, e.fingerprint] for e in self.evaluations]
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        entries = [dict(zip(Evaluation.__slots__, entry, strict=False)) for entry in values["evaluations"]]
        return cast(Job, checker(cls).validate_python({**values, "evaluations": entries}))


def variant_of(cell: Cell) -> str:
    """What its label says beside size, alpha and seed."""
    usual = {size_of(cell), f"a{cell.config.mix.schedule or format(alpha_of(cell), 'g')}", f"s{cell.config.seed}"}
    return " ".join(part for part in cell.label.split("/") if part not in usual)
