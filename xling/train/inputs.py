"""What a worker reads, all from storage: the plan's inputs, the tokens, the weights to start from.

The sweep's process writes them once (:func:`store_inputs`); workers need neither the raw files
nor the texts.

    data/<fingerprint>/items.npz    ids, languages, passage keys, rows in the token tables; hard negatives if any
"""

from __future__ import annotations

import io
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from xling.batching.passages import all_passage_keys
from xling.batching.plan import Plan
from xling.batching.sources import SetShare
from xling.config.schema import CellConfig, ModelConfig
from xling.data.records import TrainingSet
from xling.data.training_tokens import TrainingRows, TrainingTokens, open_training, tokenize_training
from xling.errors import DataError
from xling.model.source import LoadedModel, load_folder, load_start, save_folder
from xling.model.tokenizer import tokenizer_digest, tokenizer_path
from xling.storage import Storage
from xling.train.optim import steps_of_budget
from xling.train.trained import MODEL_MARKER
from xling.train.trained import about_model as about_model
from xling.train.trained import trained_languages as trained_languages


@dataclass(frozen=True, slots=True)
class Inputs:
    """The batches of a run and the tokens they are made of."""

    plan: Plan
    total_steps: int  # what the budget buys
    tokens: TrainingTokens
    negative_keys_N: npt.NDArray[np.int64]  # passage keys of ``tokens.rows.negatives_N``, as the plan's


def store_inputs(root: Storage, training: TrainingSet, start: LoadedModel, *, names: bool = False) -> TrainingTokens:
    """Tokenise a training set (or its names) and write what :func:`load_inputs` reads."""
    digest = tokenizer_digest(start.tokenizer)
    tokens = tokenize_training(root, start.tokenizer, digest, training, start.settings, names=names)
    path = _items_path(training.names_fingerprint if names else training.fingerprint)
    if not root.exists(path):
        items = training.names if names else training.items
        keys = all_passage_keys(training, names=names)
        arrays: dict[str, Any] = {
            "ids": np.array([item.id for item in items]),
            "languages": np.array(training.languages),
            "keys_IL": keys.passages_IL,
            "queries_IL": tokens.rows.queries_IL,
            "passages_IL": tokens.rows.passages_IL,
        }
        if training.sets and not names:
            arrays["sets"] = np.array([name for name, _ in training.sets])
            arrays["set_items"] = np.array([count for _, count in training.sets])
        if training.negatives:
            arrays |= {"negatives_N": tokens.rows.negatives_N, "offsets": tokens.rows.offsets}
            arrays["negative_keys_N"] = keys.negatives_N
        sink = io.BytesIO()
        np.savez_compressed(sink, **arrays)
        root.write(path, sink.getvalue())
    return tokens


def load_inputs(root: Storage, fingerprint: str, start: LoadedModel, config: CellConfig) -> Inputs:
    """Raises DataError: the data have no such batches as the mix asks for (see the plan); or the tokens are gone."""
    arrays = _read_arrays(root, _items_path(fingerprint))
    tokens = open_training(
        root,
        start.tokenizer,
        tokenizer_digest(start.tokenizer),
        fingerprint,
        TrainingRows(**{field: arrays[field] for field in TrainingRows._fields if field in arrays}),
        start.settings,
    )
    total_steps = steps_of_budget(
        config.train,
        parameters=start.encoder.parameters_non_embedding,
        tokens_per_pair=tokens.mean_tokens_per_pair(config.train.hard_negatives),
    )
    plan = Plan(
        item_ids=arrays["ids"].tolist(),
        languages=arrays["languages"].tolist(),
        passages_IL=arrays["keys_IL"],
        mix=config.mix,
        batch_size=config.train.batch_size,
        total_steps=total_steps,
        seed=config.seed,
        sets=_shares(arrays, config),
    )
    return Inputs(plan, total_steps, tokens, arrays.get("negative_keys_N", np.zeros(0, np.int64)))


def _read_arrays(root: Storage, path: str) -> dict[str, Any]:
    """Raises DataError for a file that is not NumPy's, or that holds anything but numbers and texts."""
    data = root.read(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, TypeError, BadZipFile) as error:
        raise DataError(
            f"{root.locate(path)} cannot be read ({error}); delete it, the next launch writes it again"
        ) from error


def _shares(arrays: dict[str, Any], config: CellConfig) -> list[SetShare]:
    """Of several training sets: what was stored of them, with the weights of this cell."""
    if "sets" not in arrays:
        return []
    weights = [entry.weight for entry in config.data.training_sets]
    return [SetShare(*of) for of in zip(arrays["sets"].tolist(), arrays["set_items"].tolist(), weights, strict=True)]


def load_start_model(root: Storage, config: CellConfig, *, texts: str, weights: str, warm: str | None) -> LoadedModel:
    """The weights a job starts from: its warm start's where it has one, else those of its model.

    Args:
        texts: fingerprint of the training set that a tokenizer is learnt from.
        weights: digest that the job's identity was made with; other weights are refused.
        warm: id of the finished warm start.
    """
    if warm is not None:
        with root.local_copy(f"warm/{warm}/model") as folder:
            return load_folder(folder, dropout=config.model.dropout, trust_remote_code=config.model.trust_remote_code)
    return load_untrained(root, config.model, config.seed, texts, weights)


def load_untrained(root: Storage, model: ModelConfig, seed: int, texts: str, weights: str) -> LoadedModel:
    """A model before any training of ours, with the tokenizer of ``texts`` where it learns one."""
    path = tokenizer_path(texts, model.learnt_vocabulary)
    with root.local_copy(path) if model.learns_tokenizer else nullcontext() as folder:
        return load_start(model, seed, folder, digest=weights)


def publish_model(job: Storage, loaded: LoadedModel, about: dict[str, Any]) -> None:
    """Write a job's trained model as a folder that Hugging Face and sentence-transformers read, its marker last."""
    with tempfile.TemporaryDirectory(prefix="xling-") as scratch:
        save_folder(Path(scratch), loaded)
        job.upload(Path(scratch), "model")
    job.write_json(MODEL_MARKER, about)


def _items_path(fingerprint: str) -> str:
    return f"data/{fingerprint}/items.npz"
