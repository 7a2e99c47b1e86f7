"""The loss and its gradients against a float64 reference that runs in one process over the whole batch."""

import itertools
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forked import on_two_ranks

from xling.model.loss import info_nce

torch.set_num_threads(1)

B, FEATURES, D, TEMPERATURE = 4, 6, 5, 0.05
VARIANTS = list(itertools.product(["one-way", "two-way"], [True, False], [0, 2]))  # directions, mask, K
DTYPES = [torch.float64, torch.float32]


def batch(world_size):
    """Query and passage features and passage keys; passages 0 and 2 are one, and so are 1 and the last rank's first."""
    draw = torch.Generator().manual_seed(11)
    queries, passages = torch.randn(2, B * world_size, FEATURES, generator=draw, dtype=torch.float64)
    keys = torch.arange(B * world_size) + 100
    for copy, original in ((2, 0), (B * (world_size - 1), 1)):
        keys[copy], passages[copy] = keys[original], passages[original]
    return queries, passages, keys


def hard_negatives(world_size, each):
    """Features and keys of K a pair: one is a pair's own passage, one is another's, some places are empty."""
    draw = torch.Generator().manual_seed(13)
    count = B * world_size * each
    features = torch.randn(count, FEATURES, generator=draw, dtype=torch.float64)
    keys = torch.arange(count) + 500
    if each:
        _, passages, passage_keys = batch(world_size)
        for place, copied in ((0, 0), (count - 2, 1)):
            keys[place], features[place] = passage_keys[copied], passages[copied]
        keys[3::4] = -1
    return features, keys


def encoder_weight():
    return torch.randn(D, FEATURES, generator=torch.Generator().manual_seed(12), dtype=torch.float64)


def embed(features, weight):
    return torch.nn.functional.normalize(features @ weight.T, dim=-1)


def reference(queries, passages, keys, weight, directions, mask, negatives=None, negative_keys=None):
    """Pair by pair, from the definition: -log of the positive's share of the scores' exponentials."""
    q, p = embed(queries, weight), embed(passages, weight)
    every, every_key = p, keys
    if negatives is not None:
        every, every_key = torch.cat([p, embed(negatives, weight)]), torch.cat([keys, negative_keys])
    losses = []
    for anchors, candidates, of in ((q, every, every_key), (p, q, keys))[: 1 if directions == "one-way" else 2]:
        for i, anchor in enumerate(anchors):
            kept = [j for j in range(len(candidates)) if j == i or (of[j] >= 0 and not (mask and of[j] == keys[i]))]
            exponentials = torch.stack([(anchor @ candidates[j] / TEMPERATURE).exp() for j in kept])
            losses.append(-(exponentials[kept.index(i)] / exponentials.sum()).log())
    return torch.stack(losses).mean()


def expected(world_size, directions, mask, each=0):
    weight = encoder_weight().requires_grad_()
    loss = reference(*batch(world_size), weight, directions, mask, *hard_negatives(world_size, each))
    loss.backward()
    return loss.detach(), weight.grad


def ours(rank, world_size, directions, mask, each, dtype, *, gather=True):
    """This rank's loss and its gradient of the encoder."""
    queries, passages, keys = (part.chunk(world_size)[rank] for part in batch(world_size))
    negatives, negative_keys = (part.chunk(world_size)[rank] for part in hard_negatives(world_size, each))
    weight = encoder_weight().to(dtype).requires_grad_()
    loss = info_nce(
        embed(queries.to(dtype), weight),
        embed(passages.to(dtype), weight),
        keys,
        temperature=TEMPERATURE,
        directions=directions,
        mask_false_negatives=mask,
        gather=gather,
        negatives_HD=embed(negatives.to(dtype), weight) if each else None,
        negative_keys_H=negative_keys if each else None,
    )
    loss.backward()
    return loss.detach(), weight.grad


def assert_equal(found, wanted, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("directions", "mask", "each"), VARIANTS)
def test_one_process_equals_the_reference(directions, mask, each, dtype):
    assert_equal(ours(0, 1, directions, mask, each, dtype), expected(1, directions, mask, each), dtype)


def _rank(rank, world_size, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    results = {}
    for directions, mask, each in VARIANTS:
        for dtype in DTYPES:
            loss, grad = ours(rank, world_size, directions, mask, each, dtype)
            for part in (loss, grad):  # what DDP does with gradients, and a report with losses
                dist.all_reduce(part)
                part /= world_size
            results[directions, mask, each, str(dtype)] = (loss, grad)
        results[directions, mask, each, "alone"] = ours(
            rank, world_size, directions, mask, each, torch.float64, gather=False
        )
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    on_two_ranks(_rank, 2, str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("directions", "mask", "each"), VARIANTS)
def test_two_ranks_equal_the_reference_over_both_halves(two_ranks, directions, mask, each, dtype):
    for results in two_ranks:
        assert_equal(results[directions, mask, each, str(dtype)], expected(2, directions, mask, each), dtype)


@pytest.mark.parametrize(("directions", "mask", "each"), VARIANTS)
def test_without_gathering_a_rank_sees_only_its_half(two_ranks, directions, mask, each):
    everything = (*batch(2), *hard_negatives(2, each))
    for rank, results in enumerate(two_ranks):
        weight = encoder_weight().requires_grad_()
        queries, passages, keys, *negatives = (part.chunk(2)[rank] for part in everything)
        loss = reference(queries, passages, keys, weight, directions, mask, *negatives)
        loss.backward()
        assert_equal(results[directions, mask, each, "alone"], (loss.detach(), weight.grad), torch.float64)


def test_the_mask_across_ranks_matters():
    """The shared passage lies on both ranks, so the comparison above would notice a mask of one's own half."""
    assert expected(2, "one-way", True)[0] < expected(2, "one-way", False)[0]
    _, _, keys = batch(2)
    assert set(keys[:B].tolist()) & set(keys[B:].tolist())


def test_a_batch_of_one_passage_has_no_negatives():
    embeddings_BD = torch.nn.functional.normalize(torch.randn(B, D), dim=-1).requires_grad_()
    keys_B = torch.zeros(B, dtype=torch.int64)
    settings = {"temperature": TEMPERATURE, "directions": "two-way", "gather": True}
    loss = info_nce(embeddings_BD, embeddings_BD, keys_B, mask_false_negatives=True, **settings)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(embeddings_BD.grad, torch.zeros(B, D))


def test_scores_are_float32_under_bf16_autocast():
    queries, passages, keys = (part[:B] for part in batch(1))
    embeddings = [torch.nn.functional.normalize(part.float(), dim=-1) for part in (queries, passages)]
    settings = {"directions": "two-way", "mask_false_negatives": True, "gather": False}
    plain = info_nce(*embeddings, keys, temperature=TEMPERATURE, **settings)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(info_nce(*embeddings, keys, temperature=TEMPERATURE, **settings), plain)
        halves = [part.bfloat16() for part in embeddings]
        loss = info_nce(*halves, keys, temperature=1e-3, **settings)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
