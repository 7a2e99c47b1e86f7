"""A sample of MS MARCO's training triples, drawn in one pass over tens of millions of lines.

Lines are ``query id<TAB>positive passage id<TAB>negative passage id``. An item is a distinct
(query, positive); its hard negatives are those that stand beside it.

Shape suffixes: R rows kept, I items, N negatives of all items.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xling.data.blocks import open_blocks
from xling.data.files import BadRows, shown
from xling.errors import DataError

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]

SEED = 0x5EED_0F_7B1E5  # another seed is another sample: never change it, trained cells depend on it
LARGEST_ID = 2**31 - 1
MERGE_ROWS = 1 << 21  # rows gathered before they are merged into the sample

_TAB, _NEWLINE, _ZERO = b"\t\n0"
_SEPARATORS = (_TAB, _TAB, _NEWLINE)


class Triples(NamedTuple):
    """Items sorted by query id, then positive id; item i has ``negatives_N[offsets[i] : offsets[i + 1]]``."""

    queries_I: IntArray
    positives_I: IntArray
    negatives_N: IntArray
    offsets: IntArray  # I + 1


class _Rows(NamedTuple):
    """Rows in the order of the sample: by the item's hash, then the negative's."""

    item_hash_R: HashArray
    row_hash_R: HashArray
    item_R: HashArray  # query id << 32 | positive id
    negative_R: IntArray


def sample_triples(path: Path, items: int, negatives: int, bad: BadRows) -> Triples:
    """The items with the smallest seeded hashes, each with its negatives of the smallest hashes.

    So the sample hangs on the file's content alone, not on the order of its lines, and a smaller
    sample is part of a larger one. Memory goes with the sample, not with the file.

    Args:
        items: at most so many.
        negatives: of an item, at most; may be 0.

    Raises:
        DataError: the file cannot be read, or holds no triple.
    """
    kept, bound = _no_rows(), np.uint64(2**64 - 1)
    waiting: list[_Rows] = []
    for triples in _read(path, bad):
        rows = _hashed(triples)
        inside = rows.item_hash_R <= bound
        waiting.append(_take(rows, inside))
        if sum(len(part.negative_R) for part in waiting) >= MERGE_ROWS:
            kept, bound = _merge([kept, *waiting], items, negatives, bound)
            waiting = []
    kept, _ = _merge([kept, *waiting], items, negatives, bound)
    if not len(kept.item_R):
        raise DataError(f"{path}: holds no triple, must hold lines of query, positive and negative id")
    return _as_triples(kept, negatives)


def _read(path: Path, bad: BadRows) -> Iterator[IntArray]:
    """Blocks of triples, int64 R x 3."""
    for number, block in open_blocks(path):
        triples = _parse(block)
        yield triples if triples is not None else _parse_lines(path, number, block, bad)


def _parse(block: bytes) -> IntArray | None:
    """All lines of a block at once; None when any of them is not three plain numbers."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if not block.endswith(b"\n"):
        block += b"\n"
    characters = np.frombuffer(block, np.uint8)
    separators = np.flatnonzero(characters - np.uint8(_ZERO) > 9)  # unsigned: smaller ones wrap around
    if len(separators) % 3 or not (characters[separators].reshape(-1, 3) == _SEPARATORS).all():
        return None
    lengths = np.diff(separators, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > 10:
        return None
    triples = np.fromstring(block, dtype=np.int64, sep=" ").reshape(-1, 3)
    return triples if triples.max() <= LARGEST_ID else None


def _parse_lines(path: Path, number: int, block: bytes, bad: BadRows) -> IntArray:
    found = []
    for line_number, line in enumerate(block.splitlines(), start=number):
        if not line.strip():
            continue
        values = line.split(b"\t")
        wrong = [value for value in values if not (value.isdigit() and len(value) <= 10 and int(value) <= LARGEST_ID)]
        if len(values) != 3:
            bad.report(path, line_number, f"has {len(values)} columns separated by tabs, must have 3")
        elif wrong:
            text = shown(wrong[0].decode("ascii", "backslashreplace"))
            bad.report(path, line_number, f"holds the id {text}, must be a whole number below 2^31")
        else:
            found.append([int(value) for value in values])
    return np.asarray(found, np.int64).reshape(-1, 3)


def _hashed(triples: IntArray) -> _Rows:
    item_R = triples[:, 0].astype(np.uint64) << np.uint64(32) | triples[:, 1].astype(np.uint64)
    item_hash_R = _mix(item_R ^ np.uint64(SEED))
    return _Rows(item_hash_R, _mix(item_hash_R ^ triples[:, 2].astype(np.uint64)), item_R, triples[:, 2])


def _mix(values: HashArray) -> HashArray:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection, so different items never tie."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)


def _merge(parts: list[_Rows], items: int, negatives: int, bound: np.uint64) -> tuple[_Rows, np.uint64]:
    """The sample of all rows together, and the largest item hash that may still enter it."""
    rows = _Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    rows = _take(rows, np.lexsort((rows.row_hash_R, rows.item_hash_R)))
    if not len(rows.item_R):
        return rows, bound
    same_item = rows.item_R[1:] == rows.item_R[:-1]
    repeated = same_item & (rows.negative_R[1:] == rows.negative_R[:-1])
    rows = _take(rows, np.flatnonzero(np.concatenate(([True], ~repeated))))
    first = np.concatenate(([True], rows.item_R[1:] != rows.item_R[:-1]))
    starts = np.flatnonzero(first)
    number = np.cumsum(first) - 1  # of the row's item
    place = np.arange(len(first)) - starts[number]  # of the row within its item
    rows = _take(rows, np.flatnonzero((number < items) & (place < max(1, negatives))))
    return rows, rows.item_hash_R[-1] if len(starts) >= items else bound


def _take(rows: _Rows, chosen: npt.NDArray[Any]) -> _Rows:
    return _Rows(rows.item_hash_R[chosen], rows.row_hash_R[chosen], rows.item_R[chosen], rows.negative_R[chosen])


def _no_rows() -> _Rows:
    empty = np.zeros(0, np.uint64)
    return _Rows(empty, empty, empty, np.zeros(0, np.int64))


def _as_triples(rows: _Rows, negatives: int) -> Triples:
    order = np.argsort(rows.item_R, kind="stable")  # keeps the negatives in the order of their hashes
    item_R = rows.item_R[order]
    item_I, counts_I = np.unique(item_R, return_counts=True)
    if not negatives:
        counts_I = np.zeros_like(counts_I)
    queries_I = (item_I >> np.uint64(32)).astype(np.int64)
    positives_I = (item_I & np.uint64(2**32 - 1)).astype(np.int64)
    kept = rows.negative_R[order] if negatives else np.zeros(0, np.int64)
    return Triples(queries_I, positives_I, kept, np.concatenate(([0], np.cumsum(counts_I))))
