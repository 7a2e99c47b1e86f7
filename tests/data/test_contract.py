"""What every registered data set keeps to, whoever wrote its adapter."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.records import RetrievalSet, TrainingSet
from xling.data.samples import SAMPLES
from xling.data.stored import load_retrieval, store_retrieval
from xling.errors import XlingError
from xling.evaluate.layout import build_layout
from xling.languages import check_language
from xling.storage import Storage

NAMES = registry.names()
EVALUATED = [name for name in NAMES if registry.get(name).splits]
TRAINED = [name for name in NAMES if registry.get(name).can_train]


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DatasetConfig:
    name = request.param
    assert name in SAMPLES, f"write a sample of {name!r} in xling/data/samples"
    folder = tmp_path / "sample"
    folder.mkdir()
    return SAMPLES[name](folder)


def each(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("config", names, indirect=True)


@each(NAMES)
def test_an_adapter_says_what_it_is(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    assert adapter.name == config.dataset
    for text in (adapter.summary, adapter.licence, adapter.files):
        assert text.strip() == text != ""
        assert "\n" not in text
    assert adapter.options <= DatasetConfig.model_fields.keys() - {"dataset", "split"}
    assert adapter.can_train or adapter.splits
    assert bool(adapter.path_needed) <= ("path" in adapter.options)


@each(NAMES)
def test_the_sample_has_no_problems(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    assert not adapter.splits or registry.problems(config, "evaluate") == []
    assert not adapter.can_train or registry.problems(config, "train") == []
    languages = adapter.available_languages(config)
    assert languages
    assert [check_language(code) for code in languages] == list(languages)
    assert len(set(languages)) == len(languages)


def check_ids(ids: list[str]) -> None:
    assert len(set(ids)) == len(ids)
    assert all(identifier.split() == [identifier] for identifier in ids)


def check_retrieval(retrieval: RetrievalSet) -> None:
    languages = retrieval.languages
    assert languages
    assert set(languages) == set(retrieval.queries) == set(retrieval.passages)
    queries = [query for language in languages for query in retrieval.queries[language]]
    assert queries
    check_ids([query.id for query in queries])
    check_ids([passage.id for language in languages for passage in retrieval.passages[language]])
    for language in languages:
        assert all(query.language == language and query.text.strip() for query in retrieval.queries[language])
        passages = list(retrieval.passages[language])
        assert all(passage.language == language and passage.text.strip() for passage in passages)
        keys = [passage.id.encode() for passage in passages]
        assert keys == sorted(keys, reverse=True)
    known = {query.id for query in queries}
    assert set(retrieval.qrels) | set(retrieval.answers) <= known
    assert bool(retrieval.qrels) != bool(retrieval.answers)
    assert len(retrieval.fingerprint) == 32


@each(EVALUATED)
def test_an_evaluation_set_is_whole_and_the_same_twice(config: DatasetConfig, tmp_path: Path) -> None:
    adapter = registry.get(config.dataset)
    retrieval = adapter.load_evaluation(config)
    check_retrieval(retrieval)
    if retrieval.qrels:
        layout = build_layout(retrieval)
        assert layout.query_count == sum(map(len, retrieval.queries.values()))
    again = adapter.load_evaluation(config)
    assert again.fingerprint == retrieval.fingerprint
    storage = Storage(str(tmp_path / "storage"))
    store_retrieval(storage, retrieval)
    loaded = load_retrieval(storage, retrieval.fingerprint)
    check_retrieval(loaded)
    assert {code: list(loaded.passages[code]) for code in loaded.languages} == {
        code: list(retrieval.passages[code]) for code in retrieval.languages
    }
    assert (loaded.qrels, loaded.measures) == (retrieval.qrels, retrieval.measures)


@each(EVALUATED)
def test_languages_restrict_an_evaluation_set(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    whole = adapter.load_evaluation(config)
    first = next(language for language in whole.languages if whole.queries[language])
    part = adapter.load_evaluation(config.model_copy(update={"languages": (first,)}))
    assert [language for language in part.languages if part.queries[language]] == [first]
    assert {query.id for query in part.queries[first]} == {query.id for query in whole.queries[first]}
    assert (part.fingerprint == whole.fingerprint) == (whole.languages == (first,))


@each([name for name in TRAINED if "languages" in registry.get(name).options])
def test_languages_restrict_a_training_set(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    last = adapter.load_training(config).languages[-1]
    training = adapter.load_training(config.model_copy(update={"languages": (last,)}))
    assert training.languages == (last,)
    assert {code for item in training.items for code in item.texts} == {last}


@each(TRAINED)
def test_a_training_set_is_whole_and_the_same_twice(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    training = adapter.load_training(config)
    assert isinstance(training, TrainingSet)
    check_ids([item.id for item in training.items])
    texts: dict[str, str] = {}
    for item in training.items:
        assert item.texts.keys() <= set(training.languages)
        assert item.texts
        assert item.article
        for pair in item.texts.values():
            assert pair.question.strip()
            assert pair.passage.strip()
            assert texts.setdefault(pair.passage_id, pair.passage) == pair.passage
            assert set(pair.negatives) <= training.negatives.keys()
            assert pair.passage_id not in pair.negatives
    assert adapter.load_training(config).fingerprint == training.fingerprint
    dev = adapter.load_dev(config)
    check_retrieval(dev)
    assert not {item.article for item in training.items} & {
        passage.article for passages in dev.passages.values() for passage in passages if config.dataset != "geo"
    }


@each(TRAINED)
def test_the_sample_leaves_batches_of_four(config: DatasetConfig) -> None:
    items = registry.get(config.dataset).load_training(config).items
    languages = Counter(code for item in items for code in item.texts)
    assert max(languages.values()) >= 4
    pairs = Counter(pair for item in items for pair in combinations(sorted(item.texts), 2))
    assert not pairs or max(pairs.values()) >= 4


@each(EVALUATED)
def test_the_sample_has_every_split(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    for split in adapter.splits:
        assert adapter.load_evaluation(config.model_copy(update={"split": split})).queries


@each([name for name in NAMES if "path" in registry.get(name).options])
def test_what_is_wrong_is_told_and_not_a_traceback(config: DatasetConfig, tmp_path: Path) -> None:
    """Every file of the sample in turn is emptied, cut, made binary, and taken away."""
    adapter = registry.get(config.dataset)
    files = sorted(path for path in Path(str(config.path)).rglob("*") if path.is_file()) or [Path(str(config.path))]
    loads = [
        *([adapter.load_evaluation] if adapter.splits else []),
        *([adapter.load_training] if adapter.can_train else []),
    ]
    messages: list[str] = []
    for path in files:
        whole = path.read_bytes()
        for content in (b"", whole[: len(whole) // 2], b"\xff\xfe\x00" * 50, b"[" * 50_000, b"x\n" * 3, None):
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            messages += [message for load in loads if (message := error_of(load, config)) is not None]
            registry.problems(config, "evaluate" if adapter.splits else "train")
        path.write_bytes(whole)
    assert messages
    assert all(messages)
    assert error_of(loads[0], config) is None
    assert error_of(loads[0], config.model_copy(update={"path": str(tmp_path / "nowhere")}))


@each([name for name in NAMES if "path" in registry.get(name).options])
def test_byte_order_marks_and_foreign_line_ends_change_nothing(config: DatasetConfig) -> None:
    adapter = registry.get(config.dataset)
    loads = [
        *([adapter.load_evaluation] if adapter.splits else []),
        *([adapter.load_training] if adapter.can_train else []),
    ]
    before = [load(config).fingerprint for load in loads]
    for path in [path for path in Path(str(config.path)).rglob("*") if path.is_file()] or [Path(str(config.path))]:
        content = path.read_bytes()
        zipped = content.startswith(b"\x1f\x8b")
        text = gzip.decompress(content) if zipped else content
        text = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")
        path.write_bytes(gzip.compress(text) if zipped else text)
    assert [load(config).fingerprint for load in loads] == before


def error_of(load: Callable[[DatasetConfig], object], config: DatasetConfig) -> str | None:
    """The user's error that loading ends in; anything else but success is raised."""
    try:
        load(config)
    except XlingError as error:
        return str(error).strip()
    return None
