"""Several training sets as one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.merge import load_dev, load_training
from xling.data.overlap import find_overlap
from xling.data.samples.parallel import FIXTURES
from xling.errors import DataError


def rows(folder: Path, name: str, articles: range, *, codes: tuple[str, ...] = ("en", "es")) -> DatasetConfig:
    """A file of two questions an article; what is about an article is the same in every file."""
    written = [
        {
            "id": f"{article}.{number}",
            "title": f"A{article}",
            "texts": {c: {"question": f"{c} {article}.{number}?", "passage": f"{c} text {article}"} for c in codes},
        }
        for article in articles
        for number in range(2)
    ]
    (folder / name).write_text("\n".join(map(json.dumps, written)))
    return DatasetConfig(dataset="parallel-jsonl", path=str(folder / name))


def test_one_set_is_left_as_it_is(tmp_path: Path) -> None:
    config = rows(tmp_path, "a.jsonl", range(10))
    adapter = registry.get("parallel-jsonl")
    assert load_training([config]) == adapter.load_training(config)
    assert load_dev([config]) == adapter.load_dev(config)


def test_ids_and_passages_stand_under_their_sets_name(tmp_path: Path) -> None:
    configs = [rows(tmp_path, "a.jsonl", range(10)), rows(tmp_path, "b.jsonl", range(100, 120), codes=("de", "en"))]
    merged = load_training(configs)
    assert merged.name == "parallel-jsonl + parallel-jsonl-2"
    assert merged.languages == ("de", "en", "es")
    assert merged.sets == (("parallel-jsonl", 18), ("parallel-jsonl-2", 36))
    first, last = merged.items[0], merged.items[-1]
    assert len(merged.items) == 54
    assert first.id.startswith("parallel-jsonl/")
    assert last.id.startswith("parallel-jsonl-2/")
    assert last.texts["de"].passage_id.startswith("parallel-jsonl-2/de/")
    assert first.article.startswith("A")
    assert [item.id for item in merged.items[16:20]] == [merged.items[i].id for i in range(16, 20)]
    with pytest.raises(IndexError):
        merged.items[54]


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one, other = rows(tmp_path, "a.jsonl", range(10)), rows(tmp_path, "b.jsonl", range(100, 120))
    merged = load_training([one, other]).fingerprint
    assert merged == load_training([one, other]).fingerprint
    assert merged != load_training([other, one]).fingerprint
    assert merged != load_training([one, rows(tmp_path, "b.jsonl", range(100, 121))]).fingerprint


def test_what_one_set_holds_out_no_other_trains_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    configs = [rows(tmp_path, "a.jsonl", range(100)), rows(tmp_path, "b.jsonl", range(50, 64))]
    alone = [registry.get("parallel-jsonl").load_training(config) for config in configs]
    devs = [registry.get("parallel-jsonl").load_dev(config) for config in configs]
    assert any(find_overlap(alone[i], devs[1 - i]).any for i in range(2)), "nothing to leave out: widen the ranges"
    with caplog.at_level(logging.WARNING):
        merged = load_training(configs)
    assert not any(find_overlap(merged, dev).any for dev in devs)
    assert not find_overlap(merged, load_dev(configs)).any
    assert "items left out, which the dev splits of the other sets hold out" in caplog.text


def test_dev_sets_are_pooled_and_told_apart(tmp_path: Path) -> None:
    configs = [rows(tmp_path, "a.jsonl", range(10)), rows(tmp_path, "b.jsonl", range(100, 120), codes=("de", "en"))]
    dev = load_dev(configs)
    assert dev.languages == ("de", "en", "es")
    assert {query.strata["set"] for query in dev.queries["en"]} == {"parallel-jsonl", "parallel-jsonl-2"}
    known = {passage.id for passages in dev.passages.values() for passage in passages}
    for code in dev.languages:
        for query in dev.queries[code]:
            assert dev.qrels[query.id].keys() <= known


def test_the_same_data_twice_is_refused(tmp_path: Path) -> None:
    one = rows(tmp_path, "a.jsonl", range(10))
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    copy = DatasetConfig(dataset="parallel-jsonl", path=str(tmp_path / "copy.jsonl"))
    with pytest.raises(DataError, match="parallel-jsonl and parallel-jsonl-2 are the same data"):
        load_training([one, copy])


def test_a_set_held_out_whole_is_refused(tmp_path: Path) -> None:
    large = rows(tmp_path, "a.jsonl", range(20))
    dev = registry.get("parallel-jsonl").load_dev(large)
    articles = sorted({int(passage.article[1:]) for passage in dev.passages["en"]})
    assert len(articles) == 2
    small = rows(tmp_path, "b.jsonl", range(0))
    written = [
        {"id": f"x{a}", "title": f"A{a}", "texts": {"en": {"question": f"q{a}", "passage": f"p{a}"}}} for a in articles
    ]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, written)))
    with pytest.raises(DataError, match="all items of parallel-jsonl-2 are held out"):
        load_training([large, small])


def test_hard_negatives_and_names_keep_their_texts(tmp_path: Path) -> None:
    options: dict[str, Any] = {"languages": ("de", "en")}
    configs = [FIXTURES["mmarco"].write(tmp_path, "mmarco"), DatasetConfig(dataset="geo", **options)]
    alone, merged = registry.get("mmarco").load_training(configs[0]), load_training(configs)
    assert len(merged.negatives) == len(alone.negatives)
    item, twin = merged.items[0], alone.items[0]
    assert item.texts["ar"].negatives == tuple(f"mmarco/{passage_id}" for passage_id in twin.texts["ar"].negatives)
    for passage_id in item.texts["ar"].negatives:
        assert merged.negatives[passage_id] == alone.negatives[passage_id.removeprefix("mmarco/")]
    assert merged.names[0].id.startswith("geo/")
    assert merged.names_fingerprint
