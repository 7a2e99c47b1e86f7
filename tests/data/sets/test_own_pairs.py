"""The user's own questions with passages and hard negatives."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.records import ParallelItem
from xling.data.samples import SAMPLES
from xling.data.samples.files import write_jsonl
from xling.data.sets.item_adapter import Items
from xling.data.sets.mr_tydi import MrTydi
from xling.data.sets.pairs import Pairs
from xling.errors import DataError

PASSAGES = ["Nairobi is its capital.", "Nairobi, the capital.", "Mombasa is a port.", "Kisumu lies at a lake."]


def config(path: Path, **options: Any) -> DatasetConfig:
    return DatasetConfig(dataset="pairs", path=str(path), **options)


def read(path: Path, *rows: dict[str, Any], **options: Any) -> Items:
    return Pairs().read_items(config(write_jsonl(path, rows) if rows else path, **options))


def texts(found: Items) -> list[tuple[str, str, tuple[str, ...]]]:
    """Question, passage and the texts of its negatives, of each item."""
    return [
        (pair.question, pair.passage, tuple(found.negatives[key] for key in pair.negatives))
        for item in found.items
        for pair in item.texts.values()
    ]


FORMS = {
    "Sentence Transformers' triplet": {"anchor": "Where?", "positive": PASSAGES[0], "negative": PASSAGES[2]},
    "FlagEmbedding": {"query": "Where?", "pos": PASSAGES[:1], "neg": PASSAGES[2:3], "pos_scores": [0.9]},
    "Tevatron": {
        "query_id": "7",
        "query": "Where?",
        "positive_passages": [{"docid": "1", "title": "", "text": PASSAGES[0]}],
        "negative_passages": [{"docid": "2", "title": None, "text": PASSAGES[2]}],
    },
    "plain": {"id": 7, "question": "Where?", "passage": PASSAGES[0], "negatives": [PASSAGES[2], PASSAGES[0]]},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_the_fields_libraries_are_read(form: str, tmp_path: Path) -> None:
    expected = [("Where?", PASSAGES[0], (PASSAGES[2],))]
    assert texts(read(tmp_path / "en.jsonl", FORMS[form])) == expected
    pq.write_table(pa.Table.from_pylist([FORMS[form]]), tmp_path / "en.parquet")
    found = read(tmp_path / "en.parquet")
    assert texts(found) == expected
    assert found.languages == ("en",)


def test_numbered_negatives_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    row = {f"negative_{n}": f"No. {n}." for n in (10, 2, 1)} | {"negative_3": None}
    found = read(tmp_path / "en.jsonl", {"anchor": "Where?", "positive": "Here.", **row})
    assert texts(found) == [("Where?", "Here.", ("No. 1.", "No. 2.", "No. 10."))]
    found = read(tmp_path / "en.jsonl", hard_negatives=2)
    assert texts(found) == [("Where?", "Here.", ("No. 1.", "No. 2."))]
    assert texts(read(tmp_path / "en.jsonl", hard_negatives=0)) == [("Where?", "Here.", ())]


def test_a_passages_title_stands_before_its_text_and_names_the_article(tmp_path: Path) -> None:
    passage = {"title": "Kenya", "text": PASSAGES[0]}
    (item,) = read(tmp_path / "en.jsonl", {"query": "Where?", "positive": passage}).items
    assert (item.texts["en"].passage, item.article) == (f"Kenya {PASSAGES[0]}", "Kenya")
    (item,) = read(tmp_path / "en.jsonl", {"query": "Where?", "positive": passage, "title": "Capitals"}).items
    assert item.article == "Capitals"


def test_of_triplets_no_negative_is_preferred_and_as_many_as_asked_for_are_kept(tmp_path: Path) -> None:
    rows = [{"anchor": "Where?", "positive": "Here.", "negative": f"No. {n}."} for n in range(9)]
    (every,) = texts(read(tmp_path / "en.jsonl", *rows))
    (some,) = texts(read(tmp_path / "en.jsonl", *reversed(rows), hard_negatives=4))
    assert some[2] == every[2][:4]
    assert list(every[2]) != sorted(every[2])


def test_columns_that_are_none_of_ours_are_not_read(tmp_path: Path) -> None:
    dates = pa.array([2**62], pa.timestamp("us"))  # which Python has no date for
    table = pa.table({"query": ["Where?"], "pos": [["Here."]], "created": dates, "vector": [[0.5, 1.0]]})
    pq.write_table(table, tmp_path / "en.parquet")
    assert texts(read(tmp_path / "en.parquet")) == [("Where?", "Here.", ())]
    pq.write_table(table.rename_columns(["query", "created", "pos", "vector"]), tmp_path / "en.parquet")
    with pytest.raises(DataError, match=r"en\.parquet: rows 1 to 1 hold what cannot be read"):
        read(tmp_path / "en.parquet")


def test_rows_of_one_question_are_joined_and_each_passage_is_an_item(tmp_path: Path) -> None:
    """As triplets have them, a negative a row; in whatever order they stand."""
    rows = [
        {"anchor": "Where?", "positive": positive, "negative": negative}
        for positive in PASSAGES[:2]
        for negative in PASSAGES[2:]
    ]
    found = read(tmp_path / "en.jsonl", *rows)
    assert sorted((question, text, tuple(sorted(others))) for question, text, others in texts(found)) == [
        ("Where?", positive, tuple(sorted(PASSAGES[2:]))) for positive in sorted(PASSAGES[:2])
    ]
    name = found.items[0].id
    assert [item.id for item in found.items] == [name, f"{name}#2"]
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        assert list(read(tmp_path / "en.jsonl", *rows).items) == list(found.items)


def test_all_passages_of_a_question_answer_it_on_dev(tmp_path: Path) -> None:
    rows = [{"id": f"q{n}", "query": f"Which {n}?", "positives": [f"This {n}.", f"That {n}."]} for n in range(5)]
    path = write_jsonl(tmp_path / "en.jsonl", rows)
    dev = Pairs().load_dev(config(path))
    (query,) = dev.queries["en"]
    assert query.id in {f"en/q{n}" for n in range(5)}
    assert dev.qrels == {query.id: {passage.id: 1 for passage in dev.passages["en"]}}
    assert len(dev.passages["en"]) == 2
    assert len(Pairs().load_training(config(path)).items) == 8


def together(found: Items) -> list[str]:
    return [found.together[item.id] for item in found.items]


def test_questions_that_share_a_title_or_a_passage_are_held_out_together(tmp_path: Path) -> None:
    """Directly or over others; and those without a title that ask the same."""
    rows: list[dict[str, Any]] = [
        {"id": "1", "query": "A?", "positives": ["x", "y"]},
        {"id": "2", "query": "B?", "positives": ["Y"]},
        {"id": "3", "query": "C?", "positives": ["z"]},
        {"id": "4", "query": "b?", "positives": ["v"]},
        {"id": "5", "query": "D?", "positives": [{"title": "T", "text": "t"}, {"title": "S", "text": "s"}]},
        {"id": "6", "query": "E?", "positives": [{"title": "t", "text": "u"}, {"title": "R_1", "text": "r"}]},
        {"id": "7", "query": "F?", "positives": ["R_1 r"]},
        {"id": "8", "query": "D?", "positive": "w", "title": "Q"},
    ]
    found = read(tmp_path / "en.jsonl", *rows)
    one, one_more, two, three, four, *titled, other = together(found)
    assert one == one_more == two == four != three
    assert len(titled) == 5
    assert len(set(titled)) == 1
    assert other not in titled
    named = [item.article for item in found.items if "/" not in item.article]
    assert named == ["T", "S", "t", "R_1", "Q"]  # each its own, by which the zero-shot check goes


def test_a_language_is_the_rows_own_the_files_or_the_only_one_asked_for(tmp_path: Path) -> None:
    row = {"query": "Wapi?", "positive": "Hapa."}
    folder = tmp_path / "rows"
    write_jsonl(folder / "swahili.jsonl.gz", [row])
    write_jsonl(folder / "en.jsonl", [{**row, "lang": "zh-CN"}])
    (folder / "README.md").write_text("no rows")
    assert read(folder).languages == ("sw", "zh_cn")
    assert registry.get("pairs").available_languages(config(folder)) == ("sw", "zh_cn")
    assert read(folder, languages=("sw",)).languages == ("sw",)
    assert read(write_jsonl(tmp_path / "new.jsonl", [row]), languages=("sw",)).languages == ("sw",)  # no Newari
    plain = write_jsonl(tmp_path / "ms_marco.jsonl", [row])
    assert read(plain, languages=("sw",)).languages == ("sw",)
    with pytest.raises(DataError, match=r"ms_marco\.jsonl:1: has no `language`, must have one; add it, name the file"):
        read(plain)
    with pytest.raises(DataError, match=r"`languages` is 'de', must be one of sw, zh_cn"):
        read(folder, languages=("de",))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"positive": "p"}, r"has no `query`, must have one \(or question, anchor\); it has `positive`"),
        ({"query": "q", "doc": "p"}, r"has no `positive`, must have one \(or positives, pos, .*it has `query`, `doc`"),
        ({"query": "q", "question": "r", "pos": "p"}, "has both `query` and `question`, must have one of them"),
        ({"query": " ", "positive": "p"}, "`query` is .*, must be a text that is not empty"),
        ({"query": ["q"], "positive": "p"}, "`query` is .*, must be a text"),
        ({"query": "q", "positives": []}, r"`positives` is \[\], must hold at least one text"),
        ({"query": "q", "positive": 3}, "`positive` holds 3, must hold texts that are not empty"),
        ({"query": "q", "pos": ["p"], "neg": [""]}, '`neg` holds "", must hold texts'),
        ({"query": "q", "positive": {"title": "t"}}, "`text` is missing, must be a text"),
        ({"query": "q", "positive": "p", "id": "a b"}, "`id` is .*, must be an id without white space"),
        ({"query": "q", "positive": "p", "language": "no such"}, "`language`: 'no such' is no language"),
        ({"query": "q", "positive": "p", "title": 3}, "`title` is 3, must be a text"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    good = {"query": "Where?", "positive": "Here."}
    with pytest.raises(DataError, match=rf"en\.jsonl:2: {message}"):
        read(tmp_path / "en.jsonl", good, row)
    assert len(read(tmp_path / "en.jsonl", bad_rows="skip").items) == 1
    pq.write_table(pa.table({"query": ["q"]}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows\.parquet: has no `positive`.*it has `query`"):
        read(tmp_path / "rows.parquet", languages=("en",))


def test_ids_are_of_one_question(tmp_path: Path) -> None:
    rows = [{"id": "1", "query": "A?", "positive": "x"}, {"id": "1", "query": "B?", "positive": "y"}]
    with pytest.raises(DataError, match=r"en\.jsonl:2: has the id '1', which another question in en has too"):
        read(tmp_path / "en.jsonl", *rows)
    rows = [{"id": "1", "query": "A?", "positive": ["x", "y"]}, {"id": "1#2", "query": "B?", "positive": "y"}]
    with pytest.raises(DataError, match="two items would have the id en/1#2, as further passages of a question"):
        read(tmp_path / "en.jsonl", *rows)


def test_folders_and_files_without_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no file that ends in \.jsonl, \.jsonl\.gz, \.parquet; put at least one"):
        read(tmp_path)
    write_jsonl(tmp_path / "x.jsonl", [{"query": "Where?", "positive": "Here."}])
    with pytest.raises(DataError, match=r"holds no rows, .*; 1 bad rows were left out, the first one: .*no `language`"):
        read(tmp_path, bad_rows="skip", languages=("de", "en"))
    (tmp_path / "x.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no rows, must hold at least one"):
        read(tmp_path)
    assert registry.problems(config(tmp_path, titles=("Kenya",)), "train")


def test_it_reads_of_a_published_set_what_the_sets_own_reader_does(tmp_path: Path) -> None:
    """Mr. TyDi's training rows are Tevatron's; ids of passages aside, which these rows are not read by."""
    given = SAMPLES["mr-tydi"](tmp_path)
    (file,) = sorted(Path(str(given.path)).rglob("mrtydi-v1.1-swahili/train.jsonl.gz"))
    theirs = MrTydi().read_items(given.model_copy(update={"languages": ("sw",), "hard_negatives": 100}))
    ours = read(file, languages=("sw",))

    def told(items: list[ParallelItem]) -> list[str]:
        return [item.id for item in items if "#" not in item.id]

    assert told(list(ours.items)) == told(list(theirs.items))
    first = [one for item, one in zip(ours.items, texts(ours), strict=True) if "#" not in item.id]
    assert json.dumps(first) == json.dumps(texts(theirs))
