"""Named model sizes: tiny, mini and mid are built here, small, base and large come from the hub."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TypeVar

from xling.errors import ConfigError

MIN_POSITIONS = 96


@dataclass(frozen=True, slots=True)
class BuiltPreset:
    """A BERT trained from nothing, with a vocabulary learnt from the training text."""

    name: str
    hidden: int
    layers: int
    heads: int

    @property
    def summary(self) -> str:
        return f"built: {self.layers} x {self.hidden} BERT, {self.heads} heads, tokenised from the training text"

    def positions(self, max_tokens: int) -> int:
        """Rows of the position table: 96, or as many as the longest text configured needs."""
        return max(MIN_POSITIONS, max_tokens)

    def parameters(self, *, vocab_size: int = 4000, positions: int = 256) -> int:
        """Number of parameters; the defaults are a full vocabulary and the default text lengths."""
        hidden = self.hidden
        embeddings = (vocab_size + positions + 2) * hidden + 2 * hidden
        attention = 4 * (hidden * hidden + hidden) + 2 * hidden
        feed_forward = 8 * hidden * hidden + 5 * hidden + 2 * hidden
        return embeddings + self.layers * (attention + feed_forward)


@dataclass(frozen=True, slots=True)
class HubPreset:
    """A checkpoint on the Hugging Face hub, fine-tuned as it is."""

    name: str
    hub: str
    about: str
    size: int

    @property
    def summary(self) -> str:
        return f"hub: {self.hub}, {self.about}"

    def parameters(self) -> int:
        """Number of parameters, without the pooler."""
        return self.size


Preset = BuiltPreset | HubPreset
PresetT = TypeVar("PresetT", BuiltPreset, HubPreset)
_presets: dict[str, Preset] = {}


def register(preset: PresetT) -> PresetT:
    """Add a preset; a name can be given once."""
    if preset.name in _presets:
        raise ValueError(f"preset {preset.name!r} is registered already, a name must be given once; choose another")
    _presets[preset.name] = preset
    return preset


def get(name: str) -> Preset:
    """Raises ConfigError, with the nearest name, when there is no such preset."""
    if name not in _presets:
        near = difflib.get_close_matches(name, _presets, n=1, cutoff=0)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"`model.preset` is {name!r}, must be one of {', '.join(_presets)}{hint}")
    return _presets[name]


def names() -> list[str]:
    """All presets, smallest first."""
    return list(_presets)


for _preset in (
    BuiltPreset("tiny", hidden=32, layers=1, heads=2),
    BuiltPreset("mini", hidden=64, layers=2, heads=4),
    BuiltPreset("mid", hidden=128, layers=2, heads=4),
):
    register(_preset)

# Masked language models that have seen no retrieval data: sizes stay comparable and zero-shot claims hold.
for _checkpoint in (
    HubPreset("small", "distilbert/distilbert-base-multilingual-cased", "6 x 768, 104 languages", 134_734_080),
    HubPreset("base", "FacebookAI/xlm-roberta-base", "12 x 768, 100 languages", 277_453_056),
    HubPreset("large", "FacebookAI/xlm-roberta-large", "24 x 1024, 100 languages", 558_840_832),
):
    register(_checkpoint)
