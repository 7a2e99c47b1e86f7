"""The hash must give the same numbers for ever: they decide what every run trained on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.batching.counter_hash import counter_hash, hash_texts, uniform

GOLDEN_CHAIN = ["0x7010c70c013e27ec", "0xca4470043a5e3686", "0x16e639e2c7aae6e3"]
GOLDEN_TEXTS = ["0xb4b2797457a0a6e4", "0x6880e20ea57a83e7", "0x372f39c1f59df155"]


def reference(*words: int) -> int:
    """The module's definition, word by word, in Python's integers."""
    mask, state = 2**64 - 1, 0
    for word in words:
        x = ((state ^ (word & mask)) + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        state = x ^ (x >> 31)
    return state


def test_one_word_is_splitmix64s_published_first_output():
    assert int(counter_hash(0)) == 0xE220A8397B1DCDAF
    assert int(counter_hash(1234567)) == 6457827717110365317


def test_golden_values():
    steps = np.arange(3, dtype=np.uint64)
    assert [hex(word) for word in counter_hash(7, 1, steps).tolist()] == GOLDEN_CHAIN
    assert [hex(word) for word in hash_texts(["", "q1", "ü"]).tolist()] == GOLDEN_TEXTS
    assert uniform(counter_hash(7, 1, steps)).tolist() == [int(word, 16) // 2**11 / 2**53 for word in GOLDEN_CHAIN]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-(2**63), 2**65), max_size=4), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_arrays_hash_as_their_elements_do(words: list[int], last: list[int]):
    hashed = counter_hash(*words, np.asarray(last, dtype=np.uint64))
    assert hashed.tolist() == [reference(*words, word) for word in last]


def test_uniform_stays_below_one():
    edges = np.asarray([0, 2**64 - 1], dtype=np.uint64)
    assert uniform(edges).tolist() == [0.0, 1.0 - 2.0**-53]


def test_uniform_numbers_are_uniform_and_streams_unrelated():
    steps = np.arange(100_000, dtype=np.uint64)
    u, v = uniform(counter_hash(3, 0, steps)), uniform(counter_hash(3, 1, steps))
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(5000)
    assert abs(np.corrcoef(u, v)[0, 1]) < 0.02
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.02
