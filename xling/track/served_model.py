"""What MLflow runs where a tracked model is loaded: texts in, embeddings out.

MLflow keeps a copy of this file with each model, so it must do without this package: sentence-transformers
is all that a machine needs which serves the model. That it names the model as it is imported is how MLflow
takes models from code.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray

KINDS = ("passage", "query")  # the first is what a text is taken for that does not say


class Embedder(PythonModel):
    """Rows of ``text``, and of ``kind`` where there is such a column, to unit vectors, one a row."""

    def load_context(self, context: Any) -> None:
        from sentence_transformers import SentenceTransformer

        folder = Path(context.artifacts["model"])
        trusted = bool((context.model_config or {}).get("trust_remote_code"))
        self._model = SentenceTransformer(str(folder), trust_remote_code=trusted)
        settings = json.loads((folder / "xling.json").read_text(encoding="utf-8"))["settings"]
        self._limits = {kind: settings[f"max_{kind}_tokens"] for kind in KINDS}
        self._one_at_a_time = threading.Lock()  # the model has one limit, set anew for each kind

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Embeddings ``[rows, D]``, float32. Raises ValueError for a kind that is none."""
        texts = model_input["text"].astype(str).to_numpy()
        kinds = np.full(len(texts), KINDS[0], object)
        if "kind" in model_input:
            given = model_input["kind"]
            kinds = given.where(given.notna(), KINDS[0]).to_numpy()
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"kind is {kind!r}, must be query or passage; leave it out for passages")
        dimension = self._model.get_embedding_dimension()
        vectors_XD = np.zeros((len(texts), dimension), np.float32)
        with self._one_at_a_time:
            for kind in KINDS:
                rows = np.flatnonzero(kinds == kind)
                if len(rows):
                    self._model.max_seq_length = self._limits[kind]
                    vectors_XD[rows] = self._model.encode(
                        texts[rows].tolist(), prompt_name=kind, show_progress_bar=False
                    )
        return vectors_XD


mlflow.models.set_model(Embedder())
