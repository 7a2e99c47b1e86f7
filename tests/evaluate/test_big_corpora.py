"""Candidates in a memory-mapped corpus score as the same candidates in memory do, to the last bit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_encoders import toy_model
from toy_sets import assert_equals_trec_eval, toy_set, toy_tokens

from xling.config.schema import EvaluationConfig
from xling.data.corpus import Corpus
from xling.data.corpus_build import RawPassage, ensure_corpus
from xling.data.files import BadRows
from xling.data.records import RetrievalSet
from xling.evaluate.pairs import evaluate_local
from xling.storage import Storage


def on_disk(retrieval: RetrievalSet, folder: Path) -> RetrievalSet:
    """The same set with each language's passages in a corpus."""
    passages: dict[str, Corpus] = {}
    for language in retrieval.languages:
        rows = retrieval.passages[language]
        raw = folder / f"{language}.txt"
        raw.write_text(f"{language} {rows}")

        def read(path: Path, bad: BadRows, rows=rows) -> Iterator[RawPassage]:
            return (RawPassage(n, row.id, row.text, row.article) for n, row in enumerate(reversed(rows)))

        passages[language] = ensure_corpus("toy", language, [raw], read, BadRows(strict=True))
    return replace(retrieval, passages=passages)


@pytest.mark.parametrize("cross_lingual", [True, False])
def test_results_and_run_files_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cross_lingual: bool
) -> None:
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "cache"))
    retrieval = toy_set(3, cross_lingual=cross_lingual)
    tokens, settings = toy_tokens(retrieval, 3), EvaluationConfig(run_files=True)
    results = {}
    for name, scored in (("memory", retrieval), ("disk", on_disk(retrieval, tmp_path))):
        results[name] = evaluate_local(toy_model(), scored, tokens, settings, run_folder=Storage(str(tmp_path / name)))
        assert assert_equals_trec_eval(results[name], tmp_path / name) > 100
    assert results["memory"].to_json() == results["disk"].to_json()
    assert results["memory"].per_query.to_pydict() == results["disk"].per_query.to_pydict()
    files = sorted(file.name for file in (tmp_path / "memory").iterdir())
    assert len(files) > 2
    for file in files:
        assert (tmp_path / "memory" / file).read_bytes() == (tmp_path / "disk" / file).read_bytes()
