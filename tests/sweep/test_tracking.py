"""Where a storage may keep MLflow's runs."""

import shutil
from pathlib import Path

import pytest
from small_sweeps import load

from xling.errors import ConfigError
from xling.sweep.launch import launch
from xling.track.mlflow import CellTracker


def no_display(jobs):
    raise AssertionError("it shows something")


@pytest.mark.parametrize("name", ["runs?", "runs%41", "a?b/runs"])
def test_a_storage_whose_path_is_no_part_of_a_uri_is_refused_before_anything_is_written(tmp_path, name):
    loaded, _, root = load(tmp_path, f"storage='{tmp_path}/{name}'")
    with pytest.raises(ConfigError, match=r"storage is '.*', must be without .* rename the folder, or set tracking"):
        launch(loaded, no_display)
    assert not Path(root.url).exists()


def test_a_name_with_another_odd_character_is_none_of_mlflows_business(tmp_path, empty_store):
    from xling.track.store import default_store

    for name in ("a#b", "50% x", "ü ñ", "100%", "a&b=c;d"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        uri, artifacts = default_store(str(folder))
        with CellTracker(uri, "demo", "demo", "c1", folder / "spool", artifact_root=artifacts) as tracker:
            tracker.log_text("figures", "table.txt")
        assert tracker.problems == ()
        assert {path.name for path in folder.iterdir()} >= {"mlflow.db", "mlartifacts"}
        assert next((folder / "mlartifacts").rglob("table.txt")).read_text() == "figures"
