from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.fingerprint import fingerprint, fingerprint_items
from xling.data.records import ParallelItem, TextPair
from xling.errors import ConfigError


def problems(role: registry.Role, **fields: Any) -> dict[str, str]:
    return dict(registry.problems(DatasetConfig(**fields), role))


@pytest.fixture
def parallel(tmp_path: Path) -> Path:
    texts = {code: {"question": "q?", "passage": "p"} for code in ("en", "es")}
    rows = [json.dumps({"id": str(n), "title": f"T{n}", "texts": texts}) for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    return tmp_path / "rows.jsonl"


def test_shipped_data_sets_are_registered() -> None:
    assert {"geo", "mlqa-r", "parallel-jsonl", "xquad-r"} <= set(registry.names())
    assert registry.names() == sorted(registry.names())


@pytest.mark.parametrize("name", ["geo", "mlqa-r", "parallel-jsonl", "xquad-r"])
def test_adapters_declare_what_they_are(name: str) -> None:
    adapter = registry.get(name)
    assert adapter.name == name
    assert adapter.summary
    assert adapter.options <= DatasetConfig.model_fields.keys()
    assert adapter.can_train or adapter.splits


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"is 'xqad-r', must be one of .*; did you mean 'xquad-r'"):
        registry.get("xqad-r")
    assert "did you mean 'parallel-jsonl'" in problems("train", dataset="parallel-json")["dataset"]


def test_a_name_is_registered_once() -> None:
    class Second(registry.Adapter):
        name: ClassVar[str] = "xquad-r"

        def available_languages(self, config: DatasetConfig) -> tuple[str, ...]:
            return ()

    registry.names()
    with pytest.raises(ValueError, match="two adapters are named 'xquad-r'"):
        registry.register(Second)
    assert type(registry.get("xquad-r")) is not Second


def test_evaluation_sets_cannot_be_trained_on(tmp_path: Path) -> None:
    found = problems("train", dataset="xquad-r", path=str(tmp_path))
    assert "train on one of" in found["dataset"]
    assert "parallel-jsonl" in found["dataset"]
    with pytest.raises(ConfigError, match="'xquad-r' cannot be trained on"):
        registry.get("xquad-r").load_training(DatasetConfig(dataset="xquad-r", path=str(tmp_path)))


def test_right_configurations_have_no_problems(parallel: Path) -> None:
    assert problems("train", dataset="geo") == {}
    assert problems("evaluate", dataset="geo") == {}
    assert problems("train", dataset="parallel-jsonl", path=str(parallel)) == {}
    options = {"languages": ("en",), "titles": ("T1", "T2")}
    assert problems("evaluate", dataset="parallel-jsonl", path=str(parallel), split="dev", **options) == {}


def test_path_is_asked_for_and_must_exist(tmp_path: Path) -> None:
    assert problems("train", dataset="parallel-jsonl")["path"].startswith("is missing, must name a .jsonl")
    assert "google-research-datasets/lareqa" in problems("evaluate", dataset="mlqa-r")["path"]
    assert "does not exist" in problems("evaluate", dataset="xquad-r", path=str(tmp_path / "no"))["path"]
    assert "a folder; it must name" in problems("train", dataset="parallel-jsonl", path=str(tmp_path))["path"]
    assert "holds none of ar.json" in problems("evaluate", dataset="xquad-r", path=str(tmp_path))["path"]


def test_an_unknown_language_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "de.json").write_text('{"data": []}')
    config = DatasetConfig(dataset="xquad-r", path=str(tmp_path), languages=("de", "xx"))
    ((field, text),) = registry.problems(config, "evaluate")
    assert (field, text.split(",")[0]) == ("languages", "is 'xx'")


def test_options_a_set_does_not_take_are_refused(tmp_path: Path) -> None:
    found = problems("train", dataset="geo", path=str(tmp_path))
    assert "geo does not take it; remove it" in found["path"]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        "train",
        dataset="parallel-jsonl",
        path=str(tmp_path / "no"),
        languages=("en", "en"),
        titles=(),
        split="dev",
    )
    assert found.keys() == {"path", "languages", "titles", "split"}
    assert "names 'en' more than once" in found["languages"]
    assert "is empty" in found["titles"]
    assert "only an evaluation set takes a split" in found["split"]


def test_split_must_be_one_of_the_set(parallel: Path) -> None:
    assert (
        "is 'test', must be one of dev"
        in problems("evaluate", dataset="parallel-jsonl", path=str(parallel), split="test")["split"]
    )


def test_languages_must_be_codes_the_set_has(parallel: Path) -> None:
    source = {"dataset": "parallel-jsonl", "path": str(parallel)}
    assert "must be one of en, es" in problems("train", **source, languages=("en", "fr"))["languages"]
    assert "'English' is not a language code" in problems("train", **source, languages=("English",))["languages"]
    assert "did you mean 'es'" in problems("train", **source, languages=("spa",))["languages"]
    assert "did you mean 'T1'" in problems("train", **source, titles=("T1x",))["titles"]


def test_a_changed_file_is_read_again(parallel: Path) -> None:
    source = {"dataset": "parallel-jsonl", "path": str(parallel)}
    assert problems("train", **source, languages=("it",))
    parallel.write_text(parallel.read_text().replace('"es"', '"it"'))
    assert not problems("train", **source, languages=("it",))


def test_broken_file_is_a_problem_not_a_crash(parallel: Path) -> None:
    parallel.write_text('{"id": "1", "te')
    found = problems("train", dataset="parallel-jsonl", path=str(parallel), languages=("en",))
    assert "rows.jsonl:1: is not a whole JSON object" in found["path"]


def test_fingerprint_keeps_boundaries() -> None:
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"]) != fingerprint(["abc"])
    assert fingerprint(["ä"]) == fingerprint(["ä".encode()])
    assert fingerprint(["golden"]) == "544ea79fbfd6908f34d15720b991ed25"  # part of cells' identities: must never change


def test_fingerprint_of_items_sees_every_field() -> None:
    def item(**changes: str) -> ParallelItem:
        fields = {"id": "1", "article": "A", "question": "q", "passage": "p", "passage_id": "en/1", **changes}
        pair = TextPair(fields["question"], fields["passage"], fields["passage_id"])
        return ParallelItem(fields["id"], fields["article"], {"en": pair})

    variants = [item(), *(item(**{field: "x"}) for field in ("id", "article", "question", "passage", "passage_id"))]
    digests = [fingerprint_items(("en",), [variant]) for variant in variants]
    assert len(set(digests)) == len(variants)
    assert fingerprint_items(("de",), [item()]) not in digests
    assert fingerprint_items(("en",), [item()]) == digests[0]


def test_fingerprint_of_items_sees_their_hard_negatives() -> None:
    def item(*negatives: str) -> ParallelItem:
        return ParallelItem("1", "A", {"en": TextPair("q", "p", "en/1", negatives)})

    texts = {"en/2": "x", "en/3": "y"}
    without = fingerprint_items(("en",), [item()])
    assert fingerprint_items(("en",), [item()], {}) == without
    digests = {
        without,
        fingerprint_items(("en",), [item("en/2", "en/3")], texts),
        fingerprint_items(("en",), [item("en/3", "en/2")], texts),
        fingerprint_items(("en",), [item("en/2")], texts),
        fingerprint_items(("en",), [item("en/2", "en/3")], texts | {"en/3": "z"}),
    }
    assert len(digests) == 5
