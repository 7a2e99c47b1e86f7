"""Named models: tiny, mini and mid are built here, the others are checkpoints of the Hugging Face hub.

What is said of a checkpoint was read from its published configuration; the architecture stands here
whole, so that it can be built without the hub.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from xling.errors import ConfigError

Pooling = Literal["mean", "cls"]

MIN_POSITIONS = 96
BUILT_VOCABULARY = 4_000
RANDOM_VOCABULARY = 32_000  # of a hub preset's or a folder's architecture with fresh weights


@dataclass(frozen=True, slots=True)
class Architecture:
    """An encoder's shape; ``dense`` is the width of a Dense module (with tanh) behind its pooling."""

    kind: Literal["bert", "xlm-roberta"]
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab_size: int
    max_tokens: int = 512
    dense: int | None = None

    def config(self) -> dict[str, Any]:
        """What ``config.json`` says of it; the values of XLM-R and BERT that differ from transformers' defaults too."""
        shape = {
            "model_type": self.kind,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self._positions,
            "type_vocab_size": self._types,
        }
        if self.kind == "xlm-roberta":
            return {**shape, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-5}
        return {**shape, "pad_token_id": 0, "layer_norm_eps": 1e-12}

    @property
    def embedding_parameters(self) -> int:
        """Numbers in the tables of tokens, positions and segments."""
        return (self.vocab_size + self._positions + self._types) * self.hidden

    @property
    def parameters(self) -> int:
        """All of them, without the pooler, which is never used."""
        width, inner = self.hidden, self.intermediate
        attention = 4 * (width * width + width) + 2 * width
        feed_forward = 2 * width * inner + inner + width + 2 * width
        dense = 0 if self.dense is None else (width + 1) * self.dense
        return self.embedding_parameters + 2 * width + self.layers * (attention + feed_forward) + dense

    @property
    def _positions(self) -> int:
        return self.max_tokens + 2 * (self.kind == "xlm-roberta")  # RoBERTa's kind counts from behind the padding id

    @property
    def _types(self) -> int:
        return 1 if self.kind == "xlm-roberta" else 2


@dataclass(frozen=True, slots=True)
class Recommended:
    """A peak learning rate and a batch to begin with, as published. Not measured here."""

    lr: float
    batch_size: int
    source: str


@dataclass(frozen=True, slots=True)
class BuiltPreset:
    """A BERT trained from nothing, with a vocabulary learnt from the training text."""

    name: str
    hidden: int
    layers: int
    heads: int
    recommended: Recommended

    @property
    def summary(self) -> str:
        return f"built: {self.layers} x {self.hidden} BERT, {self.heads} heads, tokenised from the training text"

    def positions(self, max_tokens: int) -> int:
        """Rows of the position table: 96, or as many as the longest text configured needs."""
        return max(MIN_POSITIONS, max_tokens)

    def architecture(self, *, vocab_size: int = BUILT_VOCABULARY, positions: int = 256) -> Architecture:
        """The defaults are a full vocabulary and the default text lengths."""
        return Architecture("bert", self.hidden, self.layers, self.heads, 4 * self.hidden, vocab_size, positions)

    def parameters(self, *, vocab_size: int = BUILT_VOCABULARY, positions: int = 256) -> int:
        """Number of parameters."""
        return self.architecture(vocab_size=vocab_size, positions=positions).parameters


@dataclass(frozen=True, slots=True)
class HubPreset:
    """A checkpoint on the Hugging Face hub, with the pooling and prefixes it was published with."""

    name: str
    hub: str
    licence: str
    about: str
    shape: Architecture
    recommended: Recommended
    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""

    @property
    def summary(self) -> str:
        return f"hub: {self.hub}, {self.shape.layers} x {self.shape.hidden}, {self.about}"

    def parameters(self) -> int:
        """Number of parameters, without the pooler."""
        return self.shape.parameters


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


def find(name: str | None) -> Preset | None:
    """The preset of that name, or None."""
    return _presets.get(name or "")


def of_hub(hub_id: str) -> HubPreset | None:
    """The preset whose checkpoint has that id on the hub, or None."""
    return next((one for one in _presets.values() if isinstance(one, HubPreset) and one.hub == hub_id), None)


def names() -> list[str]:
    """All presets: the built ones, encoders that have seen no retrieval data, those that have; smallest first."""
    return list(_presets)


_ON_GEO = "docs/geo_study.md, chosen on dev"
for _built in (
    BuiltPreset("tiny", hidden=32, layers=1, heads=2, recommended=Recommended(3e-3, 64, _ON_GEO)),
    BuiltPreset("mini", hidden=64, layers=2, heads=4, recommended=Recommended(1.5e-3, 64, _ON_GEO)),
    BuiltPreset("mid", hidden=128, layers=2, heads=4, recommended=Recommended(1.5e-3, 64, _ON_GEO)),
):
    register(_built)

_MINILM = Architecture("bert", 384, 12, 12, 1536, 250_037)  # BERT's layers behind XLM-R's tokenizer
_BASE = Architecture("xlm-roberta", 768, 12, 12, 3072, 250_002)
_LARGE = Architecture("xlm-roberta", 1024, 24, 16, 4096, 250_002)
_LABSE = Architecture("bert", 768, 12, 12, 3072, 501_153, dense=768)

_HYBRID = "arXiv 2408.10536"
_MLM = "a language model of 100 languages"


def _e5(size: str, shape: Architecture, lr: float) -> HubPreset:
    return HubPreset(
        f"e5-{size}",
        f"intfloat/multilingual-e5-{size}",
        "MIT",
        "retrieval in 94 languages",
        shape,
        Recommended(lr, 512, "arXiv 2402.05672"),
        query_prefix="query: ",
        passage_prefix="passage: ",
    )


# small, base and large have seen no retrieval data: sizes stay comparable and zero-shot claims hold.
for _checkpoint in (
    HubPreset(
        "small",
        "microsoft/Multilingual-MiniLM-L12-H384",
        "MIT",
        f"{_MLM}, distilled from base",
        _MINILM,
        Recommended(5e-5, 100, f"{_HYBRID}'s batch; small encoders take larger rates"),
    ),
    HubPreset("base", "FacebookAI/xlm-roberta-base", "MIT", _MLM, _BASE, Recommended(3e-5, 100, _HYBRID)),
    HubPreset(
        "large",
        "FacebookAI/xlm-roberta-large",
        "MIT",
        _MLM,
        _LARGE,
        Recommended(1e-5, 100, f"{_HYBRID}'s batch; large encoders take smaller rates"),
    ),
    HubPreset(
        "labse",
        "sentence-transformers/LaBSE",
        "Apache-2.0",
        "translation pairs in 109 languages",
        _LABSE,
        Recommended(3e-5, 100, _HYBRID),
        pooling="cls",
    ),
    _e5("small", _MINILM, 3e-5),
    _e5("base", _BASE, 2e-5),
    _e5("large", _LARGE, 1e-5),
):
    register(_checkpoint)
