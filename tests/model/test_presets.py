import subprocess
import sys
from pathlib import Path

import pytest

from xling.errors import ConfigError
from xling.model import presets
from xling.model.encoder import build_backbone


def test_sizes_are_listed_smallest_first():
    assert presets.names() == ["tiny", "mini", "mid", "small", "base", "large"]
    sizes = [presets.get(name).parameters() for name in presets.names()]
    assert sizes == sorted(sizes)
    assert all(presets.get(name).summary.startswith(("built: ", "hub: ")) for name in presets.names())


@pytest.mark.parametrize("name", ["tiny", "mini", "mid"])
def test_built_presets_know_their_parameters(name):
    preset = presets.get(name)
    backbone = build_backbone(preset, vocab_size=300, positions=100, pad_id=0, dropout=None, seed=0)
    backbone.pooler = None
    assert sum(p.numel() for p in backbone.parameters()) == preset.parameters(vocab_size=300, positions=100)


def test_positions_follow_the_longest_text():
    assert presets.get("tiny").positions(40) == 96
    assert presets.get("tiny").positions(256) == 256


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="'tiny' is registered already"):
        presets.register(presets.BuiltPreset("tiny", hidden=8, layers=1, heads=1))
    assert presets.get("tiny").hidden == 32


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"`model.preset` is 'tinny', must be one of .*did you mean 'tiny'\?"):
        presets.get("tinny")


def test_the_registry_needs_no_torch():
    """Configuration checks read it."""
    code = "import sys, xling.model.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]).returncode == 0
