"""What is asked about: a sweep's needs as far as the checks know them, and what each node is told of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xling.config import presets
from xling.config.load import LoadedSweep
from xling.config.schema import CellConfig, ModelConfig, SweepConfig
from xling.data import registry
from xling.sizes import in_bytes
from xling.storage import HIDDEN, Storage
from xling.sweep.doctor.checks import CALLER
from xling.sweep.placing.packing import DRIVER_BYTES, Node
from xling.sweep.settings import TrialSettings
from xling.track.store import default_store, resolve_uri, sqlite_path

HubModel = tuple[str, str]  # id and revision


@dataclass(frozen=True)
class Subject:
    """A sweep, or a storage alone, or nothing but machines; on this machine or on a cluster."""

    on_cluster: bool = False
    quick: bool = False
    storage: str | None = None  # URL
    tracking: str | None = None  # URI
    floor: int = in_bytes(SweepConfig.model_fields["min_free_space"].default)
    workers: tuple[tuple[float, float], ...] = ()  # CPUs and GPUs of a worker, of each kind of cell
    hub_models: tuple[HubModel, ...] = ()
    model_folders: tuple[str, ...] = ()
    hub_data: tuple[str, ...] = ()  # data sets whose files come from the hub
    marks: str = field(default_factory=lambda: f"{HIDDEN}doctor-{secrets.token_hex(8)}")  # a folder of the storage

    @property
    def places(self) -> dict[str, str]:
        """Folders that must be one and the same on all nodes, by what lies there."""
        found = {"storage": self.storage} if self.storage is not None else {}
        database = sqlite_path(self.tracking) if self.tracking is not None else None
        if database is not None and not (self.storage and database.is_relative_to(self.storage)):
            found["tracking"] = str(database.parent)
        return found

    def trains_on(self, node: Node) -> bool:
        """Whether a worker of some cell fits on a node."""
        return any(node.cpus >= cpus and node.gpus >= gpus for cpus, gpus in self.workers)

    def drives_on(self, node: Node) -> bool:
        """Whether a trial's driver fits on a node: it logs to MLflow, and reads the weights of a baseline."""
        return not self.on_cluster or node.memory >= DRIVER_BYTES

    def order_for(self, node: Node, nodes: Iterable[Node]) -> dict[str, Any]:
        """What the probes on a node are told; plain values."""
        is_caller = node.name == CALLER  # which tokenises, and opens the sweep's own run
        drives = is_caller or self.drives_on(node)
        loads = drives or self.trains_on(node)
        return {
            "node": node.name,
            "nodes": [other.name for other in nodes],
            "quick": self.quick,
            "places": self.places,
            "marks": self.marks,
            "tracking": self.tracking if drives else None,
            "hub_models": list(self.hub_models) if loads else [],
            "model_folders": list(self.model_folders) if loads else [],
            "hub_data": list(self.hub_data) if is_caller or not self.on_cluster else [],
            "gpus": node.gpus,
        }


def of_sweep(loaded: LoadedSweep, *, on_cluster: bool) -> Subject:
    """Raises TrackingError as :func:`xling.track.store.resolve_uri` and ``default_store``."""
    config = loaded.config
    configs = [cell.config for cell in loaded.cells]
    needs = {(cell.resources.cpus_per_worker, cell.resources.gpus_per_worker) for cell in configs}
    models = [cell.model for cell in configs]
    return Subject(
        on_cluster=on_cluster,
        storage=Storage(config.storage).url,
        tracking=resolve_uri(config.tracking.uri) if config.tracking.uri else default_store(config.storage)[0],
        floor=config.min_free_bytes,
        workers=tuple(sorted(needs)),
        hub_models=tuple(sorted({found for model in models if (found := hub_model(model))})),
        model_folders=tuple(sorted({str(Path(model.path).expanduser()) for model in models if model.path})),
        hub_data=tuple(sorted({name for cell in configs for name in _hub_data(cell)})),
    )


def of_launch(settings: TrialSettings) -> Subject:
    """What the quick part looks at."""
    return Subject(
        on_cluster=True,
        quick=True,
        storage=settings.storage,
        tracking=settings.tracking_uri,
        floor=settings.min_free,
    )


def hub_model(model: ModelConfig) -> HubModel | None:
    """The id and revision of the weights that a model starts from, where they come from the hub."""
    if model.init == "random" or model.path is not None:
        return None
    preset = presets.find(model.preset)
    if isinstance(preset, presets.BuiltPreset):
        return None
    return (preset.hub if preset is not None else str(model.hub)), model.revision or "main"


def _hub_data(cell: CellConfig) -> Iterable[str]:
    for entry in (*cell.data.training_sets, *cell.data.evaluate):
        if entry.path is None and registry.get(entry.dataset).path_optional:
            yield entry.dataset
