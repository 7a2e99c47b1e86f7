"""MIRACL and BEIR's folders as sets to train on: questions with judged passages out of their corpora."""

from __future__ import annotations

from pathlib import Path

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.samples import SAMPLES
from xling.data.sets.item_adapter import ItemAdapter, Items
from xling.data.sets.miracl import Miracl
from xling.errors import DataError


@pytest.fixture(params=["beir", "miracl"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> DatasetConfig:
    return SAMPLES[request.param](tmp_path)


def read(config: DatasetConfig, **options: object) -> Items:
    adapter = registry.get(config.dataset)
    assert isinstance(adapter, ItemAdapter)
    return adapter.read_items(config.model_copy(update=options))


def judgements(config: DatasetConfig, language: str) -> Path:
    (found,) = [path for path in Path(str(config.path)).rglob("*train.tsv") if path.parent.name == "qrels"
                and language in str(path.relative_to(str(config.path)))]  # fmt: skip
    return found


def judge(config: DatasetConfig, *rows: tuple[str, str, int]) -> None:
    """Write Swahili judgements to train on."""
    lines = ["query-id\tcorpus-id\tscore"] if config.dataset == "beir" else []
    middle = "\t" if config.dataset == "beir" else "\tQ0\t"
    lines += [f"{query}{middle}{passage}\t{grade}" for query, passage, grade in rows]
    judgements(config, "sw").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_relevant_passages_are_items_and_the_others_hard_negatives(config: DatasetConfig) -> None:
    judge(config, ("501", "9#1", 1), ("501", "9#0", 0), ("501", "10#0", 2), ("500", "9#0", 0), ("502", "9#0", 1))
    found = read(config, languages=("sw",))
    first, second, untitled = found.items
    assert [item.id for item in found.items] == ["sw/501", "sw/501#2", "sw/502"]  # 500 has no relevant passage
    assert first.texts["sw"].passage == "Nairobi Mji ulianzishwa mwaka 1899."
    assert second.texts["sw"].passage == "Nairobi Nairobi ni mji mkuu wa Kenya."
    assert first.texts["sw"].negatives == second.texts["sw"].negatives == ("sw/9#0",)
    assert dict(found.negatives) == {"sw/9#0": "Bila kichwa."}
    assert [item.article for item in found.items] == ["Nairobi", "Nairobi", "sw/9#0"]
    assert untitled.texts["sw"].question == "???"


def test_at_most_so_many_hard_negatives_are_kept_in_the_order_of_the_file(config: DatasetConfig) -> None:
    judge(config, ("501", "9#0", 0), ("501", "10#0", 0), ("501", "9#1", 1), ("502", "9#0", 1))
    for limit, expected in ((None, ("sw/9#0", "sw/10#0")), (1, ("sw/9#0",)), (0, ())):
        assert read(config, languages=("sw",), hard_negatives=limit).items[0].texts["sw"].negatives == expected


def test_languages_without_judgements_to_train_on_are_left_out_unless_asked_for(config: DatasetConfig) -> None:
    judgements(config, "bn").unlink()
    assert read(config).languages == ("sw",)
    assert registry.problems(config, "train") == []
    asked = config.model_copy(update={"languages": ("bn", "sw")})
    with pytest.raises(DataError, match=r"has no .*train\.tsv"):
        read(asked)
    ((field, text),) = registry.problems(asked, "train")
    assert field == "path"
    assert "train.tsv" in text
    assert registry.problems(asked, "evaluate") == []
    judgements(config, "sw").unlink()
    with pytest.raises(DataError, match="has no judgements of the split 'train', which is trained on; add them"):
        read(config)


def test_judgements_without_anything_relevant_are_refused(config: DatasetConfig) -> None:
    judge(config, ("501", "9#0", 0))
    with pytest.raises(DataError, match="judges no passage as relevant, must do so for at least one question"):
        read(config)


def test_german_and_yoruba_of_miracl_are_only_scored() -> None:
    hub = DatasetConfig(dataset="miracl")
    adapter = Miracl()
    assert registry.problems(hub.model_copy(update={"languages": ("de", "sw")}), "train") == [
        ("languages", "names de, of which miracl has no training split; leave that out")
    ]
    trained = {code for code in adapter.available_languages(hub) if adapter.has_training(hub, code)}
    assert set(adapter.available_languages(hub)) - trained == {"de", "yo"}
