import pytest
import torch

from xling.config.schema import BudgetConfig, TrainConfig
from xling.errors import ConfigError
from xling.train.optim import build_optimizer, learning_rate, steps_of_budget


def test_rate_rises_to_its_peak_then_falls_to_zero():
    config = TrainConfig(lr=1.0, warmup=0.1)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10] == pytest.approx(1.0)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_cosine_is_half_way_in_the_middle_and_constant_stays():
    assert learning_rate(50, 100, TrainConfig(lr=1.0, warmup=0.0, decay="cosine")) == pytest.approx(0.5)
    assert learning_rate(99, 100, TrainConfig(lr=1.0, warmup=0.0, decay="constant")) == 1.0


def test_no_weight_decay_on_biases_and_norms():
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    decayed, spared = build_optimizer(layer, TrainConfig(weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 3)]
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    assert len(spared["params"]) == 3


@pytest.mark.parametrize(
    ("budget", "steps"),
    [({"steps": 7}, 7), ({"examples": 100}, 6), ({"flops": 6 * 1000 * 20 * 16 * 5.5}, 5), ({"steps": 0}, 0)],
)
def test_a_budget_buys_whole_steps(budget, steps):
    config = TrainConfig(batch_size=16, budget=BudgetConfig(**budget))
    assert steps_of_budget(config, parameters=1000, tokens_per_pair=20) == steps


def test_a_budget_that_buys_no_step_is_refused():
    config = TrainConfig(batch_size=16, budget=BudgetConfig(examples=15))
    with pytest.raises(ConfigError, match=r"`train.budget.examples` is 15, must be at least 16"):
        steps_of_budget(config, parameters=1000, tokens_per_pair=20)
    config = TrainConfig(batch_size=16, budget=BudgetConfig(flops=6 * 1000 * 20 * 8))
    with pytest.raises(ConfigError, match=r"`train.budget.flops` is 960000, must be at least 1.92e\+06, .* 16 pairs"):
        steps_of_budget(config, parameters=1000, tokens_per_pair=20)
