"""MKQA: questions and short answers."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from xling.config.schema import DatasetConfig
from xling.data.records import ParallelItem
from xling.data.samples.facts import FACTS, TITLES
from xling.data.samples.parallel import FIXTURES
from xling.data.sets.mkqa import LANGUAGES, Mkqa
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[4] / "shared/data/mkqa/test_mkqa.jsonl.gz"


def items(path: Path, **options: Any) -> list[ParallelItem]:
    return list(Mkqa().read_items(DatasetConfig(dataset="mkqa", path=str(path), **options)).items)


def rows(folder: Path) -> list[dict[str, Any]]:
    FIXTURES["mkqa"].write(folder, "mkqa")
    return [json.loads(line) for line in gzip.decompress((folder / "mkqa.jsonl.gz").read_bytes()).splitlines()]


def test_the_answer_stands_for_a_passage(tmp_path: Path) -> None:
    rows(tmp_path)
    found = items(tmp_path)
    assert [item.id for item in found] == [str(563260143484355911 + number) for number in range(len(TITLES))]
    assert found[1].texts["zh_cn"].question == FACTS["zh"][1][1]
    assert found[1].texts["zh_cn"].passage == "多瑙河"
    assert sorted(found[0].texts) == ["ar", "de", "en", "zh_cn"]


def test_questions_without_a_short_answer_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows(tmp_path)
    with caplog.at_level(logging.WARNING):
        items(tmp_path)
    assert "mkqa: 1 questions without a short answer left out, 5 kept" in caplog.text


def test_the_first_answer_with_a_text_is_taken(tmp_path: Path) -> None:
    written = rows(tmp_path)
    written[0]["answers"]["en"] = [{"type": "date", "text": None}, {"type": "date", "text": " 1889 "}, {"text": "x"}]
    written[1]["answers"]["en"] = []
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, written)))
    found = items(tmp_path / "rows.jsonl")
    assert found[0].texts["en"].passage == "1889"
    assert "en" not in found[1].texts


def test_equal_answers_are_one_passage_so_that_no_negative_is_false(tmp_path: Path) -> None:
    written = rows(tmp_path)
    for row in written[:2]:
        row["answers"]["en"] = [{"type": "binary", "text": "yes"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, written)))
    one, two, *_ = items(tmp_path / "rows.jsonl")
    assert one.texts["en"].passage_id == two.texts["en"].passage_id
    assert one.article != two.article


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"example_id": None}, "`example_id` is null, must be an id without white space"),
        ({"queries": ["who?"]}, r"`queries` is \[\"who\?\"\], must be an object with at least one language"),
        ({"answers": {"en": "yes"}}, '`answers.en` is "yes", must be a list of objects'),
        ({"answers": {"en": [{"text": 7}]}}, "`text` is 7, must be a text"),
        ({"queries": {"en": " "}}, '`en` is " ", must be a text that is not empty'),
        ({"queries": {"klingonish": "x"}}, "`queries`: 'klingonish' is no language"),
    ],
)
def test_wrong_rows_are_named_or_left_out(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    written = rows(tmp_path)
    written[2].update(change)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, written)))
    with pytest.raises(DataError, match=f"rows.jsonl:3: {problem}"):
        items(tmp_path / "rows.jsonl")
    assert len(items(tmp_path / "rows.jsonl", bad_rows="skip")) == len(TITLES) - 1


def test_an_id_given_twice_is_a_bad_row(tmp_path: Path) -> None:
    written = rows(tmp_path)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, [*written, written[0]])))
    with pytest.raises(DataError, match=r"rows.jsonl:7: `example_id` is 563260143484355911, which an earlier row has"):
        items(tmp_path / "rows.jsonl")


def test_the_published_rows() -> None:
    if not REAL.is_file():
        pytest.skip(f"{REAL.name} is not at hand")
    with gzip.open(REAL, "rt") as file:
        raw = [json.loads(line) for line in file]
    answered = [row for row in raw if any(a["text"] for answers in row["answers"].values() for a in answers)]
    found = items(REAL)
    assert sorted(item.id for item in found) == sorted(str(row["example_id"]) for row in answered)
    assert len(answered) < len(raw) == 6
    assert set(found[0].texts) <= set(LANGUAGES)
    assert len(found[0].texts) == 26
