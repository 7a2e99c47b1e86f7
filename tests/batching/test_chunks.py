"""Cutting texts into chunks: complete, sorted, and never dearer than any other way to cut the sorted texts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.batching.chunks import cut_by_length

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def cost(lengths, chunks, overhead):
    return sum(len(chunk) * lengths[chunk].max() + overhead for chunk in chunks)


@settings(deadline=None)
@given(LENGTHS, st.integers(0, 200), st.none() | st.integers(1, 9))
def test_every_text_is_in_one_chunk_longest_first(lengths, overhead, most):
    lengths = np.asarray(lengths)
    chunks = cut_by_length(lengths, overhead=overhead, most=most)
    order = np.concatenate(chunks)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()
    assert all(len(chunk) <= (most or len(lengths)) for chunk in chunks)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(0, 60))
def test_no_other_cut_costs_less(lengths, overhead):
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    others = [
        np.split(order, cuts)
        for count in range(len(lengths))
        for cuts in itertools.combinations(range(1, len(lengths)), count)
    ]
    least = min(cost(lengths, chunks, overhead) for chunks in others)
    assert cost(lengths, cut_by_length(lengths, overhead=overhead), overhead) == least


@pytest.mark.parametrize(("overhead", "chunks"), [(0, 3), (10**6, 1)])
def test_what_a_chunk_costs_decides_how_many_there_are(overhead, chunks):
    assert len(cut_by_length(np.array([5, 9, 9, 5, 2]), overhead=overhead)) == chunks


def test_more_texts_of_a_length_than_a_chunk_may_hold_are_cut_evenly():
    assert [len(chunk) for chunk in cut_by_length(np.full(10, 7), overhead=0, most=4)] == [4, 3, 3]
