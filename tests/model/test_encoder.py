import pytest
import torch
from small_models import TEXTS, tiny_model
from transformers import AutoModel, BertConfig, XLMRobertaConfig

from xling.config import presets
from xling.model.encoder import DualEncoder
from xling.model.fresh import build_backbone

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def build(seed=0, dropout=None):
    return build_backbone(presets.get("tiny"), vocab_size=50, positions=96, pad_id=0, dropout=dropout, seed=seed)


def weights(backbone):
    return torch.cat([parameter.detach().flatten() for parameter in backbone.parameters()])


@pytest.fixture
def batch():
    ids_BT = torch.tensor([[2, 7, 8, 9, 3], [2, 7, 3, 0, 0]])
    return ids_BT, (ids_BT != 0).long()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_are_the_pooled_hidden_states_at_length_one(batch, pooling):
    encoder = DualEncoder(build(), pooling).eval()
    embeddings_BD = encoder(*batch)
    hidden_BTD = encoder.backbone(input_ids=batch[0], attention_mask=batch[1]).last_hidden_state
    pooled = [hidden_BTD[0].mean(0), hidden_BTD[1, :3].mean(0)] if pooling == "mean" else [*hidden_BTD[:, 0]]
    expected_BD = torch.stack([vector / vector.norm() for vector in pooled])
    assert embeddings_BD.dtype == torch.float32
    assert embeddings_BD.shape == (2, encoder.dimension)
    torch.testing.assert_close(embeddings_BD, expected_BD, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_does_not_change_an_embedding(batch, pooling):
    encoder = DualEncoder(build(), pooling).eval()
    ids_BT, mask_BT = (torch.nn.functional.pad(part, (0, 11)) for part in batch)
    torch.testing.assert_close(encoder(ids_BT, mask_BT), encoder(*batch), rtol=0, atol=1e-6)


def test_pooling_stays_float32_under_autocast(batch):
    encoder = DualEncoder(build(), "mean").eval()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings_BD = encoder(*batch)
    assert embeddings_BD.dtype == torch.float32
    torch.testing.assert_close(embeddings_BD.norm(dim=-1), torch.ones(2), rtol=0, atol=1e-6)


def test_every_parameter_gets_a_gradient(batch):
    """Distributed training waits for all of them."""
    backbone = AutoModel.from_config(BertConfig(**SMALL))
    assert backbone.pooler is not None
    encoder = DualEncoder(backbone, "mean")
    (encoder(*batch) * torch.arange(32)).sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []


def test_counts_leave_out_embedding_tables():
    encoder = DualEncoder(build(), "mean")
    tables = (50 + 96 + 2) * 32
    assert encoder.parameters_total == presets.get("tiny").parameters(vocab_size=50, positions=96)
    assert encoder.parameters_non_embedding == encoder.parameters_total - tables


def test_max_tokens_counts_usable_positions():
    roberta = XLMRobertaConfig(**SMALL, max_position_embeddings=34, pad_token_id=1)
    encoder = DualEncoder(AutoModel.from_config(roberta), "mean").eval()
    assert DualEncoder(build(), "mean").max_tokens == 96
    assert encoder.max_tokens == 32
    ids_BT = torch.full((1, 32), 5)
    assert encoder(ids_BT, torch.ones_like(ids_BT)).isfinite().all()


def test_weights_hang_on_the_seed_alone():
    torch.manual_seed(1)
    first = weights(build(seed=3))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = weights(build(seed=3))
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, weights(build(seed=4)))


def test_dropout_is_off_unless_asked_for(batch):
    off, on = DualEncoder(build(), "mean").train(), DualEncoder(build(dropout=0.3), "mean").train()
    assert torch.equal(off(*batch), off(*batch))
    assert not torch.equal(on(*batch), on(*batch))


def test_training_repeats_bit_by_bit_with_dropout(tmp_path):
    tokenizer = tiny_model(tmp_path).tokenizer
    batch = tokenizer(list(TEXTS), padding=True, return_tensors="pt")

    def train():
        backbone = build_backbone(
            presets.get("mini"), vocab_size=len(tokenizer), positions=96, pad_id=0, dropout=0.1, seed=0
        )
        encoder = DualEncoder(backbone, "mean").train()
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
        torch.manual_seed(5)
        for _ in range(5):
            optimizer.zero_grad()
            embeddings_BD = encoder(batch["input_ids"], batch["attention_mask"])
            (embeddings_BD @ embeddings_BD.T).logsumexp(1).sum().backward()
            optimizer.step()
        return weights(encoder)

    assert torch.equal(train(), train())
