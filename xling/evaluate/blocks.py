"""Texts to shards on storage: a block at a time, in whatever process has room.

A block whose shard is there whole is not encoded again, so an evaluation that was killed goes on
where it was, and one of the same model on the same texts encodes nothing. Shards are looked for
first, without a GPU. A task that has one is handed a run of blocks, since its process, and the
model in it, are its own.

Shapes: X texts, D embedding.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import ray

from xling.data.token_table import TokenSlice
from xling.errors import CheckpointError
from xling.evaluate.encode import Embeddings, FlatTokens, TextTokens, encode
from xling.evaluate.search.place import Call, Place, set_threads
from xling.evaluate.search.shards import SHARD_TEXTS, Shard, ShardStore, block_key
from xling.storage import Storage

if TYPE_CHECKING:
    from xling.model.source import LoadedModel

Role = Literal["queries", "passages"]
Load = Callable[[], "LoadedModel"]
Tell = Callable[[int, int, float | None], None]  # texts done, texts in all, seconds left

# Of a run of blocks at most: they travel with its task, 128 MiB, and keep a GPU busy for much longer than a process
# takes to start. 16 blocks of texts of 64 tokens.
RUN_TOKENS = 1 << 25


@dataclass(frozen=True, slots=True)
class Block:
    """Texts that make one shard: those from ``start`` to ``stop`` of a role and language."""

    role: Role
    language: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Batches:
    """The most texts, and the most tokens with padding, that are encoded at once."""

    texts: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of a block. ``broken`` is the first text whose vector is not finite; there is no shard then."""

    shard: Shard | None
    broken: int | None
    is_new: bool


def cut_blocks(role: Role, language: str, texts: int) -> list[Block]:
    """The blocks of a language, in order."""
    starts = range(0, texts, SHARD_TEXTS)
    return [Block(role, language, start, min(start + SHARD_TEXTS, texts)) for start in starts]


def _texts(tokens: TextTokens, block: Block) -> Sequence[Any]:
    """Those of the block's role and language."""
    return (tokens.queries if block.role == "queries" else tokens.passages)[block.language]


def block_tokens(tokens: TextTokens, block: Block) -> FlatTokens:
    """The token ids of a block's texts; only these are read of a table on storage."""
    texts = _texts(tokens, block)
    if isinstance(texts, TokenSlice):
        return FlatTokens(*texts.flat(block.start, block.stop))
    return FlatTokens.of(texts[block.start : block.stop])


def token_total(tokens: TextTokens) -> int:
    """Tokens of all texts."""
    return sum(_count(texts) for texts in (*tokens.queries.values(), *tokens.passages.values()))


def _count(texts: Sequence[Any], start: int = 0, stop: int | None = None) -> int:
    """Tokens of texts ``start`` to ``stop``."""
    if isinstance(texts, TokenSlice):
        return int(texts.lengths[start:stop].sum())
    return sum(map(len, texts[start:stop]))


def encode_blocks(
    place: Place,
    store: ShardStore,
    load: Load,
    tokens: TextTokens,
    blocks: Sequence[Block],
    *,
    batches: Batches,
    width: int,
    broken: Callable[[Block, int], None],
    tell: Tell,
) -> list[Shard]:
    """The shards of the blocks, those that are missing encoded.

    Args:
        load: gives the model, in the process of a task, which calls it once a block that it encodes.
        width: tasks at once.
        broken: raises what is to be said of a text (its number in the language) whose vector is not finite.
        tell: called as blocks are done.
    """
    clock = _Clock(sum(block.stop - block.start for block in blocks))
    shards: dict[int, Shard] = {}
    for number, shard in _find(place, store, tokens, blocks, width):
        shards[number] = shard
        tell(*clock.after(blocks[number], is_new=False))
    missing = [number for number in range(len(blocks)) if number not in shards]
    runs = _cut_runs(missing, tokens, blocks, width) if place.gpus else [[number] for number in missing]

    def calls() -> Iterator[Call]:
        for run in runs:
            texts = [(block_tokens(tokens, blocks[number]), asdict(blocks[number])) for number in run]
            yield store, load, place.threads, batches, texts

    for at, of_run in place.run(encode_run, calls(), width, on_gpu=True):
        for number, done in zip(runs[at], of_run, strict=False):
            if done.shard is None:
                broken(blocks[number], blocks[number].start + done.broken)
            shards[number] = done.shard
            tell(*clock.after(blocks[number], done.is_new))
    return [shards[number] for number in range(len(blocks))]


