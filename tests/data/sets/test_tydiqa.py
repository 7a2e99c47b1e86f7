from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.files import BadRows
from xling.data.records import RetrievalSet
from xling.data.samples.files import write_squad
from xling.data.samples.retrieval import MORE_TYDI, TYDI, tydiqa_goldp
from xling.data.sets.tydiqa import LANGUAGES, TydiqaGoldp
from xling.data.squad_format import read_squad
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "tydiqa" / "goldp-sample"


def load(path: Path, **options: Any) -> RetrievalSet:
    return TydiqaGoldp().load_evaluation(DatasetConfig(dataset="tydiqa-goldp", path=str(path), **options))


def test_candidates_are_the_distinct_contexts_of_a_language(tmp_path: Path) -> None:
    tydiqa_goldp(tmp_path)
    retrieval = load(tmp_path)
    assert retrieval.languages == ("ar", "fi")
    assert not retrieval.cross_lingual
    assert {code: len(found) for code, found in retrieval.passages.items()} == {"ar": 2, "fi": 3}
    assert len(retrieval.queries["fi"]) == 4
    one, other = (retrieval.qrels[f"fi/{key}"] for key in ("finnish--5-1", "finnish-7-2"))
    assert one == other
    (passage_id,) = one
    (passage,) = [passage for passage in retrieval.passages["fi"] if passage.id == passage_id]
    assert (passage.text, passage.article) == ("Nokia on kaupunki. Se on Pirkanmaalla.", "Nokia")
    assert retrieval.qrels["fi/finnish-8-0"] != one


@pytest.mark.parametrize(
    "name", ["tydiqa.goldp.{code}.dev.json", "tydiqa-goldp-dev-{language}.json", "tydiqa.{code}.json"]
)
def test_one_file_a_language_is_the_same_set(tmp_path: Path, name: str) -> None:
    tydiqa_goldp(tmp_path)
    whole = load(tmp_path)
    folder = tmp_path / "single"
    for code in ("ar", "fi"):
        write_squad(folder / name.format(code=code, language=LANGUAGES[code]), TYDI[LANGUAGES[code]])
    assert load(folder).fingerprint == whole.fingerprint
    config = DatasetConfig(dataset="tydiqa-goldp", path=str(folder))
    assert registry.get("tydiqa-goldp").available_languages(config) == ("ar", "fi")
    with pytest.raises(DataError, match=r"has no tydiqa\.goldp\.ko\.dev\.json; add it"):
        load(folder, languages=("ko",))


def test_the_hubs_flat_rows_are_the_same_set(tmp_path: Path) -> None:
    tydiqa_goldp(tmp_path)
    questions = list(read_squad(tmp_path / "tydiqa-goldp-v1.1-dev.json", BadRows(strict=True)))
    rows = [
        {"id": q.id, "title": q.title, "context": q.context, "question": q.question,
         "answers": {"text": [text for text, _ in q.answers], "answer_start": [start for _, start in q.answers]}}
        for q in questions
    ]  # fmt: skip
    (tmp_path / "hub" / "secondary_task").mkdir(parents=True)
    path = tmp_path / "hub" / "secondary_task" / "validation-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert load(tmp_path / "hub").fingerprint == load(path).fingerprint == load(tmp_path).fingerprint


def test_ids_say_the_language(tmp_path: Path) -> None:
    path = write_squad(tmp_path / "tydiqa.goldp.fi.dev.json", TYDI["arabic"] | TYDI["finnish"])
    with pytest.raises(
        DataError, match=r"data\[0\]\.paragraphs\[0\]\.qas\[0\]: `id` is 'arabic-12-0', must begin with finnish"
    ):
        load(tmp_path)
    assert load(tmp_path, bad_rows="skip").languages == ("fi",)
    write_squad(path, {"T": {"abc": [("12", "?", "a")]}})
    with pytest.raises(DataError, match="must begin with finnish"):
        load(tmp_path)
    with pytest.raises(DataError, match="must begin with a language's name"):
        load(path)


def test_languages_and_places_are_checked(tmp_path: Path) -> None:
    tydiqa_goldp(tmp_path)
    assert load(tmp_path, languages=("fi",)).languages == ("fi",)
    with pytest.raises(DataError, match="has no question in 'ko'"):
        load(tmp_path, languages=("ko",))
    with pytest.raises(DataError, match="is 'de', must be one of ar"):
        load(tmp_path, languages=("de",))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no GoldP file of split dev"):
        load(empty)
    found = dict(registry.problems(DatasetConfig(dataset="tydiqa-goldp", path=str(empty)), "evaluate"))
    assert "holds no GoldP file" in found["path"]


def test_the_train_split_is_trained_on_with_articles_held_out(tmp_path: Path) -> None:
    config = tydiqa_goldp(tmp_path)
    training, dev = TydiqaGoldp().load_training(config), TydiqaGoldp().load_dev(config)
    asked = {item.id for item in training.items} | {
        query.id.partition("/")[2] for queries in dev.queries.values() for query in queries
    }
    written = [paragraphs for articles in (*TYDI.values(), MORE_TYDI) for paragraphs in articles.values()]
    assert asked == {key for paragraphs in written for questions in paragraphs.values() for key, _, _ in questions}
    assert len(training.items) < len(asked)
    assert all(len(item.texts) == 1 for item in training.items)
    (item,) = [item for item in training.items if item.id == "finnish-7-2"]
    assert item.article == "Nokia"
    assert item.texts["fi"].passage == "Nokia on kaupunki. Se on Pirkanmaalla."
    (tmp_path / "tydiqa-goldp-v1.1-dev.json").unlink()
    assert registry.problems(config, "train") == []
    assert TydiqaGoldp().load_training(config).fingerprint == training.fingerprint
    with pytest.raises(DataError, match="holds no GoldP file of split dev"):
        load(tmp_path)


@pytest.mark.skipif(not REAL.exists(), reason="needs the TyDi QA samples beside the repository")
def test_the_primary_task_is_not_taken_for_gold_passages() -> None:
    with pytest.raises(DataError, match=r"tiny_dev\.jsonl\.gz:2: a second JSON document begins here"):
        load(REAL.parent / "tiny_dev.jsonl.gz")


@pytest.mark.skipif(not REAL.exists(), reason="needs the TyDi QA samples beside the repository")
def test_real_samples_are_read_in_nine_languages() -> None:
    retrieval = load(REAL)
    assert retrieval.languages == tuple(LANGUAGES)
    assert all(len(retrieval.queries[code]) == len(retrieval.passages[code]) == 1 for code in LANGUAGES)
    assert all(list(row.values()) == [1] for row in retrieval.qrels.values())
