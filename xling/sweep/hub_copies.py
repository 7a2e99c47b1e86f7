"""Hub models copied to the storage, where every node of a cluster reaches them; without torch, for `xling gc`."""

from __future__ import annotations

import time
from pathlib import Path

from xling.config.schema import ModelConfig
from xling.model.digest import weights_digest
from xling.storage import Storage

HUB_MODELS = "hub-models"  # of the storage, with a folder for each
COPIED = "copied.json"  # the last file of such a folder


def put_model(root: Storage, folder: Path) -> str:
    """Copy a model's folder to the storage by what it holds, where it is not there whole; its URL there."""
    path = f"{HUB_MODELS}/{weights_digest(ModelConfig(path=str(folder))).rpartition(':')[2]}"
    if not root.exists(f"{path}/{COPIED}"):
        root.upload(folder, path)
        root.write_json(f"{path}/{COPIED}", {"time": time.time()})
    return root.locate(path)
