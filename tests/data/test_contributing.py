"""The data set that CONTRIBUTING.md adds is one that works as it stands there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.errors import DataError

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> registry.Adapter:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    registry.names()
    monkeypatch.setattr(registry, "_adapters", dict(registry._adapters))
    module = types.ModuleType("pairs_tsv")
    monkeypatch.setitem(sys.modules, "pairs_tsv", module)
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
    return registry.get("pairs-tsv")


def test_the_page_shows_a_whole_adapter(adapter: registry.Adapter, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    names = (("de", "German"), ("en", "en"))
    rows = [(n, name, f"{code} {n}?", f"{code} {n}.") for n in range(12) for code, name in names]
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    config = DatasetConfig(dataset="pairs-tsv", path=str(path))
    assert registry.problems(config, "train") == []
    training, dev = adapter.load_training(config), adapter.load_dev(config)
    assert (len(training.items), training.languages) == (11, ("de", "en"))
    assert {code: len(queries) for code, queries in dev.queries.items()} == {"de": 1, "en": 1}
    path.write_text(path.read_text() + "12\tfr\tQuoi?\tCela.\n")
    with pytest.raises(DataError, match=r"pairs.tsv:25: the language is 'fr', must be de or en"):
        adapter.load_training(config)
    skipped = adapter.load_training(config.model_copy(update={"bad_rows": "skip"}))
    assert skipped.fingerprint == training.fingerprint
