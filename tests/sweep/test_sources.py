"""Models as they are named on the command line: what a preset, a hub id and a cell's label stand for."""

import shutil

import huggingface_hub
import preset_folders
import pytest
import torch
from preset_folders import LAYOUTS
from small_models import TEXTS, embed

from xling.model.layout import TextSettings
from xling.model.source import load_folder
from xling.storage import Storage
from xling.sweep.sources import model_sources

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
E5 = "intfloat/multilingual-e5-base"


@pytest.fixture
def in_hub_cache(tmp_path, monkeypatch):
    """Puts a model of E5's layout into a hub cache under an id; there is no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(preset_folders.SHAPE, "max_position_embeddings", 300)
    folder = LAYOUTS["e5-base"](tmp_path / "published")

    def put(hub_id):
        repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        shutil.copytree(folder, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        return folder

    return put


def loaded(name, root):
    ((known, source),) = model_sources(name, root).items()
    assert known == name
    with source.folder() as folder:
        return load_folder(folder)


@pytest.mark.parametrize("name", [E5, "e5-base"])
def test_a_presets_hub_id_and_its_name_have_its_prefixes(in_hub_cache, tmp_path, name):
    folder = in_hub_cache(E5)
    found = loaded(name, Storage(str(tmp_path / "runs")))
    assert found.settings == TextSettings("query: ", "passage: ", 96, 256, "mean")
    assert torch.equal(embed(found, list(TEXTS)), embed(load_folder(folder), list(TEXTS)))


def test_another_hub_model_is_what_its_own_files_say(in_hub_cache, tmp_path):
    folder = in_hub_cache("org/encoder")
    found = loaded("org/encoder", Storage(str(tmp_path / "runs")))
    assert found.settings == load_folder(folder).settings == TextSettings("query: ", "passage: ", 64, 64, "mean")
