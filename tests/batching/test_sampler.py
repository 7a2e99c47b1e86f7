"""Slices of ranks, and padded arrays."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_plans import make as plan_of
from small_plans import plans

from xling.batching.negatives import NegativeDraw
from xling.batching.plan import Batch, Plan
from xling.batching.sampler import Chunking, collate, rank_slice
from xling.config.schema import MixConfig

ITEMS, LANGUAGES = 48, ("de", "en", "es")


def make(seed: int = 0) -> Plan:
    return Plan(
        item_ids=[f"q{i}" for i in range(ITEMS)],
        languages=LANGUAGES,
        passages_IL=(np.arange(ITEMS) // 3)[:, None] * 3 + np.arange(3),
        mix=MixConfig(monolingual=0.4, cross_lingual=0.3, mixed_monolingual=0.3, cross_lingual_by="example"),
        batch_size=12,
        total_steps=100,
        seed=seed,
    )


class Tokens:
    """Texts whose tokens tell what they are: the item, its language, and 1 or 2 for query or passage."""

    def query(self, item: int, language: int) -> np.ndarray:
        return np.asarray([item + 10, language + 10, 1] + [3] * (item % 4), dtype=np.int32)

    def passage(self, item: int, language: int) -> np.ndarray:
        return np.asarray([item + 10, language + 10, 2] + [3] * (item % 7), dtype=np.int32)

    def negative_rows(self, item: int, language: int) -> range:
        """Every second item has three."""
        return range(3 * item, 3 * item + 3) if item % 2 else range(0)

    def negative(self, row: int) -> np.ndarray:
        return np.asarray([row + 10, 4, *[3] * (row % 5)], dtype=np.int32)


DRAW = NegativeDraw(5, [f"q{i}" for i in range(ITEMS)], np.arange(3 * ITEMS) + 1000)


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


@pytest.mark.parametrize(
    "chunking",
    [
        Chunking(99, 0),
        Chunking(99, 10**6),
        Chunking(99, 16, 5, multiple_of=8),
        Chunking(99, 16, 5, multiple_of=8, longest=9),
    ],
)
@pytest.mark.parametrize("negatives", [0, 2])
def test_every_text_is_in_a_chunk_padded_to_its_longest(chunking: Chunking, negatives: int):
    batch, tokens = make().batch(3), Tokens()
    local = collate(tokens, batch, chunking, draw=DRAW, negatives=negatives)
    items, queries, passages, positives = zip(*rows(batch), strict=True)
    expected = [tokens.query(*pair).tolist() for pair in zip(items, queries, strict=True)]
    expected += [tokens.passage(*pair).tolist() for pair in zip(items, passages, strict=True)]
    keys = []
    for item, language, positive in zip(items, passages, positives, strict=True):
        drawn = DRAW.draw(batch.step, item, tokens.negative_rows(item, language), positive, negatives).tolist()
        expected += [tokens.negative(row).tolist() for row in drawn]
        keys += [*(DRAW.keys[drawn].tolist()), *([-1] * (negatives - len(drawn)))]
    found = {}
    for chunk in local.chunks:
        longest = max(len(expected[text]) for text in chunk.texts_C.tolist())
        longest = min(-(-longest // chunking.multiple_of) * chunking.multiple_of, chunking.longest or 10**6)
        assert chunk.ids_CT.shape == chunk.mask_CT.shape == (len(chunk.texts_C), longest)
        assert chunk.ids_CT.dtype == chunk.mask_CT.dtype == np.int64
        assert len(chunk.texts_C) <= (chunking.most or len(expected))
        for text, ids, mask in zip(chunk.texts_C.tolist(), chunk.ids_CT, chunk.mask_CT, strict=True):
            length = len(expected[text])
            assert mask.tolist() == [1] * length + [0] * (longest - length)
            assert (ids[length:] == 99).all()
            found[text] = ids[:length].tolist()
    assert [found[text] for text in sorted(found)] == expected
    assert local.passage_keys_B.tolist() == batch.passage_keys_B.tolist()
    assert local.negative_keys_H.tolist() == keys
    assert local.pairs == 12
    assert local.tokens == sum(map(len, expected))
    assert bool(negatives) == (-1 in keys), "some item has fewer negatives than places"


def test_ranks_agree_on_keys_and_negatives():
    batch = make().batch(1)
    whole = collate(Tokens(), batch, Chunking(0, 64), draw=DRAW, negatives=2)
    parts = [
        collate(Tokens(), rank_slice(batch, rank, 3), Chunking(0, 64), draw=DRAW, negatives=2) for rank in range(3)
    ]
    assert np.concatenate([part.passage_keys_B for part in parts]).tolist() == batch.passage_keys_B.tolist()
    assert np.concatenate([part.negative_keys_H for part in parts]).tolist() == whole.negative_keys_H.tolist()
    assert sum(part.tokens for part in parts) == whole.tokens


@settings(deadline=None, max_examples=15)
@given(plans(), st.integers(0, 299))
def test_ranks_share_the_batches_of_any_mix(case: tuple[np.ndarray, dict[str, Any]], step: int):
    passages_IL, arguments = case
    whole = plan_of(passages_IL, **arguments).batch(step)
    for world_size in (1, 2):
        shares = [
            rank_slice(plan_of(passages_IL, **arguments).batch(step), rank, world_size) for rank in range(world_size)
        ]
        assert [row for share in shares for row in rows(share)] == rows(whole)
