"""A trained model in MLflow's layout: what ``mlflow.pyfunc.load_model`` reads, without any pickle."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

from xling.model.layout import read_json, read_layout

# What a machine needs that serves the model.
_PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "safetensors", "torch", "numpy", "pandas")


def save_served(model: Path, to: Path, *, trust_remote_code: bool = False) -> None:
    """Write a folder of ours as an MLflow model, the folder itself, its code and its signature.

    Args:
        model: what :func:`xling.model.source.save_folder` wrote.
        to: a folder that does not exist yet.
        trust_remote_code: the model brings code of its own, which is run where it is loaded.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    layout = read_layout(model)
    width = read_json(model / "1_Pooling" / "config.json")["word_embedding_dimension"]
    dimension = layout.dense.out_features if layout.dense is not None else width
    with warnings.catch_warnings():
        # With an example, MLflow would load the model here and embed it.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        mlflow.pyfunc.save_model(
            path=str(to),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": model.resolve().as_uri()},  # MLflow would cut a plain path at a #
            model_config={"trust_remote_code": trust_remote_code},
            signature=ModelSignature(
                inputs=Schema([ColSpec("string", "text"), ColSpec("string", "kind", required=False)]),
                outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, dimension))]),
            ),
            # Named, since MLflow would else load the model in a process of its own to find them out.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _PACKAGES],
        )
