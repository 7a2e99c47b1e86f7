"""Damaged files of every data set: what comes of them is a set that keeps the records' rules, or a user's error.

Every adapter with a sample is fuzzed, so a new one needs nothing here. The fast suite takes a few
dozen cases of each, the slow one the rest, over 10,000 in all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import Damage, damaged, damages
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.records import RetrievalSet, TrainingSet
from xling.data.samples import SAMPLES
from xling.errors import XlingError

FEW, MANY = 40, 740


def squad_parquet(folder: Path) -> DatasetConfig:
    answers = {"text": ["one"], "answer_start": [4]}
    rows = [
        {"id": f"q{n}", "title": f"T{n}", "context": f"The one {n}.", "question": "Which?", "answers": answers}
        for n in range(20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return DatasetConfig(dataset="squad", path=str(folder / "rows.parquet"))


FUZZED: dict[str, Callable[[Path], DatasetConfig]] = {
    **{name: write for name, write in SAMPLES.items() if "path" in registry.get(name).options},
    "squad, parquet": squad_parquet,
}


def fuzz(cases: int, name: str) -> None:
    """Damage one or two files of a sample and load it, ``cases`` times."""

    @settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(st.integers(0, 99), damages, st.booleans()), min_size=1, max_size=2), st.booleans())
    def run(files: list[tuple[int, list[Damage], bool]], skip: bool) -> None:
        scratch = Path(tempfile.mkdtemp(dir=pytest_folder))
        try:
            config = FUZZED[name](scratch)
            written = sorted(path for path in scratch.rglob("*") if path.is_file())
            for pick, changes, inside in files:
                path = written[pick % len(written)]
                path.write_bytes(damaged(path.read_bytes(), changes, inside=inside))
            load(config.model_copy(update={"bad_rows": "skip"}) if skip and takes_bad_rows(config) else config)
        finally:
            shutil.rmtree(scratch)

    pytest_folder = tempfile.mkdtemp()
    try:
        run()
    finally:
        shutil.rmtree(pytest_folder)


def takes_bad_rows(config: DatasetConfig) -> bool:
    return "bad_rows" in registry.get(config.dataset).options


def load(config: DatasetConfig) -> None:
    """All that an adapter can be asked; what it gives is checked, and nothing but a user's error may come out."""
    adapter = registry.get(config.dataset)
    role: registry.Role = "train" if adapter.can_train else "evaluate"
    assert all(text for _, text in registry.problems(config, role))
    loads: list[Callable[[DatasetConfig], TrainingSet | RetrievalSet]] = []
    if adapter.can_train:
        loads += [adapter.load_training, adapter.load_dev]
    if adapter.splits:
        loads.append(adapter.load_evaluation)
    for ask in loads:
        found = outcome(ask, config)
        if isinstance(found, TrainingSet):
            check_training(found)
        elif isinstance(found, RetrievalSet):
            check_retrieval(found)
        else:
            assert found.strip()
            found.encode()  # a terminal can print it


def outcome(ask: Callable[[DatasetConfig], TrainingSet | RetrievalSet], config: DatasetConfig) -> Any:
    """The set, or the message of the user's error."""
    try:
        return ask(config)
    except XlingError as error:
        return str(error)


def check_training(training: TrainingSet) -> None:
    assert training.items
    ids = [item.id for item in training.items]
    assert len(set(ids)) == len(ids)
    for item in training.items:
        assert item.id.split() == [item.id]
        for pair in item.texts.values():
            for text in (pair.question, pair.passage, *(training.negatives[key] for key in pair.negatives)):
                assert text.strip()
                text.encode()


def check_retrieval(retrieval: RetrievalSet) -> None:
    queries = {query.id: query for code in retrieval.languages for query in retrieval.queries[code]}
    passages = {passage.id: passage for code in retrieval.languages for passage in retrieval.passages[code]}
    assert len(queries) == sum(map(len, retrieval.queries.values()))
    assert len(passages) == sum(map(len, retrieval.passages.values()))
    for entry in (*queries.values(), *passages.values()):
        assert entry.id.split() == [entry.id]
        entry.text.encode()
    assert all(query.text.strip() for query in queries.values())
    # LAReQA's rule makes every pair of offsets a candidate, a blank one too: its paragraph is encoded with it.
    assert all((passage.text + passage.context).strip() for passage in passages.values())
    assert retrieval.qrels.keys() <= queries.keys()
    for grades in retrieval.qrels.values():
        assert all(isinstance(grade, int) for grade in grades.values())


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_are_told_or_read(name: str) -> None:
    fuzz(FEW, name)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FUZZED)
def test_many_damaged_files_are_told_or_read(name: str) -> None:
    assert MANY * len(FUZZED) >= 10_000 - FEW * len(FUZZED)
    fuzz(MANY, name)
