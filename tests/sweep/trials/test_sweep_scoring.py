"""Whose embeddings an evaluation of a sweep clears, without a cluster."""

import numpy as np
import pytest
from small_models import tiny_model
from small_sweeps import load

from xling.config.schema import EvaluationConfig
from xling.data.stored import store_retrieval
from xling.model.source import save_folder
from xling.sweep.trials import scoring


class Seen(Exception):
    """The evaluation would begin."""


def test_evaluations_of_equal_weights_clear_none_but_their_own_embeddings(tmp_path, monkeypatch):
    _, study, root = load(tmp_path)
    job, stores = study.cells[0], []
    (evaluation,) = job.evaluations
    store_retrieval(root, study.retrievals[evaluation.fingerprint])
    save_folder(tmp_path / "encoder", tiny_model(tmp_path))

    def begin(*_, home, **__):
        stores.append(home.store(EvaluationConfig(), "float32", on_gpu=False))
        stores.append(home.store(EvaluationConfig(keep_embeddings=True), "float32", on_gpu=False))
        raise Seen

    monkeypatch.setattr(scoring, "evaluate_model", begin)
    for path in ("small/cells/one", "small/cells/other", "small/cells/one"):
        root.child(path).upload(tmp_path / "encoder", "model")
        about = {"step": 12, "total_steps": 12, "dev": None, "languages": ["de", "en"]}
        root.write_json(f"{path}/model/trained.json", about)
        with pytest.raises(Seen):
            scoring.score(root, path, job, evaluation)
    one, kept, other, kept_too, one_again, _ = stores
    assert one == one_again, "an attempt goes on with what the one before encoded"
    assert kept == kept_too, "what is kept is shared"
    vectors_XD = np.eye(2, dtype=np.float32)
    for store in (one, kept, other):
        store.write("block", vectors_XD, {})
    one.clear()
    assert one.find("block") is None
    assert other.find("block") is not None
    assert kept.find("block") is not None
