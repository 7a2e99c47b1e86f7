"""Approximate search: a FAISS index a segment of some shards, built once and kept beside them.

``embeddings/<model>/index-<digest>.faiss`` and, written last, ``.json`` with its size and checksum.
An index holds the vectors themselves, so the scores it gives are inner products, not estimates.

Shapes: Q queries, N passages of a segment, D embedding, K depth.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from typing_extensions import TypedDict

from xling.config.evaluation import IndexConfig
from xling.data.fingerprint import fingerprint
from xling.data.token_table import crc32_of
from xling.evaluate.ranks import Scores
from xling.evaluate.search.shards import SHARD_TEXTS, Shard, ShardStore
from xling.evaluate.search.topk import Keys, in_order, keys_of
from xling.storage import Storage
from xling.stored_json import DamagedFile

SEGMENT = 262_144
NPROBE = 16
LINKS = 32
EF_CONSTRUCTION = 80
EF_SEARCH = 128
_PASSAGES_A_LIST = 39  # what FAISS wants at least to place a list's centre
_SAMPLE_A_LIST = 64  # passages that centres are learnt from


class _File(TypedDict):
    """What speaks for an index's file."""

    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """An index's parameters with every default filled in, by FAISS's names."""

    kind: str
    values: dict[str, int]

    @classmethod
    def of(cls, index: IndexConfig, passages: int, depth: int) -> Parameters:
        """Args: passages: of the segment; an inverted list is wanted for 39 of them at most."""
        if index.kind == "ivf":
            most = max(1, passages // _PASSAGES_A_LIST)
            nlist = min(index.nlist or round(4 * math.sqrt(passages)), most)
            return cls("ivf", {"nlist": nlist, "nprobe": min(index.nprobe or NPROBE, nlist)})
        assert index.kind == "hnsw", index.kind
        values = {
            "M": index.M or LINKS,
            "efConstruction": index.efConstruction or EF_CONSTRUCTION,
            "efSearch": max(index.efSearch or EF_SEARCH, depth),
        }
        return cls("hnsw", values)

    @property
    def built(self) -> dict[str, int]:
        """Those that the index is built with."""
        return {name: value for name, value in self.values.items() if name not in ("nprobe", "efSearch")}


def segment_shards(index: IndexConfig) -> int:
    """Shards that one index holds."""
    return max(1, (index.segment or SEGMENT) // SHARD_TEXTS)


def index_bytes(index: IndexConfig, passages: int, dimension: int) -> int:
    """Memory that building an index takes, one shard as it is read included."""
    parameters = Parameters.of(index, passages, 1).values
    vectors = passages * dimension * 4
    shard = min(passages, SHARD_TEXTS) * dimension * 4
    if index.kind == "ivf":
        sample = min(passages, _SAMPLE_A_LIST * parameters["nlist"]) * dimension * 4
        # Lists grow by doubling, so they hold up to twice what is in them.
        return 2 * vectors + 16 * passages + sample + shard
    return 2 * vectors + passages * (2 * parameters["M"] + parameters["M"]) * 4 + shard


def search_index(
    threads: int,
    store: ShardStore,
    index: IndexConfig,
    shards: Sequence[Shard],
    first: int,
    queries_QD: Scores,
    depth: int,
    floor_Q: None = None,
) -> Keys:
    """The best passages that a segment's index finds, best first; key 0 where it found fewer.

    Args:
        first: place of the segment's first passage.
        floor_Q: an index looks up what it looks up; here so that all searches are called alike.
    """
    faiss.omp_set_num_threads(threads)
    passages = sum(shard.texts for shard in shards)
    parameters = Parameters.of(index, passages, depth)
    found = _open(store, parameters, shards)
    if parameters.kind == "ivf":
        found.nprobe = parameters.values["nprobe"]
    else:
        found.hnsw.efSearch = parameters.values["efSearch"]
    scores_QK, rows_QK = found.search(np.ascontiguousarray(queries_QD), min(depth, passages))
    nothing_QK = rows_QK < 0
    keys_QK = keys_of(np.where(nothing_QK, np.float32(0), scores_QK), np.where(nothing_QK, 0, rows_QK + first))
    keys_QK[nothing_QK] = 0
    return in_order(keys_QK)


def _open(store: ShardStore, parameters: Parameters, shards: Sequence[Shard]) -> Any:
    storage = Storage(store.url)
    spelled = json.dumps([parameters.kind, parameters.built], sort_keys=True)
    name = f"index-{fingerprint([spelled, *(shard.key for shard in shards)])}"
    try:
        about: _File = storage.read_json(f"{name}.json", _File)
        with storage.local_copy(f"{name}.faiss") as file:
            if file.stat().st_size == about["size"] and crc32_of(file) == about["crc32"]:
                return faiss.read_index(str(file))
    except (FileNotFoundError, DamagedFile):
        pass  # none there, or the file that speaks for it is damaged: it is built
    found = _build(store, parameters, shards)
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        file = Path(scratch) / name
        faiss.write_index(found, str(file))
        storage.put(file, f"{name}.faiss")
        storage.write_json(f"{name}.json", {"size": file.stat().st_size, "crc32": crc32_of(file)})
    return found


def _build(store: ShardStore, parameters: Parameters, shards: Sequence[Shard]) -> Any:
    values, dimension = parameters.values, shards[0].dimension
    name = f"HNSW{values['M']},Flat" if parameters.kind == "hnsw" else f"IVF{values['nlist']},Flat"
    index: Any = faiss.index_factory(dimension, name, faiss.METRIC_INNER_PRODUCT)
    if parameters.kind == "hnsw":
        index.hnsw.efConstruction = values["efConstruction"]
    else:
        index.train(_sample(store, shards, values["nlist"] * _SAMPLE_A_LIST))
    for shard in shards:
        index.add(np.ascontiguousarray(store.vectors(shard)))
    return index


def _sample(store: ShardStore, shards: Sequence[Shard], count: int) -> Scores:
    """About ``count`` passages at even distances, all when there are fewer."""
    step = max(1, sum(shard.texts for shard in shards) // count)
    return np.concatenate([store.vectors(shard)[::step] for shard in shards])
