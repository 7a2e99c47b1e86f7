"""The ``model`` section: which encoder, and how texts are given to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from xling.config import presets
from xling.config.section import MAX_SEED, Section, identity


class WarmStartConfig(Section):
    """Training on the data set's parallel names before fine-tuning, shared by all cells of a size."""

    steps: int = identity("Steps of the warm start.", default=300, ge=1)
    batch_size: int = identity("Names a batch, in random language pairs.", default=128, ge=2)
    lr: float = identity("Peak learning rate of the warm start.", default=3e-3, gt=0)
    seed: int = identity("Seed of its weights and batches, shared by all cells.", default=0, ge=0, le=MAX_SEED)


class ModelConfig(Section):
    """The encoder: exactly one of ``preset``, ``path`` and ``hub``.

    Prefixes that are not given are the preset's. A value that is given but equals what the preset says anyway
    makes no difference to a cell's identity.
    """

    preset: str | None = identity("A named model (`xling models` lists them).", default=None)
    path: str | None = Field(None, description="Folder of a Hugging Face or sentence-transformers model.")
    hub: str | None = identity("Id of a model on the Hugging Face hub.", default=None)
    revision: str | None = Field(None, description="Commit, tag or branch on the hub; resolved to a commit.")
    trust_remote_code: bool = Field(
        False, description="Run the modelling code that comes with a path's or hub's model."
    )
    init: Literal["pretrained", "random"] = identity(
        "Where weights come from: random takes a hub preset's or a path's architecture alone, its weights a function "
        "of the seed, its tokenizer learnt from the training text.",
        default="pretrained",
    )
    layers: int | None = identity("Keep only the first so many layers; all by default.", default=None, ge=1)
    vocab_size: int | None = identity(
        "Most entries of a vocabulary that is learnt: 4,000 for built presets, 32,000 with init: random by default.",
        default=None,
        ge=100,
        le=500_000,
    )
    pooling: Literal["mean", "cls"] | None = identity(
        "How token vectors become one; the preset's or the folder's own by default.", default=None
    )
    query_prefix: str = identity("Text put before every query; the preset's own by default.", default="")
    passage_prefix: str = identity("Text put before every passage; the preset's own by default.", default="")
    max_query_tokens: int = identity("Longer queries are cut and counted.", default=96, ge=4, le=8192)
    max_passage_tokens: int = identity("Longer passages are cut and counted.", default=256, ge=4, le=8192)
    dropout: float | None = identity("Dropout probability; the model's own by default.", default=None, ge=0, lt=1)
    warm_start: WarmStartConfig | None = identity("Warm start on parallel names; none by default.", default=None)

    @model_validator(mode="before")
    @classmethod
    def _presets_own(cls, data: Any) -> Any:
        """Put in the preset's prefixes, take out what is given but equals what would hold without."""
        if not isinstance(data, dict):
            return data
        preset = presets.find(name) if isinstance(name := data.get("preset"), str) else None
        data = dict(data)
        if isinstance(preset, presets.HubPreset):
            data.setdefault("query_prefix", preset.query_prefix)
            data.setdefault("passage_prefix", preset.passage_prefix)
            if data.get("pooling") == preset.pooling:
                data["pooling"] = None
            if data.get("layers") == preset.shape.layers:
                data["layers"] = None
        is_built = isinstance(preset, presets.BuiltPreset)
        if data.get("vocab_size") == (presets.BUILT_VOCABULARY if is_built else presets.RANDOM_VOCABULARY):
            data["vocab_size"] = None
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("preset", "path", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise ValueError(f"needs exactly one of preset, path and hub, found {found}")
        for problem in self._conflicts(given[0]):
            raise ValueError(problem)
        return self

    def _conflicts(self, source: str) -> Iterator[str]:
        preset = presets.find(self.preset)
        is_built = isinstance(preset, presets.BuiltPreset)
        on_hub = self.init == "pretrained" and (self.hub is not None or isinstance(preset, presets.HubPreset))
        if self.init == "random" and is_built:
            yield f"init is 'random', which preset {self.preset!r} always is: it is built from nothing; remove it"
        if self.init == "random" and self.hub is not None:
            yield "init is 'random' with a hub model, must be with a preset or a path: the hub is not asked for it"
        if self.revision is not None and not on_hub:
            yield "revision needs hub or a preset on the hub, and its weights: only hub models have revisions"
        if self.trust_remote_code and source == "preset":
            yield "trust_remote_code needs path or hub: presets come without code of their own"
        if self.vocab_size is not None and not self.learns_tokenizer:
            yield "vocab_size needs a tokenizer that is learnt: a built preset, or init: random"
        if self.layers is not None and preset is not None:
            own = preset.layers if isinstance(preset, presets.BuiltPreset) else preset.shape.layers
            if self.layers > own:
                yield f"layers is {self.layers}, must be within 1..{own}, the layers of preset {self.preset!r}"

    @property
    def learns_tokenizer(self) -> bool:
        """Whether the tokenizer is learnt from the training text, with at most ``learnt_vocabulary`` entries."""
        return self.init == "random" or isinstance(presets.find(self.preset), presets.BuiltPreset)

    @property
    def learnt_vocabulary(self) -> int:
        default = presets.RANDOM_VOCABULARY if self.init == "random" else presets.BUILT_VOCABULARY
        return self.vocab_size or default

    @property
    def architecture(self) -> presets.Architecture | None:
        """A preset's shape as this section makes it, with a full vocabulary; None for a path or a hub model."""
        preset = presets.find(self.preset)
        if preset is None:
            return None
        if isinstance(preset, presets.BuiltPreset):
            longest = max(self.max_query_tokens, self.max_passage_tokens)
            shape = preset.architecture(positions=preset.positions(longest))
        else:
            shape = preset.shape
        vocabulary = self.learnt_vocabulary if self.learns_tokenizer else shape.vocab_size
        return replace(shape, layers=self.layers or shape.layers, vocab_size=vocabulary)
