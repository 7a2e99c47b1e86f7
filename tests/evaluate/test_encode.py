import numpy as np
import pytest
import torch
from toy_encoders import toy_encoder

from xling.evaluate.encode import FlatTokens, encode, encode_batches, in_text_order, plan_batches, share_batches


@pytest.fixture
def tokens() -> FlatTokens:
    rng = np.random.default_rng(0)
    return FlatTokens.of([rng.integers(5, 50, length).astype(np.int32) for length in rng.integers(1, 33, 101)])


def test_vectors_come_in_text_order_of_unit_length_whatever_the_batch_size(tokens: FlatTokens) -> None:
    encoder = toy_encoder()
    one_by_one = encode(encoder, tokens, batch_size=1, pad_id=0)
    assert one_by_one.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(one_by_one, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encode(encoder, tokens, batch_size=16, pad_id=0), one_by_one, atol=1e-5)


@pytest.mark.parametrize("shares", [1, 2, 3, 50])
def test_shares_of_whole_batches_give_the_same_bits(tokens: FlatTokens, shares: int) -> None:
    encoder = toy_encoder()
    batches = plan_batches(tokens.lengths, 8)
    parts = share_batches(batches, tokens.lengths, shares)
    assert [batch.tolist() for part in parts for batch in part] == [batch.tolist() for batch in batches]
    vectors = np.concatenate([encode_batches(encoder, tokens, part, 0) for part in parts])
    assert in_text_order(batches, vectors).tobytes() == encode(encoder, tokens, batch_size=8, pad_id=0).tobytes()


def test_shares_are_of_about_equal_cost_and_never_more_than_batches(tokens: FlatTokens) -> None:
    batches = plan_batches(tokens.lengths, 8)
    costs = [
        sum(len(batch) * tokens.lengths[batch].max() for batch in share)
        for share in share_batches(batches, tokens.lengths, 3)
    ]
    assert len(costs) == 3
    assert max(costs) < 1.5 * min(costs)
    assert len(share_batches(batches, tokens.lengths, 1000)) <= len(batches)


def test_dropout_is_off_while_encoding_and_back_on_after(tokens: FlatTokens) -> None:
    encoder = toy_encoder(dropout=0.5).train()
    before = torch.random.get_rng_state()
    first, second = (encode(encoder, tokens, batch_size=8, pad_id=0) for _ in range(2))
    assert encoder.training
    assert first.tobytes() == second.tobytes()
    assert torch.equal(before, torch.random.get_rng_state())


def test_progress_counts_texts(tokens: FlatTokens) -> None:
    seen: list[int] = []
    encode(toy_encoder(), tokens, batch_size=50, pad_id=0, progress=seen.append)
    assert seen == [50, 100, 101]
