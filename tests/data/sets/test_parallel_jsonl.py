from __future__ import annotations

import gzip
import json
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xling.config.schema import DatasetConfig
from xling.data import registry
from xling.data.dev_split import dev_articles
from xling.data.overlap import find_overlap
from xling.data.records import ParallelItem, sorted_passages
from xling.data.sets.parallel_jsonl import ParallelJsonl, read_items
from xling.errors import DataError

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "parallel-squad" / "train.jsonl"
ADAPTER = ParallelJsonl()


def make_row(number: int, *, title: str | None = "A", languages: tuple[str, ...] = ("en", "es"), **more: Any) -> Any:
    texts = {code: {"question": f"{code} q{number}?", "passage": f"{code} text {number // 2}."} for code in languages}
    row = {"id": f"q{number}", "title": title, "paragraph": number // 2, "texts": texts}
    return {**{key: value for key, value in row.items() if value is not None}, **more}


def articles(count: int, rows_each: int = 2) -> list[Any]:
    return [make_row(number, title=f"Article {number // rows_each}") for number in range(count * rows_each)]


def write(path: Path, rows: list[Any]) -> DatasetConfig:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return DatasetConfig(dataset="parallel-jsonl", path=str(path))


def refused(path: Path, *lines: Any) -> str:
    """The error for a file with these lines, given raw or as values."""
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    with pytest.raises(DataError) as caught:
        ADAPTER.load_training(DatasetConfig(dataset="parallel-jsonl", path=str(path)))
    return str(caught.value)


def test_dev_holds_out_whole_articles(tmp_path: Path) -> None:
    config = write(tmp_path / "rows.jsonl", articles(40))
    training, dev = ADAPTER.load_training(config), ADAPTER.load_dev(config)
    trained = {item.article for item in training.items}
    held_out = {passage.article for passage in dev.passages["en"]}
    assert len(held_out) == 4
    assert len(trained) == 36
    assert not trained & held_out
    assert len(training.items) + len(dev.queries["en"]) == 80


def test_dev_split_is_the_written_down_one() -> None:
    items = [ParallelItem(str(number), f"Article {number}", {}) for number in range(20)]
    assert dev_articles(item.article for item in items) == {"Article 7", "Article 15"}


def test_a_files_identity_does_not_change(tmp_path: Path) -> None:
    config = write(tmp_path / "rows.jsonl", articles(40))
    assert ADAPTER.load_training(config).fingerprint == "34fb4dc5e4404902e637a8b644a0701c"
    assert ADAPTER.load_dev(config).fingerprint == "bb35cb8d584190eac459165ba1c8e43e"


def test_titles_of_one_article_are_held_out_together(tmp_path: Path) -> None:
    for number in range(40):  # some of the splits would part them
        twins = [f"São Tomé_{number}", unicodedata.normalize("NFD", f"são tomé {number}")]
        rows = [make_row(row, title=title) for row, title in enumerate([*twins, *(f"A{k}" for k in range(18))])]
        config = write(tmp_path / f"{number}.jsonl", rows)
        training, dev = ADAPTER.load_training(config), ADAPTER.load_dev(config)
        assert not find_overlap(training, replace(dev, zero_shot_levels=("article",))).any
        assert len({item.article for item in training.items} & set(twins)) in (0, 2)


def test_languages_are_read_however_a_row_writes_them(tmp_path: Path) -> None:
    rows = [make_row(n, title=f"A{n}", languages=("en", "zh_cn")) for n in range(6)]
    plain = write(tmp_path / "plain.jsonl", rows)
    for row in rows:
        row["texts"] = {code: row["texts"][of] for code, of in (("eng", "en"), ("zh-CN", "zh_cn"))}
    other = write(tmp_path / "other.jsonl", rows)
    assert ADAPTER.load_training(other) == ADAPTER.load_training(plain)
    assert ADAPTER.load_training(other).languages == ("en", "zh_cn")


def test_dev_split_keeps_at_least_one_article(tmp_path: Path) -> None:
    config = write(tmp_path / "rows.jsonl", articles(2))
    assert len({item.article for item in ADAPTER.load_training(config).items}) == 1
    assert len(ADAPTER.load_dev(config).queries["en"]) == 2


def test_one_article_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    config = write(tmp_path / "rows.jsonl", articles(1))
    with pytest.raises(DataError, match="at least two articles"):
        ADAPTER.load_training(config)


def test_dev_is_a_retrieval_set_over_distinct_passages(tmp_path: Path) -> None:
    dev = ADAPTER.load_dev(write(tmp_path / "rows.jsonl", articles(3, rows_each=6)))
    assert dev.languages == ("en", "es")
    assert [len(dev.passages[code]) for code in dev.languages] == [3, 3]
    for code in dev.languages:
        assert list(dev.passages[code]) == sorted_passages(dev.passages[code])
        for query in dev.queries[code]:
            relevant = dev.qrels[query.id]
            found = {p.language: p.text for c in dev.languages for p in dev.passages[c] if p.id in relevant}
            paragraph = int(query.id.removeprefix(f"{code}/q")) // 2
            assert found == {"en": f"en text {paragraph}.", "es": f"es text {paragraph}."}
    identifiers = [entry.id for side in (dev.queries, dev.passages) for code in dev.languages for entry in side[code]]
    assert len(set(identifiers)) == len(identifiers)
    assert not any(character.isspace() for identifier in identifiers for character in identifier)


def test_items_share_a_passage_within_a_language(tmp_path: Path) -> None:
    _, items = read_items(write(tmp_path / "rows.jsonl", articles(2)))
    by_passage = Counter(pair.passage_id for item in items for pair in item.texts.values())
    assert sorted(by_passage.values()) == [2, 2, 2, 2]  # two paragraphs in two languages, two questions each


def test_untitled_rows_linked_by_a_passage_stay_together(tmp_path: Path) -> None:
    def untitled(number: int, **passages: str) -> Any:
        texts = {code: {"question": f"{number}?", "passage": passage} for code, passage in passages.items()}
        return {"id": str(number), "texts": texts}

    rows = [
        untitled(0, en="one", es="uno"),
        untitled(1, es="uno"),
        untitled(2, en="one", it="un"),
        untitled(3, it="un"),
        untitled(4, en="two"),
        make_row(5, title="T"),
    ]
    _, items = read_items(write(tmp_path / "rows.jsonl", rows))
    article = {item.id: item.article for item in items}
    assert article["0"] == article["1"] == article["2"] == article["3"]
    assert len({article["0"], article["4"], article["q5"]}) == 3
    assert article["q5"] == "T"


def test_languages_and_titles_restrict(tmp_path: Path) -> None:
    rows = [*articles(6), make_row(90, title="Only Spanish", languages=("es",))]
    config = write(tmp_path / "rows.jsonl", rows)
    languages, items = read_items(config.model_copy(update={"languages": ("en",)}))
    assert languages == ("en",)
    assert {code for item in items for code in item.texts} == {"en"}
    assert "q90" not in {item.id for item in items}
    _, items = read_items(config.model_copy(update={"titles": ("Article 1", "Article 2")}))
    assert {item.article for item in items} == {"Article 1", "Article 2"}


@pytest.mark.parametrize(
    ("field", "value", "nearest"), [("titles", "Artcle 1", "Article 1"), ("languages", "eng", "en")]
)
def test_unknown_title_or_language_is_refused(tmp_path: Path, field: str, value: str, nearest: str) -> None:
    config = write(tmp_path / "rows.jsonl", articles(3)).model_copy(update={field: (value,)})
    with pytest.raises(DataError, match=f"did you mean '{nearest}'"):
        ADAPTER.load_training(config)


def test_order_of_lines_changes_nothing(tmp_path: Path) -> None:
    rows = articles(5)
    first = ADAPTER.load_training(write(tmp_path / "a.jsonl", rows))
    second = ADAPTER.load_training(write(tmp_path / "b.jsonl", rows[::-1]))
    assert first == second
    rows[3]["texts"]["en"]["question"] += "!"
    rows[5]["texts"]["es"]["question"] += "!"
    assert ADAPTER.load_training(write(tmp_path / "c.jsonl", rows)).fingerprint != first.fingerprint


def test_gzip_byte_order_mark_and_blank_lines_are_read(tmp_path: Path) -> None:
    config = write(tmp_path / "rows.jsonl", articles(3))
    plain = ADAPTER.load_training(config)
    content = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n\n")))
    assert ADAPTER.load_training(DatasetConfig(dataset="parallel-jsonl", path=f"{config.path}.gz")) == plain


def test_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    rows = articles(3)
    for row in rows:
        row["texts"]["en"]["passage"] = f" \ufeff{row['texts']['en']['passage']}\n"
    _, items = read_items(write(tmp_path / "rows.jsonl", rows))
    assert items[0].texts["en"].passage == " \ufeffen text 0.\n"


def test_cut_gzip_is_detected(tmp_path: Path) -> None:
    content = gzip.compress(json.dumps(articles(50)).encode())
    assert "cut short" in refused(tmp_path / "rows.jsonl.gz", content[: len(content) // 2])


def test_cut_line_is_detected_with_its_number(tmp_path: Path) -> None:
    last = json.dumps(make_row(3)).encode()
    message = refused(tmp_path / "rows.jsonl", *articles(1), last[: len(last) // 2])
    assert f"{tmp_path / 'rows.jsonl'}:3: is not a whole JSON object" in message


def test_missing_file_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: does not exist"):
        ADAPTER.load_training(DatasetConfig(dataset="parallel-jsonl", path=str(tmp_path / "nowhere.jsonl")))
    with pytest.raises(DataError, match="needs `path`"):
        ADAPTER.load_training(DatasetConfig(dataset="parallel-jsonl"))
    assert "holds no rows" in refused(tmp_path / "rows.jsonl", b"\n\n")


def test_wrong_rows_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = articles(5)
    wrong = {"id": "a b", "title": 7, "texts": {}}
    config = write(tmp_path / "rows.jsonl", [*rows[:3], wrong, rows[0], *rows[3:], ["id"]])
    with pytest.raises(DataError) as raised:
        ADAPTER.load_training(config)
    assert len(str(raised.value).splitlines()) == 5
    skipping = config.model_copy(update={"bad_rows": "skip"})
    with caplog.at_level("WARNING"):
        assert read_items(skipping) == read_items(write(tmp_path / "good.jsonl", rows))
    assert "parallel-jsonl: 3 bad rows left out" in caplog.text
    assert 'rows.jsonl:4: `id` is "a b", must be an id without white space; `title` is 7' in caplog.text
    assert registry.problems(skipping, "train") == []


GOOD = {"en": {"question": "q?", "passage": "p"}}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([1], "is [1], must be a JSON object"),
        (b"\xff\n", "is not UTF-8 (byte 0xff at 0"),
        (b"{\n", "is not a whole JSON object"),
        (b'{"id": "x", "id": "y"}\n', 'has the key "id" twice in one object; keep one of them'),
        (b'{"id": NaN}\n', "holds NaN, which is no JSON; write null, or leave it out"),
        ({"texts": GOOD}, "`id` is missing, must be an id without white space"),
        ({"id": "a b", "texts": GOOD}, '`id` is "a b", must be an id without white space'),
        ({"id": True, "texts": GOOD}, "`id` is true"),
        ({"id": "x"}, "`texts` is missing, must be an object with at least one language"),
        ({"id": "x", "texts": {}}, "`texts` is {}"),
        ({"id": "x", "texts": {"Elvish": GOOD["en"]}}, "'Elvish' is no language"),
        (
            {"id": "x", "texts": {"en": GOOD["en"], "eng": GOOD["en"]}},
            "`texts.eng` and `texts.en` are both en; keep one",
        ),
        ({"id": "x", "texts": {"en": "q"}}, '`texts.en` is "q", must be an object with question and passage'),
        ({"id": "x", "texts": {"en": {"question": "q"}}}, "`texts.en.passage` is missing"),
        ({"id": "x", "texts": {"en": {"question": " ", "passage": "p"}}}, '`texts.en.question` is " "'),
        ({"id": "x", "texts": {"en": {**GOOD["en"], "answer": 3}}}, "`texts.en.answer` is 3, must be a text"),
        ({"id": "x", "title": 7, "texts": GOOD}, "`title` is 7"),
        ({"id": "x", "paragraph": 1.5, "texts": GOOD}, "`paragraph` is 1.5, must be a number or a text"),
        (b'{"id": "x", "texts": {"en": {"question": "\\ud800", "passage": "p"}}}\n', "holds half of a surrogate pair"),
        (make_row(0), '`id` is "q0", which line 1 has too'),
        (
            {**make_row(9), "paragraph": 0, "title": "Article 0"},
            "`texts.en.passage` is not that of line 1, which has the same title and paragraph",
        ),
    ],
)
def test_bad_rows_name_line_value_and_rule(tmp_path: Path, line: Any, expected: str) -> None:
    message = refused(tmp_path / "rows.jsonl", *articles(1), line)
    assert message.startswith(f"{tmp_path / 'rows.jsonl'}:3: ")
    assert expected in message


@pytest.mark.parametrize("bad_rows", ["stop", "skip"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(make_row(0), indent=2), "is JSON written over several lines, .*; `jq -c . rows.jsonl` makes it so"),
        (json.dumps({"data": []}, indent=2), "is JSON written over several lines"),
        (json.dumps(articles(2)), r"is one JSON document, must be a row a line; `jq -c '.\[\]' rows.jsonl`"),
        (json.dumps(articles(2), indent=1), "is one JSON document"),
        ("id,question,passage\nq1,What?,That.\n", r"seems to be a table with columns separated by commas \(CSV\)"),
        ("id;question;passage\n", r"semicolons \(CSV\), must be one JSON object a line; write its rows so"),
        ('"id"\t"question"\n', r"tabs \(TSV\)"),
        ("PAR1\x15\x04", "is a Parquet file, must be text"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path: Path, content: str, said: str, bad_rows: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        ADAPTER.load_training(DatasetConfig(dataset="parallel-jsonl", path=str(path), bad_rows=bad_rows))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_all_bad_rows_are_counted_and_ten_are_shown(tmp_path: Path) -> None:
    message = refused(tmp_path / "rows.jsonl", *[{"id": f"x{number}"} for number in range(25)])
    assert message.count("must be an object") == 10
    assert message.endswith("and 15 more problems")


def test_numbers_serve_as_ids(tmp_path: Path) -> None:
    rows = [{**row, "id": 10**20 + number} for number, row in enumerate(articles(2))]
    _, items = read_items(write(tmp_path / "rows.jsonl", rows))
    assert items[0].id == "100000000000000000000"


@pytest.mark.skipif(not REAL.exists(), reason=f"needs {REAL.name} of parallel-squad beside the repository")
def test_parallel_squad() -> None:
    config = DatasetConfig(dataset="parallel-jsonl", path=str(REAL))
    languages, items = read_items(config)
    training, dev = ADAPTER.load_training(config), ADAPTER.load_dev(config)
    assert languages == training.languages == dev.languages == ("en", "es", "it")
    assert len(items) == 4370
    assert sum(len(item.texts) == 3 for item in items) == 2325
    assert len({item.article for item in items}) == 35
    assert len({passage.article for passage in dev.passages["en"]}) == 4
    assert len(training.items) + len(dev.queries["en"]) == 4370
    assert training.fingerprint == "257fea707ae6897818538d334a237014"
    assert dev.fingerprint == "8136709d32c8004b70c89280b4fa1f70"
