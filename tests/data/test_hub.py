from __future__ import annotations

from pathlib import Path

import pytest

from xling.config.schema import DatasetConfig
from xling.data.hub import fetch
from xling.errors import DataError


def config(path: Path | None) -> DatasetConfig:
    return DatasetConfig(dataset="mkqa", path=None if path is None else str(path))


def test_the_users_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("data/rows.jsonl", "rows.jsonl", "other"):
        (tmp_path / name).touch()
    assert fetch(config(tmp_path), "o/r", "data/rows.jsonl") == tmp_path / "data" / "rows.jsonl"
    (tmp_path / "data" / "rows.jsonl").unlink()
    assert fetch(config(tmp_path), "o/r", "data/rows.jsonl") == tmp_path / "rows.jsonl"
    (tmp_path / "rows.jsonl").unlink()
    assert fetch(config(tmp_path), "o/r", "data/rows.jsonl", names=["no", "other"]) == tmp_path / "other"
    with pytest.raises(DataError, match=r"has no data/rows\.jsonl; put that file there \(from o/r\)"):
        fetch(config(tmp_path), "o/r", "data/rows.jsonl")


def test_the_hubs_cache_is_used_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError) as caught:
        fetch(config(None), "o/r", "rows.jsonl")
    assert "dataset 'mkqa': rows.jsonl of o/r cannot be had" in str(caught.value)
    assert "name its folder as `path`" in str(caught.value)
    commit = "0" * 40
    (tmp_path / "datasets--o--r" / "refs").mkdir(parents=True)
    (tmp_path / "datasets--o--r" / "refs" / "main").write_text(commit)
    snapshot = tmp_path / "datasets--o--r" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "rows.jsonl").write_text("{}")
    assert fetch(config(None), "o/r", "rows.jsonl").read_text() == "{}"


def test_a_set_without_a_hub_asks_for_its_folder() -> None:
    with pytest.raises(DataError, match=r"dataset 'mkqa' needs `path`: a folder with rows\.jsonl"):
        fetch(config(None), "", "rows.jsonl")
