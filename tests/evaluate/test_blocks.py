"""Which tasks blocks of texts become, without a cluster."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tied_encoders import tied_model
from toy_sets import ToyTokens

from xling.evaluate import blocks
from xling.evaluate.blocks import Batches, Block, cut_blocks, encode_blocks
from xling.evaluate.search.shards import Shard, ShardStore
from xling.storage import Storage

TEXTS, TOKENS = 71, 5
BATCHES = Batches(16, 4096)


class Killed(Exception):
    """The process would die here."""


@dataclass
class Machines:
    """A cluster with GPUs, or without: a task after another, and what each of them was."""

    gpus: float = 1
    threads: int = 1
    on_gpu: list[int] = field(default_factory=list)  # blocks of each task that had one
    others: int = 0

    def room(self) -> int:
        return 3

    def share(self, value: Any) -> Any:
        return value

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple], width: int, *, on_gpu: bool = False
    ) -> Iterator[tuple[int, Any]]:
        for number, call in enumerate(calls):
            if on_gpu and self.gpus:
                self.on_gpu.append(len(call[-1]))
            else:
                self.others += 1
            yield number, function(*call)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(blocks, "SHARD_TEXTS", 7)


def made_up_tokens() -> ToyTokens:
    rng = np.random.default_rng(0)
    return ToyTokens({"en": []}, {"en": list(rng.integers(2, 60, (TEXTS, TOKENS)).astype(np.int32))})


def encoded(place: Machines, folder: Path, load: Callable[[], Any], tell=lambda *of: None) -> list[Shard]:
    def refuse(block: Block, text: int) -> None:
        raise AssertionError((block, text))

    store, of_texts = ShardStore.of(Storage(str(folder)), "weights", {}), cut_blocks("passages", "en", TEXTS)
    tokens = made_up_tokens()
    return encode_blocks(place, store, load, tokens, of_texts, batches=BATCHES, width=3, broken=refuse, tell=tell)


def vectors(shards: list[Shard], folder: Path) -> np.ndarray:
    store = ShardStore.of(Storage(str(folder)), "weights", {})
    return np.concatenate([store.vectors(shard) for shard in shards])


@pytest.mark.parametrize(
    ("run_tokens", "runs"),
    [
        (1 << 25, [4, 4, 3]),  # no fewer tasks than there are GPUs
        (4 * 7 * TOKENS, [4, 4, 3]),
        (3 * 7 * TOKENS, [2, 2, 2, 2, 2, 1]),  # two tasks a GPU, as large as each other
        (1, [1] * 11),
    ],
)
def test_a_gpu_task_encodes_a_run_of_blocks_bit_by_bit_as_tasks_of_one(tmp_path, monkeypatch, run_tokens, runs):
    monkeypatch.setattr(blocks, "RUN_TOKENS", run_tokens)
    gpus, cores, seen = Machines(), Machines(gpus=0), []
    shards = encoded(gpus, tmp_path / "gpus", tied_model, lambda done, *_: seen.append(done))
    assert gpus.on_gpu == runs
    assert gpus.others == 0, "nothing is there to be looked for"
    assert seen == [*range(7, TEXTS, 7), TEXTS]
    assert shards == encoded(cores, tmp_path / "cores", tied_model)
    assert (cores.on_gpu, cores.others) == ([], 11)
    assert vectors(shards, tmp_path / "gpus").tobytes() == vectors(shards, tmp_path / "cores").tobytes()


def test_what_is_there_whole_is_found_without_a_gpu(tmp_path):
    first = encoded(Machines(), tmp_path, tied_model)
    again = Machines()
    assert encoded(again, tmp_path, tied_model) == first
    assert (again.on_gpu, again.others) == ([], 11)

    damaged, gone = (next(tmp_path.rglob(f"{first[number].key}.npy")) for number in (2, 9))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-3])
    gone.unlink()
    mended = Machines()
    assert encoded(mended, tmp_path, tied_model) == first
    assert mended.on_gpu == [1, 1]
    assert damaged.read_bytes() == content


def test_killed_within_a_run_it_goes_on_from_the_blocks_that_are_there(tmp_path):
    loads = []

    def dies_in_the_third_block():
        loads.append(True)
        if len(loads) == 3:
            raise Killed
        return tied_model()

    with pytest.raises(Killed):
        encoded(Machines(), tmp_path, dies_in_the_third_block)
    there = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.npy")}
    assert len(there) == 2
    place, loaded = Machines(), tied_model()
    shards = encoded(place, tmp_path, lambda: loaded)
    assert place.on_gpu == [3, 3, 3]
    assert loaded.encoder.encoded == TEXTS - 14
    assert {file: file.stat().st_mtime_ns for file in there} == there
    assert shards == encoded(Machines(gpus=0), tmp_path / "other", tied_model)
