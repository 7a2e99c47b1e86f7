"""The counter hash all draws of the plan come from: no generator, hence no state to save.

The hash of words w_1 … w_n is h_n, where h_0 = 0 and h_i = f((h_{i-1} xor w_i) + 0x9E3779B97F4A7C15),
in unsigned 64-bit arithmetic modulo 2^64, with f the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014). So the hash of one word is the first
output of SplitMix64 seeded with it. f is a bijection: hashes that differ in their last word only
never collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

UInt64Array = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MASK = 2**64 - 1


def counter_hash(*words: int | UInt64Array | npt.NDArray[np.int64]) -> UInt64Array:
    """Hash the words, elementwise over arrays; integers are taken modulo 2^64.

    Returns:
        An array of the words' broadcast shape.
    """
    state: UInt64Array = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):  # numpy warns of scalars that wrap, not of arrays
        for word in words:
            term = np.asarray(word & _MASK if isinstance(word, int) else word).astype(np.uint64)
            state = _finalise((state ^ term) + _GAMMA)
    return np.asarray(state)


def _finalise(x: UInt64Array) -> UInt64Array:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(hashes: UInt64Array) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) from the hashes' upper 53 bits, exactly."""
    return np.asarray((hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def hash_texts(texts: Iterable[str]) -> UInt64Array:
    """Each text's UTF-8 bytes by blake2b to 64 bits, read little-endian: a word for :func:`counter_hash`."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
