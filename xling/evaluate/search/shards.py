"""Embeddings on storage, a file a block of texts, found again by what was encoded and how.

``embeddings/<model>/<block>.npy`` holds a block's vectors, float32 or float16, [texts, D];
``<block>.json``, written last, its size and checksum, and which texts they were. The model's name
is a digest of its weights, tokenizer, pooling and of how it computes, the block's one of its token
ids: the same texts of another data set, split or sweep are found, whoever encoded them, and a
file damaged or cut is as good as none. Nothing else refers to them: the folder can be deleted at
any time. What a sweep's evaluation does not keep is in a folder that it alone uses, and removes.

Shapes: X texts, D embedding.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from xling.data.fingerprint import fingerprint
from xling.evaluate.encode import Embeddings, FlatTokens
from xling.storage import Storage
from xling.stored_json import DamagedFile

SHARD_TEXTS = 32_768  # another number would orphan what is on storage
SHARDS_VERSION = 1  # raised when the same tokens and weights give other vectors

Stored = NDArray[np.float32] | NDArray[np.float16]


class _About(TypedDict):
    texts: int
    dimension: int
    dtype: str
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Shard:
    """A block's vectors on storage."""

    key: str
    texts: int
    dimension: int
    dtype: str

    @property
    def file_bytes(self) -> int:
        return self.texts * self.dimension * np.dtype(self.dtype).itemsize

    @property
    def float_bytes(self) -> int:
        """Memory of the vectors as they are multiplied."""
        return self.texts * self.dimension * 4


@dataclass(frozen=True, slots=True)
class ShardStore:
    """The shards of one model; small, and sent to tasks as it is."""

    url: str
    dtype: str

    @classmethod
    def of(
        cls,
        storage: Storage,
        weights: str,
        settings: Mapping[str, object],
        dtype: str = "float32",
        owner: str = "",
    ) -> ShardStore:
        """The store of a model below ``embeddings/``.

        Args:
            weights: digest of the model's weights and tokenizer.
            settings: whatever else the vectors' bits depend on.
            dtype: ``float32`` or ``float16``.
            owner: who alone finds what is in it, and may clear it; empty for a store that is shared.
        """
        spelled = json.dumps([SHARDS_VERSION, weights, dict(settings), dtype, *filter(None, [owner])], sort_keys=True)
        return cls(storage.locate(f"embeddings/{fingerprint([spelled])}"), dtype)

    def keys(self) -> set[str]:
        """Names of the shards there; whether they are whole :meth:`find` tells."""
        return {name.removesuffix(".json") for name in Storage(self.url).list() if name.endswith(".json")}

    def find(self, key: str) -> Shard | None:
        """A shard, if it is there whole; its file is read through and compared with its checksum."""
        storage = Storage(self.url)
        about = self._read_about(storage, key)
        if about is None:
            return None
        try:
            data = storage.read(f"{key}.npy")
        except FileNotFoundError:
            return None
        if len(data) != about["size"] or zlib.crc32(data) != about["crc32"]:
            return None
        return Shard(key, about["texts"], about["dimension"], about["dtype"])

    def write(self, key: str, vectors_XD: Embeddings, texts: Mapping[str, object]) -> Shard:
        """Keep a block's vectors. Two writers at once write the same, each in one piece.

        Args:
            texts: which they are, for a reader of the folder.
        """
        storage = Storage(self.url)
        sink = io.BytesIO()
        np.save(sink, np.ascontiguousarray(vectors_XD, self.dtype))
        data = sink.getbuffer()
        shard = Shard(key, len(vectors_XD), vectors_XD.shape[1], self.dtype)
        storage.write(f"{key}.npy", bytes(data))
        about = {"texts": shard.texts, "dimension": shard.dimension, "dtype": shard.dtype}
        storage.write_json(f"{key}.json", {**about, "size": len(data), "crc32": zlib.crc32(data), "of": dict(texts)})
        return shard

    def vectors(self, shard: Shard) -> Embeddings:
        """A shard's vectors as float32: mapped from a local file where that is what it holds, else read."""
        storage = Storage(self.url)
        stored: Stored
        if storage.is_local:
            stored = np.load(storage.locate(f"{shard.key}.npy"), mmap_mode="r", allow_pickle=False)
        else:
            stored = np.load(io.BytesIO(storage.read(f"{shard.key}.npy")), allow_pickle=False)
        return np.asarray(stored, np.float32)

    def clear(self) -> None:
        """Remove all shards and indexes of the model."""
        parent, _, name = self.url.rpartition("/")
        Storage(parent).delete(name)

    def _read_about(self, storage: Storage, key: str) -> _About | None:
        try:
            about: _About = storage.read_json(f"{key}.json", _About)
        except (FileNotFoundError, DamagedFile):
            return None
        return about


def block_key(tokens: FlatTokens) -> str:
    """What a block is found by: a digest of its token ids, hex."""
    return fingerprint([tokens.offsets.tobytes(), tokens.values.tobytes()])
