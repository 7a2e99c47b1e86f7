from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from xling.config.load import LoadedSweep, load_sweep
from xling.errors import ConfigError

BASE = """\
name: small
data:
  train: {dataset: geo}
model: {preset: tiny}
"""


class SweepFiles:
    """Writes sweep files into a folder of their own, as ``s.yaml``, and loads them."""

    base = BASE

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s.yaml"

    def write(self, text: str) -> Path:
        self.path.write_text(dedent(text), encoding="utf-8")
        return self.path

    def load(self, text: str, *overrides: str, checks: tuple = ()) -> LoadedSweep:
        self.write(text)
        return load_sweep(Path("s.yaml"), overrides, checks)

    def problems(self, text: str, *overrides: str, checks: tuple = ()) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, *overrides, checks=checks)
        return caught.value.problems

    def with_grid(self, text: str) -> str:
        return BASE + "grid:\n" + "".join(f"  {line}\n" for line in dedent(text).strip().splitlines())


@pytest.fixture
def sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFiles:
    monkeypatch.chdir(tmp_path)
    return SweepFiles(tmp_path)


@pytest.fixture
def one_cell(sweeps: SweepFiles) -> Callable[..., object]:
    """Load a file without a grid; gives its only cell's configuration."""

    def load(text: str, *overrides: str) -> object:
        (cell,) = sweeps.load(text, *overrides).cells
        return cell.config

    return load
