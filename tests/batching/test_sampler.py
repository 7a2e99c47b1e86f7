"""Slices of ranks, and padded arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xling.batching.plan import Batch, Plan
from xling.batching.sampler import collate, rank_slice
from xling.config.schema import MixConfig

ITEMS, LANGUAGES = 48, ("de", "en", "es")


def make(seed: int = 0) -> Plan:
    return Plan(
        item_ids=[f"q{i}" for i in range(ITEMS)],
        languages=LANGUAGES,
        passages_IL=(np.arange(ITEMS) // 3)[:, None] * 3 + np.arange(3),
        mix=MixConfig(monolingual=0.4, cross_lingual=0.3, mixed_monolingual=0.3, cross_lingual_by="example"),
        batch_size=12,
        seed=seed,
    )


class Tokens:
    """Texts whose tokens tell what they are: the item, its language, and 1 or 2 for query or passage."""

    def query(self, item: int, language: int) -> np.ndarray:
        return np.asarray([item + 10, language + 10, 1] + [3] * (item % 4), dtype=np.int32)

    def passage(self, item: int, language: int) -> np.ndarray:
        return np.asarray([item + 10, language + 10, 2] + [3] * (item % 7), dtype=np.int32)


def rows(batch: Batch) -> list[tuple[int, int, int, int]]:
    arrays = (batch.items_B, batch.query_languages_B, batch.passage_languages_B, batch.passage_keys_B)
    return list(zip(*(array.tolist() for array in arrays), strict=True))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 200), st.integers(1, 4), st.integers(0, 5))
def test_slices_are_disjoint_complete_and_of_one_kind(step: int, world_size: int, seed: int):
    whole = make(seed).batch(step)
    parts = [rank_slice(make(seed).batch(step), rank, world_size) for rank in range(world_size)]  # a plan a rank
    assert {(part.step, part.kind, part.source) for part in parts} == {(step, whole.kind, whole.source)}
    assert {len(part.items_B) for part in parts} == {12 // world_size}
    assert [row for part in parts for row in rows(part)] == rows(whole)
    assert len({item for part in parts for item in part.items_B.tolist()}) == 12


def test_a_batch_that_does_not_divide_is_our_bug():
    with pytest.raises(AssertionError, match="batch of 12 does not divide by 5"):
        rank_slice(make().batch(0), 0, 5)


@pytest.mark.parametrize("multiple_of", [1, 8])
def test_collate_pads_to_the_longest(multiple_of: int):
    batch = make().batch(3)
    padded = collate(Tokens(), batch, pad_id=99, multiple_of=multiple_of)
    texts = {
        "query": (Tokens().query, batch.query_languages_B, padded.query_ids_BT, padded.query_mask_BT),
        "passage": (Tokens().passage, batch.passage_languages_B, padded.passage_ids_BT, padded.passage_mask_BT),
    }
    for fetch, languages_B, ids_BT, mask_BT in texts.values():
        expected = [fetch(*pair).tolist() for pair in zip(batch.items_B.tolist(), languages_B.tolist(), strict=True)]
        longest = max(map(len, expected))
        assert ids_BT.shape == mask_BT.shape == (12, -(-longest // multiple_of) * multiple_of)
        assert ids_BT.dtype == mask_BT.dtype == np.int64
        assert ids_BT.tolist() == [row + [99] * (ids_BT.shape[1] - len(row)) for row in expected]
        assert mask_BT.tolist() == [[1] * len(row) + [0] * (ids_BT.shape[1] - len(row)) for row in expected]
    assert padded.passage_keys_B.tolist() == batch.passage_keys_B.tolist()
    assert padded.tokens == int(padded.query_mask_BT.sum() + padded.passage_mask_BT.sum())


def test_ranks_agree_on_the_keys_of_passages():
    batch = make().batch(1)
    keys = np.concatenate([collate(Tokens(), rank_slice(batch, rank, 3), 0).passage_keys_B for rank in range(3)])
    assert keys.tolist() == batch.passage_keys_B.tolist()
