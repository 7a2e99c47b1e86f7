from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Big corpora are built below a folder of the test's own."""
    folder: Path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XLING_CACHE", str(folder))
