import numpy as np
import pytest
import torch
from toy_encoders import toy_encoder

from xling.evaluate.encode import FlatTokens, encode, encode_batches, plan_batches, share_batches


@pytest.fixture
def tokens() -> FlatTokens:
    rng = np.random.default_rng(0)
    return FlatTokens.of([rng.integers(5, 50, length).astype(np.int32) for length in rng.integers(1, 33, 101)])


def test_vectors_come_in_text_order_of_unit_length_whatever_the_batches(tokens: FlatTokens) -> None:
    encoder = toy_encoder()
    one_by_one = encode(encoder, tokens, batch_size=1, batch_tokens=1, pad_id=0)
    assert one_by_one.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(one_by_one, axis=1), 1, atol=1e-6)
    for size, budget in ((16, 10_000), (1000, 100)):
        vectors = encode(encoder, tokens, batch_size=size, batch_tokens=budget, pad_id=0)
        np.testing.assert_allclose(vectors, one_by_one, atol=1e-5)


@pytest.mark.parametrize(("size", "budget"), [(8, 10_000), (1000, 64), (5, 64), (7, 1)])
def test_batches_keep_to_both_limits_and_hold_each_different_text_once(
    tokens: FlatTokens, size: int, budget: int
) -> None:
    plan = plan_batches(tokens, size, budget)
    for batch in plan.batches:
        assert len(batch) <= size
        assert len(batch) == 1 or len(batch) * tokens.lengths[batch].max() <= budget
    different = {tuple(tokens[text].tolist()) for text in range(len(tokens))}
    assert plan.texts == len(different)
    assert {tuple(tokens[text].tolist()) for batch in plan.batches for text in batch} == different


def test_no_batch_could_take_in_the_next_text(tokens: FlatTokens) -> None:
    batches = plan_batches(tokens, 9, 100).batches
    for batch in batches[:-1]:
        assert len(batch) == 9 or (len(batch) + 1) * tokens.lengths[batch].max() > 100


def test_texts_of_the_same_tokens_are_encoded_once_and_get_the_same_bits(tokens: FlatTokens) -> None:
    texts = [tokens[text] for text in range(len(tokens))]
    doubled = FlatTokens.of([*texts[::-1], *texts, texts[3]])
    encoded = []
    encoder = toy_encoder()
    encoder.register_forward_pre_hook(lambda module, inputs: encoded.append(len(inputs[0])))
    vectors = encode(encoder, doubled, batch_size=8, batch_tokens=100, pad_id=0)
    assert sum(encoded) == len({text.tobytes() for text in texts})
    assert vectors[:101][::-1].tobytes() == vectors[101:202].tobytes()
    assert vectors[202].tobytes() == vectors[101 + 3].tobytes()
    np.testing.assert_allclose(
        vectors[101:202], encode(encoder, tokens, batch_size=8, batch_tokens=100, pad_id=0), atol=1e-5
    )


@pytest.mark.parametrize("shares", [1, 2, 3, 50])
def test_shares_of_whole_batches_give_the_same_bits(tokens: FlatTokens, shares: int) -> None:
    encoder = toy_encoder()
    plan = plan_batches(tokens, 8, 100)
    parts = share_batches(plan.batches, tokens.lengths, shares)
    assert [batch.tolist() for part in parts for batch in part] == [batch.tolist() for batch in plan.batches]
    vectors = np.concatenate([encode_batches(encoder, tokens, part, 0) for part in parts])
    whole = encode(encoder, tokens, batch_size=8, batch_tokens=100, pad_id=0)
    assert plan.in_text_order(vectors).tobytes() == whole.tobytes()


def test_shares_are_of_about_equal_cost_and_never_more_than_batches(tokens: FlatTokens) -> None:
    batches = plan_batches(tokens, 8, 10_000).batches
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
    first, second = (encode(encoder, tokens, batch_size=8, batch_tokens=100, pad_id=0) for _ in range(2))
    assert encoder.training
    assert first.tobytes() == second.tobytes()
    assert torch.equal(before, torch.random.get_rng_state())


def test_progress_counts_different_texts() -> None:
    texts = FlatTokens.of([np.array([5 + number], np.int32) for number in [*range(40), *range(10)]])
    seen: list[tuple[int, int]] = []
    encode(
        toy_encoder(),
        texts,
        batch_size=16,
        batch_tokens=100,
        pad_id=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(16, 40), (32, 40), (40, 40)]


def test_on_a_cpu_the_encoder_computes_in_float32(tokens: FlatTokens) -> None:
    encoder = toy_encoder()
    assert hidden_types(encoder, tokens) == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_transformer_computes_in_bf16_and_vectors_are_float32(tokens: FlatTokens) -> None:
    on_cpu = encode(toy_encoder(), tokens, batch_size=8, batch_tokens=100, pad_id=0)
    encoder = toy_encoder().to("cuda")
    on_gpu = encode(encoder, tokens, batch_size=8, batch_tokens=100, pad_id=0)
    assert on_gpu.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(on_gpu, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=0.05)
    assert hidden_types(encoder, tokens) == {torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32}


def hidden_types(encoder: torch.nn.Module, tokens: FlatTokens) -> set[torch.dtype]:
    """What the first layer's feed-forward gives out while texts are encoded."""
    seen: set[torch.dtype] = set()
    layer = encoder.backbone.encoder.layer[0].intermediate
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    encode(encoder, tokens, batch_size=8, batch_tokens=100, pad_id=0)
    hook.remove()
    return seen
