"""A trained model as MLflow keeps and serves it."""

import ast
import sys
from importlib.resources import files
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from small_models import TEXTS, embed, tiny_model

from xling.model.source import save_folder
from xling.track.mlflow import CellTracker
from xling.track.store import connect


@pytest.fixture
def tracker(new_store):
    folder = new_store().parent
    with CellTracker(f"sqlite:///{folder}/mlflow.db", "demo", "demo", "c1", folder / "spool") as opened:
        yield opened


@pytest.mark.filterwarnings("error::UserWarning")
def test_mlflow_serves_the_models_embeddings(tracker, tmp_path, monkeypatch):
    loaded = tiny_model(tmp_path)
    save_folder(tmp_path / "runs #1" / "model", loaded)
    tracker.log_model(tmp_path / "runs #1" / "model")
    assert tracker.flush()
    assert tracker.problems == ()
    assert not list((tracker.spool.folder / "files").iterdir()), "the spool keeps no copy of what is delivered"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.key.uri)
    served = mlflow.pyfunc.load_model(f"runs:/{tracker.run_id}/model")
    kept = Path(connect(tracker.key.uri).download_artifacts(tracker.run_id, "model", str(tmp_path)))
    files = [file for file in kept.rglob("*") if file.is_file() and file.name != "MLmodel"]
    assert {file.suffix for file in files} == {".json", ".yaml", ".txt", ".py", ".safetensors"}, "no pickle"
    texts = [*TEXTS, " ".join(TEXTS)]
    queries = embed(loaded, [f"q: {text}" for text in texts], max_tokens=24).numpy()
    passages = embed(loaded, [f"p: {text}" for text in texts], max_tokens=48).numpy()
    assert abs(queries - passages).max() > 1e-2, "a text of the wrong kind would not be noticed"

    found = served.predict(pd.DataFrame({"text": texts, "kind": "query"}))
    assert (found.shape, found.dtype) == ((len(texts), 32), np.float32)
    np.testing.assert_allclose(found, queries, rtol=0, atol=1e-6)
    np.testing.assert_allclose(served.predict(pd.DataFrame({"text": texts})), passages, rtol=0, atol=1e-6)
    mixed = pd.DataFrame({"text": [texts[-1]] * 3, "kind": ["query", None, "passage"]})
    expected = np.stack([queries[-1], passages[-1], passages[-1]])
    np.testing.assert_allclose(served.predict(mixed), expected, rtol=0, atol=1e-6)
    assert served.metadata.signature.outputs.inputs[0].shape == (-1, 32)
    with pytest.raises(ValueError, match="kind is 'question', must be query or passage"):
        served.predict(pd.DataFrame({"text": ["a"], "kind": ["question"]}))


def test_what_mlflow_keeps_of_our_code_does_without_us():
    """It runs where this package is not installed."""
    code = files("xling.track").joinpath("served_model.py").read_text("utf-8")
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {str(getattr(node, "module", None) or node.names[0].name).split(".")[0] for node in imported}
    served_with = {"mlflow", "numpy", "pandas", "sentence_transformers"}
    assert names - set(sys.stdlib_module_names) == served_with


def test_a_model_that_cannot_be_kept_is_reported_and_fails_nothing(tracker, tmp_path):
    tracker.log_model(tmp_path / "gone")
    assert "is not in MLflow: CheckpointError: model folder" in tracker.problems[0]
    tracker.log_text("still here", "note.txt")
    assert tracker.flush()
    (held,) = connect(tracker.key.uri).list_artifacts(tracker.run_id)
    assert held.path == "note.txt"
