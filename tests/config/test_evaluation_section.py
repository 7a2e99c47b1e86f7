import pytest

from xling.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{kind: flat, nprobe: 8}", "of kind 'flat' takes no parameter, not nprobe; remove that"),
        ("{kind: ivf, M: 16}", "of kind 'ivf' takes nlist, nprobe, segment, not M; remove that"),
        ("{kind: ivf, nlist: 8, nprobe: 9}", "has nprobe 9, must be at most nlist, 8; lower it"),
        ("{kind: hsnw}", "evaluation.index.kind"),
        ("{kind: ivf, nprobes: 9}", "nprobe"),
    ],
)
def test_an_index_refuses_what_its_kind_would_ignore(sweeps, given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sweeps.load(sweeps.base, f"evaluation.index={given}")
    assert said in str(caught.value)
    assert "evaluation.index" in str(caught.value)


@pytest.mark.parametrize("given", ["4", "4GB", "-1GiB", "0GiB", "much"])
def test_a_budget_is_a_size_in_binary_units(sweeps, given: str) -> None:
    with pytest.raises(ConfigError, match="must be a size above 0 in KiB, MiB, GiB or TiB"):
        sweeps.load(sweeps.base, f"evaluation.memory_budget='{given}'")


def test_a_budget_has_one_spelling_and_is_read_in_bytes(sweeps) -> None:
    section = sweeps.load(sweeps.base, "evaluation.memory_budget=1.50 GiB").config.evaluation
    assert (section.memory_budget, section.memory_bytes) == ("1.5GiB", 3 * 2**29)


def test_the_floor_of_free_space_is_such_a_size_too_and_may_be_none(sweeps) -> None:
    assert sweeps.load(sweeps.base).config.min_free_bytes == 2**30
    config = sweeps.load(sweeps.base, "min_free_space=0.0MiB").config
    assert (config.min_free_space, config.min_free_bytes) == ("0MiB", 0)
    with pytest.raises(ConfigError, match="min_free_space is '2GB', must be a size in KiB, MiB, GiB or TiB"):
        sweeps.load(sweeps.base, "min_free_space=2GB")
