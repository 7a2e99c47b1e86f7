"""What is wrong with a cell's configuration that only the registries know: data sets, their options, presets."""

from __future__ import annotations

from collections.abc import Iterable

from xling.config import presets
from xling.config.schema import CellConfig
from xling.data import registry


def check_registered(config: CellConfig) -> Iterable[tuple[str, str]]:
    """(dotted path, what to say of it), for :func:`xling.config.load.load_sweep`."""
    several = isinstance(config.data.train, tuple)
    for number, entry in enumerate(config.data.training_sets):
        path = f"data.train.{number}" if several else "data.train"
        yield from ((f"{path}.{field}", text) for field, text in registry.problems(entry, "train"))
    for number, scored in enumerate(config.data.evaluate):
        problems = registry.problems(scored, "evaluate")
        yield from ((f"data.evaluate.{number}.{field}", text) for field, text in problems)
    preset = config.model.preset
    if preset is not None and preset not in presets.names():
        yield "model.preset", registry.unknown(preset, presets.names())
