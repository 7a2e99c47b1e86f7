"""SQuAD and its translations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.records import ParallelItem
from xling.data.samples.facts import FACTS, QUESTION_IDS, TITLES
from xling.data.samples.parallel import FIXTURES, squad
from xling.data.sets.item_adapter import ItemAdapter
from xling.errors import DataError


def items(name: str, path: Path, **options: Any) -> list[ParallelItem]:
    adapter = registry.get(name)
    assert isinstance(adapter, ItemAdapter)
    return list(adapter.read_items(DatasetConfig(dataset=name, path=str(path), **options)).items)


def as_parquet(nested: bytes, path: Path) -> None:
    rows = []
    for article in json.loads(nested)["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                sides = question["answers"]
                answers = {
                    key: [answer[name] for answer in sides] for key, name in (("text", "text"), ("answer_start",) * 2)
                }
                flat = {"title": article["title"], "context": paragraph["context"], "answers": answers}
                rows.append({**flat, "id": question["id"], "question": question["question"]})
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_questions_passage_is_its_paragraph(tmp_path: Path) -> None:
    (tmp_path / "train-v1.1.json").write_bytes(squad("en"))
    found = items("squad", tmp_path / "train-v1.1.json")
    assert [item.id for item in found] == sorted(QUESTION_IDS)
    assert [item.article for item in found] == list(TITLES)
    assert found[1].texts["en"].question == FACTS["en"][1][1]
    assert found[1].texts["en"].passage == FACTS["en"][1][2]
    assert items("squad", tmp_path) == found


def test_flat_rows_of_the_hub_are_the_same_items(tmp_path: Path) -> None:
    (tmp_path / "train-v1.1.json").write_bytes(squad("en"))
    as_parquet(squad("en"), tmp_path / "rows.parquet")
    assert items("squad", tmp_path / "rows.parquet") == items("squad", tmp_path / "train-v1.1.json")


def test_equal_paragraphs_are_one_passage(tmp_path: Path) -> None:
    document = json.loads(squad("en"))
    paragraph = document["data"][0]["paragraphs"][0]
    again = {**paragraph, "qas": [{**paragraph["qas"][0], "id": "other"}]}
    document["data"].append({"title": "Elsewhere", "paragraphs": [again]})
    (tmp_path / "x.json").write_text(json.dumps(document))
    by_id = {item.id: item.texts["en"].passage_id for item in items("squad", tmp_path / "x.json")}
    assert by_id["other"] == by_id[QUESTION_IDS[0]]
    assert len(set(by_id.values())) == len(TITLES)


def test_titles_choose_articles_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "train-v1.1.json").write_bytes(squad("en"))
    assert [item.article for item in items("squad", tmp_path, titles=("Vienna",))] == ["Vienna"]
    with pytest.raises(DataError, match="did you mean 'Vienna'"):
        items("squad", tmp_path, titles=("Viena",))


def test_wrong_rows_stop_or_are_left_out(tmp_path: Path) -> None:
    document = json.loads(squad("en"))
    document["data"][2]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 999
    (tmp_path / "train-v1.1.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"train-v1.1.json:data\[2\].paragraphs\[0\].qas\[0\]: .*999 lies outside"):
        items("squad", tmp_path)
    assert len(items("squad", tmp_path, bad_rows="skip")) == len(TITLES) - 1


def test_translations_join_by_question_id(tmp_path: Path) -> None:
    FIXTURES["squad-translate-train"].write(tmp_path, "squad-translate-train")
    short = json.loads(squad("ar"))
    del short["data"][3]  # one question could not be translated
    short["data"][0]["title"] = "برج"
    (tmp_path / "squad.translate.train.en-ar.json").write_text(json.dumps(short))
    found = items("squad-translate-train", tmp_path)
    every = ["ar", "de", "en", "zh"]
    assert [sorted(item.texts) for item in found] == [*[every] * 3, ["de", "en", "zh"], every]
    assert [item.article for item in found] == list(TITLES), "articles go by the English title"
    assert found[2].texts["ar"].passage == FACTS["ar"][2][2]
    without_english = items("squad-translate-train", tmp_path, languages=("ar", "de"))
    assert [sorted(item.texts) for item in without_english] == [*[["ar", "de"]] * 3, ["de"], ["ar", "de"]]


def test_xtremes_own_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "squad" / "translate-train").mkdir(parents=True)
    (tmp_path / "squad/translate-train/squad.translate.train.en-de.json").write_bytes(squad("de"))
    (tmp_path / "squad/train-v1.1.json").write_bytes(squad("en"))
    assert sorted(items("squad-translate-train", tmp_path)[0].texts) == ["de", "en"]


def test_an_answer_that_translation_moved_is_no_error_but_in_english(tmp_path: Path) -> None:
    FIXTURES["squad-translate-train"].write(tmp_path, "squad-translate-train")
    moved = json.loads(squad("de"))
    moved["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 3
    (tmp_path / "squad.translate.train.en-de.json").write_text(json.dumps(moved))
    assert len(items("squad-translate-train", tmp_path)) == len(TITLES)
    (tmp_path / "train-v1.1.json").write_text(json.dumps(moved))
    with pytest.raises(DataError, match="`answer_start` 3 points at"):
        items("squad-translate-train", tmp_path)


def test_untitled_questions_of_one_paragraph_are_one_article(tmp_path: Path) -> None:
    document = json.loads(squad("en"))
    for article in document["data"]:
        article["title"] = ""
    paragraph = document["data"][0]["paragraphs"][0]
    paragraph["qas"].append({**paragraph["qas"][0], "id": "second"})
    (tmp_path / "x.json").write_text(json.dumps(document))
    articles = {item.id: item.article for item in items("squad", tmp_path / "x.json")}
    assert articles["second"] == articles[QUESTION_IDS[0]]
    assert len(set(articles.values())) == len(TITLES)


@pytest.mark.parametrize("parquet", [False, True])
def test_questions_without_an_answer_are_left_out_and_counted(tmp_path: Path, caplog, parquet: bool) -> None:
    document = json.loads(squad("en"))
    whole = tmp_path / "whole.json"
    whole.write_bytes(squad("en"))
    for number, article in enumerate(document["data"][:3]):
        more = {"id": f"u{number}", "question": "Of what?", "answers": [], "is_impossible": True}
        article["paragraphs"][0]["qas"].append(more)
    path = tmp_path / ("v2.parquet" if parquet else "v2.json")
    if parquet:
        as_parquet(json.dumps(document).encode(), path)
    else:
        path.write_text(json.dumps(document))
    assert items("squad", path) == items("squad", whole)
    assert f"squad: 3 questions without an answer left out, {len(QUESTION_IDS)} kept" in caplog.text
