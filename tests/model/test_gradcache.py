"""Gradient caching against the plain loss, gradients included, in float64: dropout, masks, hard negatives, ranks."""

import itertools
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forked import on_two_ranks

from xling.model.gradcache import backward
from xling.model.loss import info_nce

torch.set_num_threads(1)

PAIRS, EACH, FEATURES, D = 6, 2, 7, 5
VARIANTS = list(itertools.product(["one-way", "two-way"], [True, False], [0.02, 0.7], [0.0, 0.3]))
RANKS = 2


def network(dropout: float) -> torch.nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        layers = [torch.nn.Linear(FEATURES, 11), torch.nn.Dropout(dropout), torch.nn.Tanh(), torch.nn.Linear(11, D)]
        return torch.nn.Sequential(*layers).double()


def features(rank: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(20 + rank)
    return torch.randn(PAIRS * (2 + EACH), FEATURES, generator=draw, dtype=torch.float64)


def gradients(rank, directions, mask, temperature, dropout, *, chunk: int, cached: bool, gather: bool):
    """The loss, the gradients of every parameter, and the most rows that were encoded with a graph at once."""
    model, rows_XF = network(dropout), features(rank)
    keys_B = torch.arange(PAIRS) + 10 * rank
    keys_B[1] = 0  # a passage of rank 0's first pair, on every rank
    keys_H = torch.arange(PAIRS * EACH) + 100 + 100 * rank
    keys_H[::5] = -1
    keys_H[1] = keys_B[3]
    order = torch.randperm(len(rows_XF), generator=torch.Generator().manual_seed(3))
    texts = list(order.split(chunk))
    held = []

    def encode(number):
        torch.manual_seed(1000 * rank + number)
        held.append(torch.is_grad_enabled())
        return torch.nn.functional.normalize(model(rows_XF[texts[number]]), dim=-1)

    def loss_of(vectors_XD):
        return info_nce(
            vectors_XD[:PAIRS],
            vectors_XD[PAIRS : 2 * PAIRS],
            keys_B,
            temperature=temperature,
            directions=directions,
            mask_false_negatives=mask,
            gather=gather,
            negatives_HD=vectors_XD[2 * PAIRS :],
            negative_keys_H=keys_H,
        )

    loss = backward(encode, texts, loss_of, cached=cached)
    most = len(texts) - 1
    assert held == [False] * most * cached + [True] + [True] * most
    assert not loss.requires_grad
    return [loss, *(parameter.grad for parameter in model.parameters())]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("chunk", [1, 5, 24])
def test_cached_and_plain_derive_the_same(variant, chunk):
    plain = gradients(0, *variant, chunk=chunk, cached=False, gather=False)
    cached = gradients(0, *variant, chunk=chunk, cached=True, gather=False)
    torch.testing.assert_close(cached, plain, rtol=1e-12, atol=1e-13)
    assert all(grad.abs().max() > 0 for grad in plain[1:])


def test_without_dropout_the_cut_does_not_matter():
    whole = gradients(0, "two-way", True, 0.05, 0.0, chunk=24, cached=False, gather=False)
    cut = gradients(0, "two-way", True, 0.05, 0.0, chunk=5, cached=True, gather=False)
    torch.testing.assert_close(cut, whole, rtol=1e-12, atol=1e-13)


def test_each_setting_changes_the_loss():
    """So that none of them can be ignored by both ways alike."""
    losses = {gradients(0, *variant, chunk=5, cached=True, gather=False)[0].item() for variant in VARIANTS}
    assert len(losses) == len(VARIANTS)


def _rank(rank, world_size, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    results = {}
    for number, variant in enumerate(VARIANTS):
        for cached in (False, True):
            parts = gradients(rank, *variant, chunk=5 - rank, cached=cached, gather=True)  # ranks cut differently
            for part in parts:
                dist.all_reduce(part)
            results[f"{number}/{cached}"] = parts
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_derive_the_same_cached_and_plain(tmp_path):
    on_two_ranks(_rank, RANKS, str(tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS))
    for number in range(len(VARIANTS)):
        torch.testing.assert_close(first[f"{number}/True"], first[f"{number}/False"], rtol=1e-12, atol=1e-13)
        assert all(torch.equal(a, b) for a, b in zip(first[f"{number}/True"], second[f"{number}/True"], strict=True))
