"""The ``evaluation`` section: how retrieval is scored, and how big a corpus is searched."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from xling import sizes
from xling.config.section import Section, identity


class IndexConfig(Section):
    """A FAISS index over the passages; parameters have FAISS's names, and go with one kind each."""

    kind: Literal["flat", "ivf", "hnsw"] = identity("Exact search, inverted lists, or a navigable small-world graph.")
    nlist: int | None = identity(
        "ivf: lists a segment's passages are clustered into; 4 times the root of their number by default.",
        default=None,
        ge=1,
        le=1_000_000,
    )
    nprobe: int | None = identity("ivf: lists looked through a query; 16 by default.", default=None, ge=1)
    M: int | None = identity("hnsw: links of a passage; 32 by default.", default=None, ge=4, le=256)
    efConstruction: int | None = identity(
        "hnsw: candidates kept while building; 80 by default.", default=None, ge=4, le=10_000
    )
    efSearch: int | None = identity(
        "hnsw: candidates kept while searching, raised to `evaluation.depth` where that is more; 128 by default.",
        default=None,
        ge=1,
        le=100_000,
    )
    segment: int | None = identity(
        "ivf, hnsw: passages one index holds, in whole shards of 32,768; 262,144 by default.",
        default=None,
        ge=1,
    )

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        """Refuse what the kind would ignore."""
        taken = {
            "flat": (),
            "ivf": ("nlist", "nprobe", "segment"),
            "hnsw": ("M", "efConstruction", "efSearch", "segment"),
        }
        given = [name for name in type(self).model_fields if name != "kind" and getattr(self, name) is not None]
        if others := [name for name in given if name not in taken[self.kind]]:
            takes = ", ".join(taken[self.kind]) or "no parameter"
            raise ValueError(f"of kind {self.kind!r} takes {takes}, not {', '.join(others)}; remove that")
        if self.nlist is not None and self.nprobe is not None and self.nprobe > self.nlist:
            raise ValueError(f"has nprobe {self.nprobe}, must be at most nlist, {self.nlist}; lower it")
        return self


class EvaluationConfig(Section):
    """How retrieval is scored.

    A set whose embeddings fit into half of ``memory_budget`` is ranked whole, unless an index is asked for. Any
    other is searched by shards, to ``depth``: passages below that are not found, and add nothing to any measure.
    """

    batch_size: int = Field(64, ge=1, description="Most texts encoded at once.")
    batch_tokens: int = Field(
        4096,
        ge=1,
        description="Most tokens encoded at once, padding included. More suits GPUs, with a larger `batch_size`.",
    )
    run_files: bool = Field(False, description="Also write TREC run files and qrels.")
    run_depth: int = Field(1000, ge=1, description="Passages a query in the run files, as far as they are ranked.")
    index: IndexConfig | None = identity("Search by shards, with this index.", default=None)
    depth: int = identity("Passages a query that a search by shards finds.", default=1000, ge=1, le=100_000)
    memory_budget: str = identity(
        "Memory that embeddings, scores and lists may take at once, all tasks together and beside the libraries' own.",
        default="4GiB",
    )
    embedding_dtype: Literal["float32", "float16"] = identity(
        "How a search by shards keeps embeddings on storage; it computes in float32.", default="float32"
    )
    keep_embeddings: bool = Field(
        False,
        description="Leave embeddings on storage, for other evaluations of the same model and texts that leave theirs; "
        "else they go once a set is scored.",
    )

    @property
    def memory_bytes(self) -> int:
        """The budget in bytes."""
        return sizes.in_bytes(self.memory_budget)

    @field_validator("memory_budget")
    @classmethod
    def _a_size(cls, value: str) -> str:
        return sizes.one_spelling(value, above_0=True)