def _find(
    place: Place, store: ShardStore, tokens: TextTokens, blocks: Sequence[Block], width: int
) -> Iterator[tuple[int, Shard]]:
    """The blocks that are on storage whole; of those with a name there, tasks read the files through."""
    names = store.keys()
    keys = ((number, block_key(block_tokens(tokens, block))) for number, block in enumerate(blocks)) if names else ()
    named = [(number, key) for number, key in keys if key in names]
    for at, shard in place.run(find_shard, ((store, key) for _, key in named), width):
        if shard is not None:
            yield named[at][0], shard


def _cut_runs(numbers: Sequence[int], tokens: TextTokens, blocks: Sequence[Block], width: int) -> list[list[int]]:
    """Blocks in runs that tasks with a process of their own encode: as many for each of ``width``, none too large."""
    chosen = [blocks[number] for number in numbers]
    total = sum(_count(_texts(tokens, block), block.start, block.stop) for block in chosen)
    runs = min(width * max(1, math.ceil(total / (width * RUN_TOKENS))), len(numbers))
    return [run.tolist() for run in np.array_split(np.array(numbers), runs)] if runs else []


def find_shard(store: ShardStore, key: str) -> Shard | None:
    """A task: the shard, if it is on storage whole."""
    return store.find(key)


def encode_run(
    store: ShardStore, load: Load, threads: int, batches: Batches, run: Sequence[tuple[FlatTokens, dict[str, object]]]
) -> list[Encoded]:
    """A task: the shards of blocks, one after another, up to the first that is broken; killed, it goes on from them."""
    encoded: list[Encoded] = []
    for tokens, about in run:
        encoded.append(encode_block(store, load, threads, tokens, batches, about))
        if encoded[-1].shard is None:
            break
    return encoded


def encode_block(
    store: ShardStore, load: Load, threads: int, tokens: FlatTokens, batches: Batches, about: dict[str, object]
) -> Encoded:
    """The block's shard, encoded when it is not on storage whole."""
    key = block_key(tokens)
    shard = store.find(key)
    if shard is not None:
        return Encoded(shard, None, is_new=False)
    set_threads(threads)
    loaded = load()
    vectors_XD: Embeddings = encode(
        loaded.encoder,
        tokens,
        batch_size=batches.texts,
        batch_tokens=batches.tokens,
        pad_id=int(loaded.tokenizer.pad_token_id),
    )
    unfinite = np.flatnonzero(~np.isfinite(vectors_XD).all(axis=1))
    if len(unfinite):
        return Encoded(None, int(unfinite[0]), is_new=False)
    return Encoded(store.write(key, vectors_XD, about), None, is_new=True)


@lru_cache(maxsize=1)
def model_at(model_url: str, call: str, trust_remote_code: bool) -> LoadedModel:
    """A task's model, loaded once a process and call.

    Args:
        call: names the evaluation: a folder's content can change between two, so a process keeps its
            model within one only.
        trust_remote_code: run the modelling code that the folder brings.

    Raises:
        CheckpointError: the folder is not on this node, or cannot be read.
    """
    # Imported here: only processes that encode pay for the model libraries.
    import torch

    from xling.model.source import load_folder

    parent, _, name = model_url.rpartition("/")
    storage = Storage(parent or "/")
    if storage.is_local and not storage.exists(name):
        raise CheckpointError(
            f"model folder {model_url} is not on the node {socket.gethostname()}, must be on every node; put "
            "it on a file system that all of them mount (of a cell or a hub model: the storage), or use an object store"
        )
    with storage.local_copy(name) as folder:
        loaded = load_folder(folder, trust_remote_code=trust_remote_code)
    if torch.cuda.is_available() and ray.get_gpu_ids():
        loaded.encoder.to("cuda")
    return loaded


@dataclass
class _Clock:
    """How long the rest will take, from the texts encoded so far: those found on storage cost next to nothing."""

    total: int
    done: int = 0
    encoded: int = 0
    started: float = field(default_factory=time.monotonic)

    def after(self, block: Block, is_new: bool) -> tuple[int, int, float | None]:
        """Done, in all, and seconds left (None while nothing was encoded)."""
        texts = block.stop - block.start
        self.done += texts
        self.encoded += texts if is_new else 0
        left = self.total - self.done
        if not left:
            return self.done, self.total, 0.0
        rate = self.encoded / max(time.monotonic() - self.started, 1e-9)
        return self.done, self.total, left / rate if rate else None
